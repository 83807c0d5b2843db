"""Demonstrations with their diagnosis: simulated and real services in a real Prometheus."""
