"""Probes: wrap an object to measure it, and restore the original."""
