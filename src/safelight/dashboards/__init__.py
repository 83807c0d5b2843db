"""Grafana dashboards, as data."""
