"""From what stands on the command line to warm-up requests. Pure, but for the files that are read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec

from pipeline.client.request import parse
from pipeline.commands import predict_input
from pipeline.errors import BadRequest
from pipeline.records import PredictRequest, WarmUp
from pipeline.tensors import Tensor


def records(
    inputs: Sequence[str],
    datatypes: tuple[str, ...],
    expected: Sequence[str],
    expected_datatypes: tuple[str, ...],
    fields: Mapping[str, Any],
) -> list[WarmUp]:
    """Return a record of each input, with the expected outputs of the same place where there are any.

    ``fields`` are the other fields of WarmUp. Raises click.UsageError for what is no tensors.
    """
    made = []
    for position, text in enumerate(inputs):
        request = _parse(predict_input.read(text), datatypes, "INPUT")
        record = WarmUp(inputs=request.inputs, **fields)
        if not record.signature:
            record = msgspec.structs.replace(record, signature=request.signature)
        if expected:
            record = msgspec.structs.replace(record, expected=_outputs(expected[position], expected_datatypes))
        made.append(record)
    return made


def _outputs(text: str, datatypes: tuple[str, ...]) -> tuple[Tensor, ...]:
    content = predict_input.read(text)
    try:
        value = json.loads(content)
    except ValueError:
        value = None  # a NumPy file, or nothing at all
    if isinstance(value, dict) and isinstance(value.get("outputs"), dict) and isinstance(value.get("datatypes"), dict):
        # What `penstock predict --json` prints, which names the datatypes itself.
        content = json.dumps(value["outputs"]).encode()
        datatypes = (*(f"{name}={datatype}" for name, datatype in value["datatypes"].items()), *datatypes)
    return _parse(content, datatypes, "--expected").inputs


def _parse(content: bytes, datatypes: tuple[str, ...], hint: str) -> PredictRequest:
    try:
        return parse(predict_input.tensors(content, predict_input.parse_datatypes(datatypes)))
    except (BadRequest, TypeError) as error:
        raise click.BadParameter(str(error), param_hint=hint) from error
