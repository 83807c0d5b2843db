"""The record of a finished request, and the metrics and log lines written from it."""
