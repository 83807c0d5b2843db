"""Compare Safelight's serving engine with other servers, with the same work in one run."""
