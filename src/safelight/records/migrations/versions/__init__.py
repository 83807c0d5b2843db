"""The steps, each of which follows another."""
