"""The peers: small programs that serve the same models as their documentation recommends."""
