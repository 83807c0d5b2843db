"""Looks at what went in and what came out."""
