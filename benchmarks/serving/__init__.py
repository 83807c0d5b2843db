"""Safelight's serving engine beside its peers: the same work for all, in one run."""
