"""Explains: what is wrong, why we believe so, and what to do, from what Prometheus and the records know."""
