"""Which columns of a file are the keys of a table, and which its values: decided from names and options alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline.errors import InvalidArtefact
from pipeline.servables.lookup.options import FOUND, KEY, LookupOptions
from pipeline.tensors import DTYPES


class Field(NamedTuple):
    """A column as the file has it: a number or a text in each row, or a vector of numbers.

    ``datatype`` is the protocol's, or the file's own word for what the protocol does not have.
    """

    name: str
    datatype: str


class Column(NamedTuple):
    """A column that is read. ``default`` is what a missing key gets in it; a null becomes it, or is refused."""

    name: str
    datatype: str
    default: Any
    takes_nulls: bool


class Layout(NamedTuple):
    """What is read: the columns of the keys, in the order of ``inputs``, and those of the values."""

    inputs: tuple[str, ...]
    keys: tuple[Column, ...]
    values: tuple[Column, ...]


def choose(what: str, fields: Sequence[Field], options: LookupOptions) -> Layout:
    """Return the layout of a file with these columns; raise InvalidArtefact where there is none."""
    by_name = {field.name: field for field in fields}
    keys = options.keys or tuple(field.name for field in fields[:1])
    values = options.columns or tuple(field.name for field in fields if field.name not in keys)
    inputs = options.keys or (KEY,)
    for named in (keys, values, options.datatypes, options.default if isinstance(options.default, dict) else ()):
        unknown = [name for name in named if name not in by_name]
        if unknown:
            reason = f"there is no column {', '.join(sorted(unknown))}; the file has {', '.join(by_name) or 'none'}"
            raise InvalidArtefact(what, reason)
    if len(by_name) != len(fields) or len({*keys, *values}) != len(keys) + len(values):
        raise InvalidArtefact(what, f"columns are {', '.join(field.name for field in fields)}; expected distinct names")
    if not values or {FOUND, *inputs} & set(values):
        reason = (
            f"value columns are {', '.join(values) or 'none'}; expected names other than {', '.join(inputs)}, found"
        )
        raise InvalidArtefact(what, reason)
    for name in (*keys, *values):
        if by_name[name].datatype not in DTYPES:
            reason = f"column {name} is {by_name[name].datatype}, which a table can not have; name others in columns"
            raise InvalidArtefact(what, reason)
    for name in keys:
        if by_name[name].datatype.startswith("FP") or by_name[name].datatype == "BOOL":
            reason = f"key column {name} is {by_name[name].datatype}; expected BYTES or an integer"
            raise InvalidArtefact(what, reason)
    return Layout(
        inputs,
        tuple(Column(*by_name[name], None, takes_nulls=False) for name in keys),
        tuple(_value_column(what, by_name[name], options) for name in values),
    )


def _value_column(what: str, field: Field, options: LookupOptions) -> Column:
    if isinstance(options.default, dict):
        given = options.default.get(field.name)
    else:
        given = options.default if field.datatype == "BYTES" else None
    if field.datatype == "BYTES":
        default: Any = "" if given is None else given
        fits = isinstance(default, str)
        default = default.encode() if fits else default
    else:
        dtype = DTYPES[field.datatype]
        if given is None:
            given = np.nan if dtype.kind == "f" else 0
        fits, default = _as_number(given, dtype)
    if not fits:
        raise InvalidArtefact(
            what, f"default of column {field.name} is {given!r}, expected a value of {field.datatype}"
        )
    return Column(*field, default, takes_nulls=options.nulls == "default")


def _as_number(given: Any, dtype: np.dtype[Any]) -> tuple[bool, Any]:
    if isinstance(given, str) or (isinstance(given, bool) and dtype.kind != "b"):
        return False, None
    try:
        with np.errstate(over="raise"):
            number = np.array(given).astype(dtype)
    except (ArithmeticError, ValueError):
        return False, None
    return dtype.kind == "f" or bool(number == given), number[()]
