"""One record on its way through the data path."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from pipeline.codecs.codec import Codec
from pipeline.connector import Record
from pipeline.errors import PenstockError
from pipeline.records import PredictRequest
from pipeline.serving.framing import Framing
from pipeline.serving.headers import Envelope


class Pending(msgspec.Struct, gc=False):
    """One record on its way. With ``error`` set it is refused; ``request`` is None where decoding failed.

    ``framing`` reads and writes it where its bytes are not the codec's alone. ``key`` is that of its answer, where it
    is another than the record's.
    """

    record: Record
    codec: Codec
    envelope: Envelope
    request: PredictRequest | None = None
    error: PenstockError | None = None
    framing: Framing | None = None
    key: bytes | None = None

    def fail(self, error: PenstockError) -> None:
        """Refuse it for this reason. The collector does not look at these, so nothing of them may lead back to one."""
        self.error = error.without_frames()


def codes_of(batch: Iterable[Pending]) -> list[str]:
    """Return the codes of the errors: of their classes, as other workers write their own, and labels must be few."""
    return [type(pending.error).code for pending in batch if pending.error is not None]
