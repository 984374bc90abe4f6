"""What names the schema of the Avro records that go out: before each, or in a header beside it."""

from __future__ import annotations

from pipeline.framings import SINGLE_OBJECT


class AvroFraming:
    """What stands before each record of one schema, and the headers it needs.

    Where a registry gives the name it is set once, by ``learn``, before the first record is written; any thread may
    read it.
    """

    def __init__(self, kind: str = SINGLE_OBJECT) -> None:
        self.kind = kind
        self.prefix: bytes | None = None  # None: the codec's own
        self.headers: tuple[tuple[str, bytes], ...] = ()

    @property
    def is_known(self) -> bool:
        """Whether records can be written."""
        return self.kind == SINGLE_OBJECT or self.prefix is not None

    def learn(self, prefix: bytes, headers: tuple[tuple[str, bytes], ...] = ()) -> None:
        """Frame like this from now on."""
        self.headers = headers
        self.prefix = prefix
