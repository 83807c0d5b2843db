"""Serves a model: the API process, the queue in front of the worker, and the worker process."""
