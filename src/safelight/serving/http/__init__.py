"""HTTP: from a request's bytes to a Job, and from an Outcome to a response."""
