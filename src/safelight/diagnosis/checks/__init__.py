"""Checks: each is a row of a table with a pure function of the evidence."""
