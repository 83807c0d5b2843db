"""Metrics judged: recording rules and alerts, as data."""
