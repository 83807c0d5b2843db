"""Fuzzing, guided by coverage: everything that reads bytes from outside."""
