"""The Redis connector: streams with consumer groups, at-least-once, and answered once.

Two threads meet here. The feeder reads, says that this worker is there, and claims what those that are gone have left.
The delivery thread writes answers.
"""

from connectors.redis.connector import RedisConnector

__all__ = ["RedisConnector"]
