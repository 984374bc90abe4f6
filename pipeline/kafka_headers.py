"""The headers of a Kafka message, or the word that they can not be read."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any, Final

from pipeline.errors import Undecodable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from confluent_kafka import Message

# Where a name is not UTF-8, confluent-kafka 2.16 returns a list with holes while an exception is set. The
# interpreter's own short cuts for such calls do not look, and the exception turns up somewhere else; whoever touches a
# hole brings the process down. A call from C looks, and raises SystemError.
_ask: Final = operator.methodcaller("headers")
# What such a message has instead from then on, as a second answer would be the list with the holes. No name on a wire
# is a lone surrogate.
_UNREADABLE: Final = [("\udcff", None)]


def of(message: Message) -> Sequence[tuple[str, bytes | None]]:
    """Return the headers of a message, in order; raises Undecodable where a name is not UTF-8, however often asked."""
    try:
        headers: Any = _ask(message)
    except (SystemError, UnicodeDecodeError):
        headers = _UNREADABLE
        message.set_headers(headers)
    if headers == _UNREADABLE:
        raise Undecodable("the name of a header is not UTF-8, so none of its headers can be read")
    return headers or ()
