"""From what stands on the command line to what the client sends. Pure, but for the one file that is read."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from pipeline.tensors import DTYPES, Array

if TYPE_CHECKING:
    from collections.abc import Mapping

_NPY, _NPZ = b"\x93NUMPY", b"PK\x03\x04"


def read(text: str) -> bytes:
    """Return what INPUT names: stdin for ``-``, the content of ``@path`` or of a path, else the text itself."""
    if text == "-":
        return sys.stdin.buffer.read()
    path = Path(text.removeprefix("@"))
    try:
        if text.startswith("@") or path.is_file():
            return path.read_bytes()
    except OSError as error:
        if text.startswith("@"):
            raise click.BadParameter(f"{path} can not be read: {error.strerror}", param_hint="INPUT") from error
        # JSON may be longer than a path can be: it is no file then
    return text.encode()


def tensors(content: bytes, datatypes: Mapping[str, str]) -> Mapping[str, Any] | Array | str:
    """Return what the client's ``predict`` and ``send`` take.

    NumPy files keep their dtypes. JSON is one tensor (anything but an object), an object of tensors by name, or a whole
    request (an object with ``instances`` or ``inputs``), which is passed on as text. ``datatypes`` by tensor name, with
    "" for all others: what the numbers of JSON become; FP32 where it says nothing. Raises click.UsageError.
    """
    if content.startswith((_NPY, _NPZ)):
        return _from_numpy(content)
    try:
        value = json.loads(content)
    except ValueError as error:
        start = content[:40].decode(errors="replace")
        message = f"{start!r} is neither JSON nor a file: {error}"
        raise click.BadParameter(message, param_hint="INPUT") from error
    if not isinstance(value, dict):
        return _array("", value, datatypes)
    if isinstance(value.get("instances"), list) or isinstance(value.get("inputs"), dict) or _is_v2(value):
        return content.decode()
    unknown = set(datatypes) - set(value) - {""}
    if unknown:
        raise click.BadParameter(f"there is no tensor {', '.join(sorted(unknown))}", param_hint="--datatype")
    return {name: _array(name, item, datatypes) for name, item in value.items()}


def parse_datatypes(values: tuple[str, ...]) -> dict[str, str]:
    """Return datatype by tensor name, "" for all others, from ``INT64`` and ``ids=INT64``."""
    chosen: dict[str, str] = {}
    for value in values:
        name, _, datatype = value.rpartition("=")
        if datatype.upper() not in DTYPES:
            raise click.BadParameter(f"{datatype!r} is not one of {', '.join(DTYPES)}", param_hint="--datatype")
        chosen[name] = datatype.upper()
    return chosen


def _is_v2(value: Mapping[str, Any]) -> bool:
    inputs = value.get("inputs")
    return isinstance(inputs, list) and bool(inputs) and isinstance(inputs[0], dict) and "datatype" in inputs[0]


def _from_numpy(content: bytes) -> Mapping[str, Any] | Array:
    try:
        loaded = np.load(io.BytesIO(content), allow_pickle=False)
        return loaded if isinstance(loaded, np.ndarray) else {name: loaded[name] for name in loaded.files}
    except (ValueError, OSError, EOFError) as error:
        raise click.BadParameter(f"not a NumPy file that can be read: {error}", param_hint="INPUT") from error


def _array(name: str, value: Any, datatypes: Mapping[str, str]) -> Array:
    """Return one tensor; a number, text or truth value alone is one row."""
    if not isinstance(value, list):
        value = [value]
    datatype = datatypes.get(name, datatypes.get(""))
    try:
        found = np.array(value)
        if datatype is not None:
            return _cast(found, datatype)
        if found.dtype.kind in "iuf":
            return found.astype(np.float32)
        if found.dtype.kind in "bU":
            return found
    except (ValueError, TypeError, OverflowError) as error:
        raise click.BadParameter(f"tensor {name!r}: {error}", param_hint="INPUT") from error
    raise click.BadParameter(f"tensor {name!r} is neither numbers, text nor true and false", param_hint="INPUT")


def _cast(found: Array, datatype: str) -> Array:
    if datatype == "BYTES":
        return np.array(found.astype(str), object)
    wanted = found.astype(DTYPES[datatype])
    if DTYPES[datatype].kind in "iu" and not np.array_equal(wanted, found):
        raise ValueError(f"not every element is a number that {datatype} holds")
    return wanted
