"""Metrics drawn: Grafana boards, as code."""
