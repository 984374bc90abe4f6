"""One request of Cluster Serving and its result; see Framing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from pipeline.codecs.cluster_serving import ClusterServingCodec, entry, results
from pipeline.codecs.cluster_serving.entry import Entry
from pipeline.codecs.codec import Limits
from pipeline.connector import Record
from pipeline.errors import NoInputs, PenstockError, Undecodable
from pipeline.records import PredictRequest, PredictResult
from pipeline.servables.framework import imported
from pipeline.serving import batching
from pipeline.serving.batching import Layout
from pipeline.serving.cluster_serving.fit import fit
from pipeline.serving.cluster_serving.images import Images
from pipeline.serving.cluster_serving.post_processing import process
from pipeline.serving.form import Form
from pipeline.serving.headers import Header
from pipeline.serving.members import Held
from pipeline.settings import RouteSettings
from pipeline.settings.cluster_serving import FORMAT

# What an array of one NaN is where the text is not to be sent.
_FAILED_ARRAY: Final = (("failed", np.array([np.nan], np.float32)),)


class Job:
    """What the requests of one route have in common. From any thread."""

    def __init__(self, route: RouteSettings) -> None:
        """Import pyarrow; raises MissingExtra."""
        imported(f"format {FORMAT}", "pyarrow", "pyarrow", FORMAT)
        settings = route.cluster_serving
        self.codec = ClusterServingCodec()
        self.post_processing = settings.post_processing
        self.images = Images(settings)
        # Their client of a topic fails at the text, and loses what it has polled with it.
        self.sends_nan = (settings.failures or ("array" if route.connector == "kafka" else "nan")) == "nan"


class Frame:
    """See Framing: an entry of Cluster Serving.

    Its result is found by the uri alone, so that is the result's ``key``; None where the entry tells none.
    """

    __slots__ = ("_entry", "_is_row", "_job", "id", "key")

    def __init__(self, job: Job, record: Record) -> None:
        self._job = job
        self._entry: Entry | None = None
        try:
            self._entry = entry.read(record.value)
            self.id = str(self._entry.uri)
        except Undecodable:
            self.id = entry.uri_of(record.value, record.key)
        self.key: bytes | None = self.id.encode(errors="replace") if self.id else None
        self._is_row = False

    def decode_request(self, value: bytes, limits: Limits) -> PredictRequest:
        """See Framing."""
        if not value:
            raise NoInputs
        codec = self._job.codec
        it, self._entry = self._entry, None  # not held for as long as the request is computed
        if it is None or len(value) > limits.max_record_bytes:
            return codec.decode_request(value, limits)  # which says what is wrong
        return codec.request_of(it, limits)

    def fit(self, form: Form, request: PredictRequest) -> PredictRequest:
        """Return the request as its signature wants it; raises BadRequest."""
        images, servable = self._job.images, form.servable
        fitted = fit(servable, form.signature, request.inputs, lambda spec, image: images.pixels(servable, spec, image))
        self._is_row = fitted.is_row
        return msgspec.structs.replace(request, inputs=fitted.inputs)

    def encode(self, result: PredictResult) -> tuple[bytes, list[Header]]:
        """See Framing. Raises NotRepresentable for outputs that have no form; never for an error.

        A request without a batch axis has a result without one.
        """
        if result.error is not None:
            failed = results.FAILED if self._job.sends_nan else results.write(_FAILED_ARRAY)
            return failed, [(results.REASON, result.error.message.encode(errors="replace"))]
        outputs = []
        for tensor in result.outputs:
            array = tensor.array()
            if self._is_row and array.ndim and len(array) == 1:
                array = array[0]
            outputs.append((tensor.name, process(self._job.post_processing, tensor.name, np.asarray(array))))
        return results.write(outputs), []

    def is_repeated(self, name: str) -> bool:
        """See Framing: all but an older reason."""
        return name != results.REASON


def fitted(
    form: Form, layouts: Mapping[Layout, Sequence[int]], batch: Sequence[Held]
) -> Mapping[Layout, Sequence[int]]:
    """Return the positions of a target's requests by layout, after each request of this format was made to fit."""
    found: dict[Layout, list[int]] = {}
    for layout, positions in layouts.items():
        for position in positions:
            held = batch[position]
            now = layout
            if isinstance(held.framing, Frame) and held.request is not None:
                try:
                    held.request = held.framing.fit(form, held.request)
                except PenstockError as error:
                    held.fail(error)
                    continue
                now = batching.layout_of(held.request.inputs)
            found.setdefault(now, []).append(position)
    return found
