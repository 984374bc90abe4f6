"""``signature.json`` of a version: the signatures of a model whose own file does not tell them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from pipeline.description import Signature, TensorSpec
from pipeline.errors import InvalidArtefact
from pipeline.tensors import DATATYPES

FILE: Final = "signature.json"
_MOST_BYTES: Final = 1 << 20


class Declared(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One tensor as options declare it, its name being the key: ``{datatype: FP32, shape: [-1, 64]}``.

    ``axes`` names the axes, "" for one without a name. Raises ValueError for what no signature can have.
    """

    datatype: str
    shape: tuple[int, ...]
    axes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check(self.datatype, self.shape, self.axes)

    def spec(self, name: str) -> TensorSpec:
        """Return it as a tensor of a signature."""
        return TensorSpec(name, self.datatype, self.shape, self.axes)


def read_signatures(what: str, version: Path) -> dict[str, Signature]:
    """Return the signatures that ``signature.json`` in the directory ``version`` declares; none where there is no file.

    The file holds ``{signature: {"inputs": [{"name", "datatype", "shape", "axes"?}], "outputs": [...], "batched"?}}``,
    ``batched`` being true where it is left out. Raises InvalidArtefact in the name of ``what``. Blocks.
    """
    file = version / FILE
    if not file.is_file():
        return {}
    if file.stat().st_size > _MOST_BYTES:
        raise InvalidArtefact(what, f"{FILE} has {file.stat().st_size} bytes, expected at most {_MOST_BYTES}")
    try:
        signatures = msgspec.json.decode(file.read_bytes(), type=dict[str, Signature])
        for name, signature in signatures.items():
            check_signature(signature, f"signature {name!r}")
    except (ValueError, RecursionError) as error:
        raise InvalidArtefact(what, f"{FILE}: {error}") from error
    return signatures


def declared_signature(inputs: Mapping[str, Declared], outputs: Mapping[str, Declared], *, batched: bool) -> Signature:
    """Return the signature that options declare; raises ValueError where it can not be one."""
    signature = Signature(
        tuple(tensor.spec(name) for name, tensor in inputs.items()),
        tuple(tensor.spec(name) for name, tensor in outputs.items()),
        batched,
    )
    check_signature(signature, "the signature of inputs and outputs")
    return signature


def check_signature(signature: Signature, what: str) -> None:
    """Raise ValueError where a signature says what none can: no tensors, a name twice, a batch axis that is fixed."""
    for side, specs in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        if not specs:
            raise ValueError(f"{what} has no {side}, expected at least one")
        if len({spec.name for spec in specs}) < len(specs):
            raise ValueError(f"{what} has two {side} of one name: {', '.join(spec.name for spec in specs)}")
        for spec in specs:
            _check(spec.datatype, spec.shape, spec.axes)
            if signature.batched and spec.shape[:1] != (-1,):
                reason = f"{spec.name!r} has shape {list(spec.shape)}, expected -1 first, or batched to be false"
                raise ValueError(f"{what} is batched, and {reason}")


def _check(datatype: str, shape: tuple[int, ...], axes: tuple[str, ...]) -> None:
    if datatype not in DATATYPES:
        raise ValueError(f"datatype is {datatype!r}, expected one of {', '.join(DATATYPES)}")
    if any(axis < -1 for axis in shape):
        raise ValueError(f"shape is {list(shape)}, expected lengths, or -1 for any")
    if axes and len(axes) != len(shape):
        raise ValueError(f"axes names {len(axes)} axes, the shape has {len(shape)}")
