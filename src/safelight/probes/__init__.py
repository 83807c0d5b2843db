"""Probes watch somebody else's code: each wraps an object, keeps the original and puts it back."""
