"""From an entry of a dead-letter stream to the letter that it is, and back to the fields of its request. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pipeline import redis_wire
from pipeline.codecs.cluster_serving import entry
from pipeline.dead_letters import headers
from pipeline.dead_letters.letters import DeadLetter
from pipeline.dead_letters.places import EntryId


def letter_of(place: EntryId, fields: Sequence[bytes]) -> DeadLetter:
    """Return the letter of an entry, whose fields are names and values in turns; never raises.

    A request that can not be read, for which it may have been put aside, has no headers and an empty value; its fields
    are there all the same. The value is None where nothing is left of a request.
    """
    pairs = zip(fields[::2], fields[1::2], strict=False)
    # Any bytes are a name here: surrogates bring back those that are no text.
    said = headers.read([(name.decode(errors="surrogateescape"), text) for name, text in pairs])
    own = _fields(said.own)
    names = own[::2]
    is_job = redis_wire.VALUE not in names and entry.URI in names
    value, key, found, _ = (entry.of_fields if is_job else redis_wire.read)(own)
    said = msgspec.structs.replace(said, own=tuple(found))
    return DeadLetter(place, place.time_ms, key, value if own else None, said, own)


def request_fields(letter: DeadLetter) -> tuple[bytes, ...]:
    """Return the fields of the request that is tried again: its own, and the how-manieth try it will be."""
    pairs = zip(letter.fields[::2], letter.fields[1::2], strict=True)
    own = tuple((name.decode(errors="surrogateescape"), text) for name, text in pairs)
    return _fields(headers.for_replay(msgspec.structs.replace(letter.said, own=own)))


def _fields(pairs: Sequence[tuple[str, bytes | None]]) -> tuple[bytes, ...]:
    return tuple(word for name, text in pairs for word in (name.encode(errors="surrogateescape"), text or b""))
