"""Benchmarks of dashboards, rules and alerts with the real Prometheus."""
