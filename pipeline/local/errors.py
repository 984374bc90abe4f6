"""What goes wrong when a local broker is started."""

from __future__ import annotations


class LocalBrokerError(RuntimeError):
    """A local broker can not be started or has died; the message says what to do, or ends with the tail of its log."""
