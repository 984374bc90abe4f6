"""Brokers that run on this machine without Docker: librdkafka's mock cluster in this process, a real Kafka and Redis.

For the demo, for tests and benchmarks, and for somebody who wants to try things. Nothing here serves in production, and
nothing else in ``pipeline`` needs it.
"""
