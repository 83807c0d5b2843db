"""The HTTP server of the service, the alert relay and the GPU exporter, with bounds for callers."""
