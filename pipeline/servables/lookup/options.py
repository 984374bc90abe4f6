"""The options of a lookup table."""

from __future__ import annotations

from typing import Final

from pipeline.registry.options import Options
from pipeline.tensors import DATATYPES

KEY: Final = "key"
FOUND: Final = "found"


class LookupOptions(Options, frozen=True):
    """Options of a table; ``docs/servables/lookup.md`` has them one by one.

    ``key`` names the key column or columns, and then the inputs are called as they are; without it the first column is
    the key and the input is ``key``. ``columns`` says which columns are outputs; it names them where the file does not.
    ``header``, ``delimiter`` and ``datatypes`` (by column, BYTES unless named) are for CSV. ``missing`` is what a key
    gets that is not in the table, ``nulls`` what a value that is null becomes: an ``error``, or its column's
    ``default``. ``default`` is one text for all BYTES columns, or a value by column.

    A table of more than ``memory_map_above_bytes`` moves to files without a name and is mapped from there; one of more
    than ``max_table_bytes`` is refused while it is read.
    """

    key: str | tuple[str, ...] = ()
    header: bool = False
    delimiter: str = ","
    columns: tuple[str, ...] = ()
    datatypes: dict[str, str] = {}  # noqa: RUF012  # msgspec makes a new one for each
    missing: str = "error"
    nulls: str = "error"
    default: str | dict[str, str | int | float | bool] = ""
    memory_map_above_bytes: int = 64 << 20
    max_table_bytes: int = 16 << 30

    def __post_init__(self) -> None:
        """Raise ValueError, which msgspec and then ``check_options`` turn into InvalidSettings."""
        for name, allowed in (("missing", ("error", "empty")), ("nulls", ("error", "default"))):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}: {getattr(self, name)!r}, expected {' or '.join(allowed)}")
        if len(self.delimiter) != 1 or self.delimiter in '\r\n"':
            raise ValueError(f"delimiter: {self.delimiter!r}, expected one character, no quote and no end of a line")
        for column, datatype in self.datatypes.items():
            if datatype not in DATATYPES:
                raise ValueError(f"datatypes: {column} is {datatype!r}, expected one of {', '.join(DATATYPES)}")
        if self.memory_map_above_bytes < 0 or self.max_table_bytes <= 0:
            raise ValueError("memory_map_above_bytes is 0 or more, max_table_bytes more than 0")

    @property
    def keys(self) -> tuple[str, ...]:
        """The names of the key columns, none where the first column is the key."""
        return (self.key,) if isinstance(self.key, str) else self.key
