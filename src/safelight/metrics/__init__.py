"""Catalogue of metrics, PromQL expressions, and the registry that counts."""
