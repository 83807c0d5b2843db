"""Policies: each takes a handler and returns a handler."""
