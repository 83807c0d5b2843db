"""Remembers: finished requests, what was found of their outputs, ratings and samples."""
