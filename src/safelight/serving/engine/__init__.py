"""The engine: queues jobs, forms batches and keeps the workers alive."""
