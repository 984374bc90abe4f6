"""A TensorFlow checkpoint looked over before OpenVINO reads it: its index by its checksums, its entries by its data.

``variables.index`` is a LevelDB table. Each block ends with the checksum of what it should be; OpenVINO 2026.4 does not
compare it, and dies of an index that is damaged.
"""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from pipeline.errors import InvalidArtefact
from pipeline.servables.protobuf import MalformedMessage, fields, varint

_MAGIC: Final = 0xDB4775248B80FB57
_FOOTER_BYTES: Final = 48
_TRAILER_BYTES: Final = 5
_POLYNOMIAL: Final = 0x82F63B78
_MASK_DELTA: Final = 0xA282EAD8
_MOST_BYTES: Final = 64 << 20
_SHARDS, _SHARD, _OFFSET, _SIZE = 1, 3, 4, 5


def check_checkpoint(name: str, variables: Path) -> None:
    """Raise InvalidArtefact unless every variable that the index names lies inside its data file.

    ``variables`` is the directory of a SavedModel; one without an index has no variables. The index is read (a hundred
    bytes a variable), the data are not.
    """
    index = variables / "variables.index"
    if not index.is_file():
        return
    try:
        with index.open("rb") as file:
            _check_entries(variables, file.read(_MOST_BYTES))
    except (MalformedMessage, struct.error, IndexError) as error:
        raise InvalidArtefact(name, f"variables/{index.name} is damaged: {error}") from error


def _check_entries(variables: Path, table: bytes) -> None:
    sizes: list[int] = []
    for key, value in _table(table):
        entry = {field.number: field.value or 0 for field in fields(io.BytesIO(value), 0, len(value))}
        if not key:
            shards = entry.get(_SHARDS, 1)
            files = [variables / f"variables.data-{place:05d}-of-{shards:05d}" for place in range(min(shards, 100_000))]
            missing = [file.name for file in files if not file.is_file()]
            if missing or not files:
                raise MalformedMessage(f"{missing[0] if missing else 'its data file'} is missing")
            sizes = [file.stat().st_size for file in files]
            continue
        shard, end = entry.get(_SHARD, 0), entry.get(_OFFSET, 0) + entry.get(_SIZE, 0)
        if shard >= len(sizes) or end > sizes[shard]:
            raise MalformedMessage(f"variable {key[:100]!r} lies outside the data files")


def _table(table: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keys and values of a LevelDB table, in order; every block is compared with its checksum first."""
    footer = table[-_FOOTER_BYTES:]
    if len(footer) < _FOOTER_BYTES or struct.unpack("<Q", footer[-8:])[0] != _MAGIC:
        raise MalformedMessage("it does not end as a table does")
    position = _skip_handle(footer, 0)  # that of the meta-index, which TensorFlow leaves empty
    for _, handle in _block(_content(table, footer, position)):
        yield from _block(_content(table, handle, 0))


def _content(table: bytes, handle: bytes, position: int) -> bytes:
    offset, position = varint(handle, position)
    size, _ = varint(handle, position)
    stored = table[offset : offset + size + _TRAILER_BYTES]
    if len(stored) != size + _TRAILER_BYTES:
        raise MalformedMessage(f"a block of {size} bytes at byte {offset} is cut off")
    kind, checksum = struct.unpack("<BI", stored[size:])
    if _masked(_crc32c(stored[: size + 1])) != checksum:
        raise MalformedMessage(f"the block at byte {offset} does not have its checksum")
    if kind:
        raise MalformedMessage(f"the block at byte {offset} is compressed, which TensorFlow's are not")
    return stored[:size]


def _block(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    restarts: int = struct.unpack("<I", block[-4:])[0]
    end = len(block) - 4 * (restarts + 1)
    position, key = 0, b""
    while position < end:
        shared, position = varint(block, position)
        unshared, position = varint(block, position)
        size, position = varint(block, position)
        if shared > len(key) or position + unshared + size > end:
            raise MalformedMessage("an entry ends after its block")
        key = key[:shared] + block[position : position + unshared]
        position += unshared
        yield key, block[position : position + size]
        position += size
    if position != end:
        raise MalformedMessage("a block has not the size that it says")


def _skip_handle(data: bytes, position: int) -> int:
    return varint(data, varint(data, position)[1])[1]


def _crc32c(data: bytes) -> int:
    table = _crc_table()
    value = 0xFFFFFFFF
    for byte in data:
        value = table[(value ^ byte) & 0xFF] ^ (value >> 8)
    return value ^ 0xFFFFFFFF


@functools.cache
def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


def _masked(checksum: int) -> int:
    """LevelDB's guard against checksums of data that hold checksums."""
    return (((checksum >> 15) | (checksum << 17)) + _MASK_DELTA) & 0xFFFFFFFF
