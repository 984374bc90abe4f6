"""``warm-up.avro`` of a version: an Avro object container file of WarmUp records, written and read."""

from __future__ import annotations

import hashlib
import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import avro.datafile
import avro.io
import msgspec

from pipeline.codecs import schemas
from pipeline.codecs.avro_codec import tensors_of
from pipeline.errors import PenstockError, WarmUpFailed
from pipeline.records import WarmUp
from pipeline.tensors import Array, Tensor, from_array

FILE_NAME: Final = "warm-up.avro"
MAX_RECORDS: Final = 1000  # as TensorFlow Serving
MAX_BYTES: Final = 64 * 1024 * 1024  # of the file, and of the tensors in it once they are decompressed
MAX_ITERATIONS: Final = 10_000
MAX_ROWS: Final = 65_536


def request(
    inputs: Mapping[str, Array],
    expected: Mapping[str, Array] | None = None,
    *,
    description: str = "",
    signature: str = "",
    rtol: float | None = None,
    atol: float | None = None,
    iterations: int = 1,
    batch_sizes: Sequence[int] = (),
) -> WarmUp:
    """Return one request from numpy arrays by tensor name; a golden one where ``expected`` has the outputs.

    The arrays have the datatypes and the shapes of the signature, batch axis included. The other arguments are the
    fields of ``schemas/WarmUp.avsc``. Raises TypeError for an array that no request can carry.
    """
    return WarmUp(
        description=description,
        signature=signature,
        inputs=_tensors(inputs),
        expected=None if expected is None else _tensors(expected),
        rtol=rtol,
        atol=atol,
        iterations=iterations,
        batch_sizes=tuple(batch_sizes),
    )


def write(version: str | os.PathLike[str], records: Sequence[WarmUp]) -> Path:
    """Write ``warm-up.avro`` into a version's directory, in place of the one that is there; return its path.

    The same records make the same bytes. The file appears complete or not at all. Raises WarmUpFailed for records that
    ``read`` would refuse, and OSError.
    """
    path = Path(version, FILE_NAME)
    if len(records) > MAX_RECORDS:
        raise WarmUpFailed(str(path), f"{len(records)} records, the limit is {MAX_RECORDS}")
    for position, record in enumerate(records):
        _check(path, position, record)
    content = _encode(records)
    if max(len(content), sum(map(_size_bytes, records))) > MAX_BYTES:
        raise WarmUpFailed(str(path), f"its tensors have more than {MAX_BYTES} bytes; take fewer or smaller requests")
    partial = path.with_name(f".{FILE_NAME}.tmp")  # hidden: no content of the version for a watcher
    partial.write_bytes(content)
    partial.replace(path)
    return path


def read(version: str | os.PathLike[str]) -> tuple[WarmUp, ...]:
    """Return the records of a version's ``warm-up.avro``, none where it has no such file; every tensor is checked.

    Written by any Avro library, with codec ``null`` or ``deflate``, in this schema or one that resolves to it. Raises
    WarmUpFailed for a file that is anything else or over a limit, and OSError where the storage fails.
    """
    path = Path(version, FILE_NAME)
    if not path.is_file():  # a pipe or a device would be waited for
        if os.path.lexists(path):  # a link that leads nowhere too: its golden requests are not to be missed
            raise WarmUpFailed(str(path), "it is not a regular file")
        return ()
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise WarmUpFailed(str(path), f"it has more than {MAX_BYTES} bytes; take fewer or smaller requests")
    records: list[WarmUp] = []
    total_bytes = 0
    for record in _decode(path, content):
        _check(path, len(records), record)
        records.append(record)
        total_bytes += _size_bytes(record)
        if len(records) > MAX_RECORDS:
            raise WarmUpFailed(str(path), f"it has more than {MAX_RECORDS} records")
        if total_bytes > MAX_BYTES:
            raise WarmUpFailed(str(path), f"its tensors have more than {MAX_BYTES} bytes")
    return tuple(records)


def _tensors(arrays: Mapping[str, Array]) -> tuple[Tensor, ...]:
    try:
        return tuple([from_array(name, array) for name, array in arrays.items()])
    except ValueError as error:
        raise TypeError(str(error)) from error


def _encode(records: Sequence[WarmUp]) -> bytes:
    buffer = io.BytesIO()
    schema = schemas.schema("WarmUp")
    writer = avro.datafile.DataFileWriter(buffer, avro.io.DatumWriter(schema), schema, codec="deflate")
    # It must not occur in the data by chance; a random one, as Avro's, would give each file another digest.
    writer.sync_marker = hashlib.sha256(msgspec.msgpack.encode(records)).digest()[:16]
    for record in records:
        writer.append(_datum(record))
    writer.flush()
    return buffer.getvalue()


def _datum(record: WarmUp) -> dict[str, Any]:
    expected = None if record.expected is None else list(map(_tensor_datum, record.expected))
    return {
        **msgspec.structs.asdict(record),
        "inputs": list(map(_tensor_datum, record.inputs)),
        "expected": expected,
        "batch_sizes": list(record.batch_sizes),
    }


def _tensor_datum(tensor: Tensor) -> dict[str, Any]:
    return {**msgspec.structs.asdict(tensor), "shape": list(tensor.shape), "data": bytes(tensor.data)}


def _decode(path: Path, content: bytes) -> Iterator[WarmUp]:
    try:
        reader = avro.datafile.DataFileReader(io.BytesIO(content), avro.io.DatumReader(None, schemas.schema("WarmUp")))
        datum: Any
        for datum in reader:
            expected = None if datum["expected"] is None else tensors_of(datum["expected"])
            inputs, sizes = tensors_of(datum["inputs"]), tuple(datum["batch_sizes"])
            yield WarmUp(**{**datum, "inputs": inputs, "expected": expected, "batch_sizes": sizes})
    except PenstockError as error:
        raise WarmUpFailed(str(path), f"not a file of WarmUp records: {error}") from error
    except Exception as error:  # the reader, zlib and json raise many kinds for bytes that are none
        reason = f"not an Avro object container file of WarmUp records: {type(error).__name__}: {str(error)[:300]}"
        raise WarmUpFailed(str(path), reason) from error


def _check(path: Path, position: int, record: WarmUp) -> None:
    """Raise WarmUpFailed for a record that is wrong whatever the servable is."""
    for reason in _faults(record):
        raise WarmUpFailed(str(path), reason, position, record.description)


def _faults(record: WarmUp) -> Iterator[str]:
    if not record.inputs:
        yield "it has no input tensors"
    if record.expected is not None and not record.expected:
        yield "expected is an empty list; leave it out for a request that only warms up"
    names = [tensor.name for tensor in record.expected or ()]
    if len(set(names)) < len(names):
        yield f"expected names a tensor twice: {', '.join(names)}"
    for name, value in (("rtol", record.rtol), ("atol", record.atol)):
        if value is not None and not (value >= 0 and math.isfinite(value)):
            yield f"{name} is {value}, expected a number from 0 up"
    if not 1 <= record.iterations <= MAX_ITERATIONS:
        yield f"iterations is {record.iterations}, expected 1 to {MAX_ITERATIONS}"
    if record.batch_sizes and not 1 <= min(record.batch_sizes) <= max(record.batch_sizes) <= MAX_ROWS:
        yield f"batch_sizes are {list(record.batch_sizes)}, expected 1 to {MAX_ROWS} each"


def _size_bytes(record: WarmUp) -> int:
    return sum(len(tensor.data) for tensor in (*record.inputs, *(record.expected or ())))
