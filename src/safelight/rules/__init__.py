"""Recording rules and alerts of Prometheus, as data."""
