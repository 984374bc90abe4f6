"""A loaded table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.description import Description, Signature, TensorSpec
from pipeline.errors import ModelFailed
from pipeline.records import DEFAULT_SIGNATURE
from pipeline.servables.lookup.columns import Values
from pipeline.servables.lookup.index import Index
from pipeline.servables.lookup.options import FOUND
from pipeline.tensors import Array


class LookupServable:
    """A table of ``rows`` rows: an input [batch] per key column, an output [batch] or [batch, length] per value column.

    ``memory_bytes`` is what it keeps in memory, files that are mapped not counted. With ``has_found`` a key that is not
    in the table gets the defaults, and ``found`` (BOOL [batch]) says so.
    """

    def __init__(
        self,
        what: str,
        inputs: Sequence[TensorSpec],
        index: Index,
        values: Sequence[Values],
        rows: int,
        *,
        has_found: bool,
        memory_bytes: int,
        description: Description,
    ) -> None:
        self._what = what
        self._index = index
        self._values = values
        self._rows = rows
        self._has_found = has_found
        self.memory_bytes = memory_bytes
        self.description = description
        outputs = [column.spec for column in values]
        if has_found:
            outputs.append(TensorSpec(FOUND, "BOOL", (-1,), ("batch",)))
        self.signatures: Mapping[str, Signature] = {DEFAULT_SIGNATURE: Signature(tuple(inputs), tuple(outputs))}
        self._inputs = [spec.name for spec in inputs]

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:  # noqa: ARG002  # there is one
        """See Servable. Raises ModelFailed for a key that is not in the table, unless the options say otherwise."""
        rows = self._index.find([inputs[name] for name in self._inputs])
        found = rows >= 0
        if not found.all():
            if not self._has_found:
                first = int(found.argmin())
                key = ", ".join(repr(inputs[name][first : first + 1].tolist()[0]) for name in self._inputs)
                raise ModelFailed(self._what, f"key {key} is not in the table")
            rows = np.where(found, rows, self._rows)
        outputs = {column.spec.name: column.take(rows) for column in self._values}
        if self._has_found:
            outputs[FOUND] = found
        return outputs
