"""Bundled demo models: real pipeline classes, small enough to run anywhere."""
