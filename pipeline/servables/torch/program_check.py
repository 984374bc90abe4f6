"""Whether ``torch.export.load`` would do no more with a file than build a graph of PyTorch's own operators."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from pipeline.errors import InvalidArtefact
from pipeline.servables.framework import first_line
from pipeline.servables.torch import text_checks
from pipeline.servables.torch.archive import Archive

PROGRAM: Final = "models/model.json"
_SAMPLE: Final = "data/sample_inputs/model.pt"
_WEIGHTS: Final = "data/weights/model_weights_config.json"
_CONSTANTS: Final = "data/constants/model_constants_config.json"
_PLAIN: Final = re.compile(
    r"archive_format|archive_version|byteorder|\.data/(version|serialization_id)|extra/.*|"
    r"data/weights/weight_\d+|data/constants/tensor_\d+"
)
# Values of the program that are handed on as they are, and never evaluated.
_DATA: Final = frozenset({"metadata", "as_string", "as_strings", "torch_version", "treespec_namedtuple_fields"})
_CUSTOM: Final = frozenset({"as_custom_obj", "custom_obj"})
_HINT: Final = "it may be loaded with allow_pickle in the options, which runs what the file says"


def is_bulk(record: str) -> bool:
    """Whether a record is the bytes of one tensor, of any size."""
    return re.fullmatch(r"data/(weights/weight|constants/tensor)_\d+", record) is not None


def check_program(what: str, archive: Archive, torch: Any, libraries: tuple[str, ...]) -> None:
    """Raise InvalidArtefact for an archive that would make PyTorch unpickle, evaluate or import what it says.

    Checked are all records that PyTorch looks at: the program's texts, that tensors are stored as plain bytes, and that
    the sample inputs, which PyTorch unpickles without care where it fails with care, can be read with care.
    """
    for record in archive.sizes:
        if record not in (PROGRAM, _SAMPLE, _WEIGHTS, _CONSTANTS) and not _PLAIN.fullmatch(record):
            raise InvalidArtefact(what, f"{record} is no part of one exported program, made of plain tensors; {_HINT}")
    missing = [record for record in (PROGRAM, _SAMPLE, _WEIGHTS, _CONSTANTS) if record not in archive.records]
    if missing:
        raise InvalidArtefact(what, f"the file lacks {missing[0]}; save the program with torch.export.save again")
    for config, folder, prefix in ((_WEIGHTS, "data/weights/", "weight_"), (_CONSTANTS, "data/constants/", "tensor_")):
        _check_tensors(what, archive, config, folder, prefix)
    try:
        if archive.records[_SAMPLE]:
            torch.load(io.BytesIO(archive.records[_SAMPLE]), weights_only=True)
    except Exception as error:
        raise InvalidArtefact(
            what, f"the sample inputs are more than tensors ({first_line(error)}); {_HINT}"
        ) from error
    for where, text in _refused(parse(what, archive, PROGRAM), _checks(torch, libraries)):
        raise InvalidArtefact(what, f"{PROGRAM}: {where} is {text[:200]!r}, which no plain export writes; {_HINT}")


def parse(what: str, archive: Archive, record: str) -> dict[str, Any]:
    """Return a JSON record as a dict; raises InvalidArtefact."""
    try:
        content = json.loads(archive.records[record])
    except (ValueError, RecursionError) as error:
        raise InvalidArtefact(what, f"{record} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise InvalidArtefact(what, f"{record} is no JSON object")
    return content


def _check_tensors(what: str, archive: Archive, config: str, folder: str, prefix: str) -> None:
    try:
        for name, entry in parse(what, archive, config)["config"].items():
            path, size = entry["path_name"], archive.sizes.get(folder + entry["path_name"])
            if entry["use_pickle"] or not path.startswith(prefix):
                raise InvalidArtefact(what, f"{name} in {config} is a pickle; {_HINT}")
            numbers = math.prod(axis["as_int"] for axis in entry["tensor_meta"]["sizes"])
            if size is None or (size == 0 and numbers):
                reason = f"{name} in {config} has {numbers} numbers, {path} has {size or 'no'} bytes"
                raise InvalidArtefact(what, reason)
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidArtefact(what, f"{config} is not as torch.export.save writes it: {first_line(error)}") from error


def _checks(torch: Any, libraries: tuple[str, ...]) -> Mapping[str, Callable[[str], bool]]:
    known: dict[str, bool] = {}

    def is_operator(text: str) -> bool:
        if text not in known:
            known[text] = text_checks.is_operator(text, torch, libraries)
        return known[text]

    return {
        "target": is_operator,
        "as_operator": is_operator,
        "expr_str": text_checks.is_size,
        "guards_code": text_checks.is_guard,
        "in_spec": text_checks.is_structure,
        "out_spec": text_checks.is_structure,
    }


def _refused(
    value: Any, checks: Mapping[str, Callable[[str], bool]], key: str = "program"
) -> Iterator[tuple[str, str]]:
    """Yield each text that its check refuses, with the key that it stands under; a text without a check is a name."""
    if isinstance(value, dict):
        for name, child in value.items():
            if name in _CUSTOM:
                yield name, str(child)
            elif name not in _DATA:
                yield from _refused(child, checks, name)
    elif isinstance(value, list):
        for child in value:
            yield from _refused(child, checks, key)
    elif isinstance(value, str) and not checks.get(key, text_checks.is_name)(value):
        yield key, value
