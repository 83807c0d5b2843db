"""The worker: loads the model, runs batches, checks and encodes their outputs."""
