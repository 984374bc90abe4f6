"""Makes a table of a file: picks the reader, collects columns and keys, decides how they are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

from pipeline.description import Description, TensorSpec
from pipeline.errors import InvalidArtefact
from pipeline.servables.lookup import avro_reader, csv_reader, parquet_reader
from pipeline.servables.lookup.columns import Values, writer
from pipeline.servables.lookup.index import MAX_ROWS, Index, IntegerIndexWriter, TextIndexWriter
from pipeline.servables.lookup.layout import Layout, choose
from pipeline.servables.lookup.options import LookupOptions
from pipeline.servables.lookup.reader import Reader, Texts
from pipeline.servables.lookup.servable import LookupServable
from pipeline.servables.lookup.workspace import Workspace

_READERS: Final[dict[str, Callable[[str, Path, LookupOptions], Reader]]] = {
    ".avro": avro_reader.AvroReader,
    ".csv": csv_reader.CsvReader,
    ".parquet": parquet_reader.ParquetReader,
}
# Up to here a table is kept in Python objects where it is not mapped: four times as fast, and 150 bytes a text.
SMALL_ROWS: Final = 100_000
OBJECT_BYTES: Final = 150


def make(what: str, file: Path, options: LookupOptions) -> LookupServable:
    """Return the table of a file. Raises InvalidArtefact, in the name of ``what``, for what is none, and OSError."""
    reader = _READERS[ending(file)](what, file, options)
    layout = choose(what, reader.fields, options)
    with Workspace(what, options.memory_map_above_bytes, options.max_table_bytes) as workspace:
        rows, index, values = _collect(what, reader, layout, workspace)
    is_small = _is_small(rows, workspace)
    memory_bytes = 0 if workspace.is_mapped else workspace.size_bytes
    if is_small:
        texts = sum(column.datatype == "BYTES" for column in (*layout.keys, *layout.values))
        memory_bytes += rows * texts * OBJECT_BYTES
    framework, version = reader.framework
    kept = "mapped from a file" if workspace.is_mapped else "in memory"
    return LookupServable(
        what,
        [
            TensorSpec(name, column.datatype, (-1,), ("batch",))
            for name, column in zip(layout.inputs, layout.keys, strict=True)
        ],
        index,
        values,
        rows,
        has_found=options.missing == "empty",
        memory_bytes=memory_bytes,
        description=Description(
            framework=framework,
            framework_version=version,
            threads=1,
            notes=(f"{rows} rows, {workspace.size_bytes} bytes {kept}",),
        ),
    )


def ending(file: Path) -> str:
    """Return the ending that says of what format a file is; one that has another name is told by its first bytes."""
    if file.suffix in _READERS:
        return file.suffix
    with file.open("rb") as opened:
        start = opened.read(4)
    return {avro_reader.MAGIC: ".avro", parquet_reader.MAGIC: ".parquet"}.get(start, ".csv")


def _collect(what: str, reader: Reader, layout: Layout, workspace: Workspace) -> tuple[int, Index, list[Values]]:
    keys: IntegerIndexWriter | TextIndexWriter
    if len(layout.keys) == 1 and layout.keys[0].datatype != "BYTES":
        keys = IntegerIndexWriter(what, layout.keys[0], workspace, reader.place)
    else:
        keys = TextIndexWriter(what, layout.keys, workspace, reader.place)
    writers = [writer(what, column, workspace) for column in layout.values]
    rows = 0
    for pieces in reader.pieces((*layout.keys, *layout.values)):
        rows += len(pieces[0].offsets) - 1 if isinstance(pieces[0], Texts) else len(pieces[0])
        if rows >= MAX_ROWS:
            raise InvalidArtefact(what, f"the table has more than {MAX_ROWS - 1} rows")
        keys.write(pieces[: len(layout.keys)])
        for one, piece in zip(writers, pieces[len(layout.keys) :], strict=True):
            one.write(piece)
    if not rows:
        raise InvalidArtefact(what, "the table has no rows")
    small = _is_small(rows, workspace)
    return rows, keys.finish(small=small), [one.finish(small=small) for one in writers]


def _is_small(rows: int, workspace: Workspace) -> bool:
    return rows <= SMALL_ROWS and not workspace.is_mapped
