"""Tools for a running stack: live view, traffic, checks, doctor, GPU exporter, Grafana client."""
