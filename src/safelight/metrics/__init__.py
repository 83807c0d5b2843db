"""The vocabulary: what can be counted, and the one door to prometheus_client."""
