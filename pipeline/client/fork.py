"""What a forked child must not do: touch the parent's librdkafka handles, whose threads it has not inherited."""

from __future__ import annotations

import ctypes
import os
import weakref
from typing import Protocol


class Owner(Protocol):
    """Owns librdkafka handles."""

    def leave_to_parent(self) -> None:
        """Called once in a forked child, before anything else runs there: ``keep_for_ever`` the handles."""
        ...


_owners: weakref.WeakSet[Owner] = weakref.WeakSet()
_hooked: list[bool] = []


def watch(owner: Owner) -> None:
    """Have ``owner`` told in a forked child, as long as it lives."""
    if not _hooked:
        _hooked.append(True)
        os.register_at_fork(after_in_child=_after_fork)
    _owners.add(owner)


def keep_for_ever(handle: object) -> None:
    """Make a handle immortal in this process: to free it, at exit too, would be a segmentation fault (measured)."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(handle))


def _after_fork() -> None:
    owners = list(_owners)
    _owners.clear()
    for owner in owners:
        owner.leave_to_parent()
