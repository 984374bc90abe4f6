"""Benchmarks: ours against what one would do instead, on a real Kafka: ``python -m benchmarks``, ``make bench``."""
