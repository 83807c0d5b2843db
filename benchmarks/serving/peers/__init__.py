"""The peers: each a small program that serves the work as its documentation advises."""
