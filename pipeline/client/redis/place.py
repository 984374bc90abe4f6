"""RedisPlace: which Redis a client talks to, and as whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pipeline import redis_access
from pipeline.errors import ConnectorError, InvalidSettings
from pipeline.redis_address import address_of
from pipeline.redis_node import Node
from pipeline.settings import RedisSettings
from pipeline.settings.redis import check_redis


class RedisPlace(msgspec.Struct, frozen=True):
    """One Redis with who logs in; ``max_length`` is how many requests may wait in a stream, 0 any number."""

    settings: RedisSettings
    max_length: int = 0

    @classmethod
    def of(cls, options: Mapping[str, Any], max_length: int) -> RedisPlace:
        """Return the place that the fields of RedisSettings name; raises InvalidSettings."""
        try:
            settings = msgspec.convert(dict(options), RedisSettings)
        except msgspec.ValidationError as error:
            raise InvalidSettings("redis", str(error)) from error
        check_redis(settings, "redis")
        if max_length < 0:
            raise InvalidSettings("max_length", f"must not be negative, got {max_length}")
        return cls(settings, max_length)

    @property
    def place(self) -> str:
        """The server, as messages name it: without who logs in."""
        return str(address_of(self.settings.url))

    def connect(self, client_id: str, block_s: float = 0.0, timeout_s: float | None = None) -> Node:
        """Return a way to the node that has a key; no command is tried again. See ``redis_access.connect``.

        ``block_s`` is how long a command may block; ``timeout_s`` bounds connecting, and answers, where it is shorter
        than the settings say.
        """
        settings = self.settings
        if timeout_s is not None:
            connect_s, answer_s = min(timeout_s, settings.connect_timeout_s), min(timeout_s, settings.timeout_s)
            settings = msgspec.structs.replace(settings, connect_timeout_s=connect_s, timeout_s=answer_s)
        return Node.of(settings, client_id, retries=0, timeout_s=settings.timeout_s + block_s)

    def failure(self, error: Exception) -> ConnectorError:
        """Return an error of redis-py in our words."""
        return redis_access.failure(self.settings, error)
