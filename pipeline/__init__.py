"""Penstock.

Kafka-native model serving. Importing this package does nothing; the rooms are listed in docs/architecture.md.
"""

__version__ = "0.1.0"
