"""The wire: how the API process and a worker exchange messages."""
