"""The servable of all formats: arrays in, a call under inference mode, arrays out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import msgspec
import numpy as np

from pipeline.description import Description, Signature, TensorSpec
from pipeline.errors import ModelFailed
from pipeline.records import DEFAULT_SIGNATURE
from pipeline.servables.framework import first_line
from pipeline.servables.torch.datatypes import DATATYPES
from pipeline.servables.torch.runtime import default_threads
from pipeline.tensors import Array

Call = Callable[[Mapping[str, Any]], Any]


class Model(msgspec.Struct, frozen=True):
    """What a format makes of its file: how it is called by signature, with tensors by name, and what is to be known.

    ``free`` lets go of what garbage collection would find late, and is called once, after the last call.
    """

    signatures: dict[str, Signature]
    calls: dict[str, Call]
    free: Callable[[], None]
    notes: tuple[str, ...] = ()


class TorchServable:
    """A loaded model. Inputs and outputs are copied once each: a model may write to the one and keep the other."""

    def __init__(self, what: str, torch: Any, model: Model, device: str, threads: int | None) -> None:
        self.signatures: Mapping[str, Signature] = model.signatures
        self.description = Description("torch", torch.__version__, threads, notes=model.notes)
        self._what = what
        self._torch = torch
        self._model: Model | None = model
        self._device = None if device == "cpu" else device
        self._own_threads = threads or default_threads()
        self._datatypes = {getattr(torch, name.removeprefix("torch.")): of for name, of in DATATYPES.items()}

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """See Servable. Raises ModelFailed with type and text of what PyTorch, or the model's own code, raised."""
        name = signature or DEFAULT_SIGNATURE
        model = self._model
        if model is None:
            raise ModelFailed(self._what, "it has been unloaded")
        torch = self._torch
        if torch.get_num_threads() != self._own_threads:
            torch.set_num_threads(self._own_threads)
        try:
            with torch.inference_mode():
                tensors = {spec.name: self._tensor(inputs[spec.name]) for spec in model.signatures[name].inputs}
                result = model.calls[name](tensors)
                return self._outputs(model.signatures[name], result)
        except ModelFailed:
            raise
        except Exception as error:
            raise ModelFailed(self._what, f"PyTorch raised {first_line(error)}") from error

    def close(self) -> None:
        """Free the model; nothing is running by then."""
        model, self._model = self._model, None
        if model is not None:
            model.free()

    def _tensor(self, array: Array) -> Any:
        tensor = self._torch.from_numpy(np.array(array, order="C"))
        return tensor if self._device is None else tensor.to(self._device)

    def _outputs(self, signature: Signature, result: Any) -> dict[str, Array]:
        if isinstance(result, self._torch.Tensor) and len(signature.outputs) == 1:
            return {spec.name: self._array(spec, result) for spec in signature.outputs}
        found = list(named_leaves(result, self._torch.Tensor))
        if isinstance(result, Mapping):
            by_name = dict(found)
        elif len(found) == len(signature.outputs):
            by_name = {spec.name: tensor for spec, (_, tensor) in zip(signature.outputs, found, strict=True)}
        else:
            raise ModelFailed(self._what, f"it returned {len(found)} tensors, declared are {len(signature.outputs)}")
        missing = [spec.name for spec in signature.outputs if spec.name not in by_name]
        if missing:
            raise ModelFailed(self._what, f"it returned no {', '.join(missing)}, got {', '.join(by_name) or 'nothing'}")
        return {spec.name: self._array(spec, by_name[spec.name]) for spec in signature.outputs}

    def _array(self, spec: TensorSpec, tensor: Any) -> Array:
        datatype = self._datatypes.get(tensor.dtype)
        if datatype != spec.datatype:
            raise ModelFailed(self._what, f"output {spec.name!r} is {tensor.dtype}, declared as {spec.datatype}")
        return np.array(tensor.numpy(force=True), order="C")


def named_leaves(result: Any, leaf: type[Any] | tuple[type[Any], ...], name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of nested tuples, lists and mappings, each with a name; whatever else stands there is left out.

    A key names its value, a position is ``output_0``, and what is nested joins them: ``{"b": (t, u)}`` is ``b_0, b_1``.
    """
    if isinstance(result, leaf):
        yield name or "output_0", result
    elif isinstance(result, Mapping):
        for key, value in result.items():
            yield from named_leaves(value, leaf, f"{name}_{key}" if name else str(key))
    elif isinstance(result, tuple | list):
        for place, value in enumerate(result):
            yield from named_leaves(value, leaf, f"{name or 'output'}_{place}")
