"""Benchmarks of the cost of monitoring and of the serving engine: `make bench`."""
