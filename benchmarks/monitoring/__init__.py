"""What the monitoring reaches: how much there is, and how fast the real Prometheus answers."""
