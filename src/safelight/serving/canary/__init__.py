"""The canary: run golden inputs through the workers, and take a broken model out of service."""
