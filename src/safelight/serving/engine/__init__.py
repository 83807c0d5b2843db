"""The engine: queues jobs, sends them to the workers and keeps the workers alive."""
