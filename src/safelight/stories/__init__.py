"""Stories of services: a simulated one, its past in a real Prometheus, and what is said of it."""
