"""Diagnosis of a service: find faults from Prometheus and the records, with evidence and remedy."""
