"""Runs the watchers: Prometheus, Alertmanager and node-exporter beside the service."""
