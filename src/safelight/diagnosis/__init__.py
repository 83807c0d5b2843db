"""Explains: what is wrong, why we believe so and what to do, by Prometheus and the records."""
