"""Models: load a checkpoint and run batches on it."""
