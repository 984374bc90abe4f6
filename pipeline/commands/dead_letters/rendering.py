"""Dead letters as rows, objects and text. Pure."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from pipeline.commands import output

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pipeline.dead_letters.letters import DeadLetter
    from pipeline.records import PredictRequest

_MAX_MESSAGE: Final = 100
_MAX_HEX_BYTES: Final = 1024
_ROW_BYTES: Final = 32


def table(letters: Iterable[tuple[DeadLetter, str]]) -> tuple[Sequence[str], Sequence[Sequence[str]]]:
    """Return columns and rows of letters, each with its servable."""
    rows = [
        (
            str(letter.place),
            time_text(letter.at_ms),
            letter.said.code,
            servable,
            letter.origin,
            str(letter.said.attempts),
            bytes_text(letter.key),
            _size(letter),
            _shorter(letter.said.message),
        )
        for letter, servable in letters
    ]
    return ("letter", "at", "error", "servable", "request", "attempts", "key", "bytes", "message"), rows


def as_dict(letter: DeadLetter, servable: str) -> dict[str, Any]:
    """Return what a program wants to know of a letter, without its value."""
    said = letter.said
    return {
        **letter.place.facts,
        "at_ms": letter.at_ms,
        "error": said.code,
        "message": said.message,
        "retriable": said.retriable,
        "attempts": said.attempts,
        "worker": said.worker,
        "servable": servable,
        "key": output.bytes_value(letter.key),
        "value_bytes": letter.said.omitted_bytes if letter.value is None else len(letter.value),
        "request": {"topic": said.topic, **letter.origin_facts, "timestamp_ms": said.timestamp_ms},
    }


def contents(letter: DeadLetter, request: PredictRequest | None) -> dict[str, Any]:
    """Return headers, decoded request and value of a letter, for a program."""
    decoded = None
    if request is not None:
        named = {tensor.name: tensor for tensor in request.inputs}
        decoded = {
            "id": request.id,
            "servable": request.servable,
            "version": request.version,
            "label": request.label,
            "signature": request.signature,
            "deadline_ms": request.deadline_ms,
            "parameters": request.parameters,
            "inputs": {
                name: {"datatype": tensor.datatype, "shape": list(tensor.shape)} for name, tensor in named.items()
            },
        }
    headers = [[name, output.bytes_value(value)] for name, value in letter.said.own]
    return {"headers": headers, "decoded": decoded, "value": _base64(letter.value)}


def lines(letter: DeadLetter, servable: str, request: PredictRequest | None) -> Iterator[str]:
    """Yield the text of one letter: why, where from, headers, and the request, decoded or in hexadecimal."""
    said = letter.said
    retry = "may succeed later" if said.retriable else "fails again as it is"
    yield f"letter    {letter.place}"
    yield f"at        {time_text(letter.at_ms)}"
    yield f"error     {said.code} ({retry})"
    yield f"message   {said.message}"
    yield f"attempts  {said.attempts}"
    yield f"worker    {said.worker or '-'}"
    yield f"request   {letter.origin}"
    yield f"servable  {servable or '-'}"
    yield f"key       {bytes_text(letter.key)}"
    for name, value in said.own:
        yield f"header    {name}: {bytes_text(value)}"
    if letter.value is None:
        yield f"value     left out: {said.omitted_bytes} bytes did not fit; the request is {letter.origin}"
    elif request is None:
        yield f"value     {len(letter.value)} bytes, not decoded"
        yield from _hex(letter.value)
    else:
        yield from _request(request)


def _request(request: PredictRequest) -> Iterator[str]:
    for name in ("id", "version", "label", "signature", "deadline_ms", "parameters"):
        value = getattr(request, name)
        if value:
            yield f"{name.removesuffix('_ms'):<9} {value}"
    for tensor in request.inputs:
        yield f"input     {tensor.name}: {tensor.datatype} {list(tensor.shape)}"


def time_text(at_ms: int) -> str:
    """Return a time in UTC, to the second."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def bytes_text(value: bytes | None) -> str:
    """Return text where the bytes are printable text, else hexadecimal; as ``--key`` takes it."""
    if value is None:
        return "-"
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return f"hex:{value.hex()}"
    return text if text.isprintable() and not text.startswith("hex:") else f"hex:{value.hex()}"


def _base64(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def _hex(value: bytes) -> Iterator[str]:
    for start in range(0, min(len(value), _MAX_HEX_BYTES), _ROW_BYTES):
        row = value[start : start + _ROW_BYTES]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        yield f"  {start:06x}  {row.hex(' ', -4):<{_ROW_BYTES * 2 + _ROW_BYTES // 4}} {text}"
    if len(value) > _MAX_HEX_BYTES:
        yield f"  ... {len(value) - _MAX_HEX_BYTES} more bytes"


def _size(letter: DeadLetter) -> str:
    return f"left out ({letter.said.omitted_bytes})" if letter.value is None else str(len(letter.value))


def _shorter(message: str) -> str:
    line = message.replace("\n", " ")
    return line if len(line) <= _MAX_MESSAGE else f"{line[: _MAX_MESSAGE - 3]}..."
