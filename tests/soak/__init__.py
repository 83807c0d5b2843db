"""A soak: hours of mixed traffic on real services, after which nothing may have grown."""
