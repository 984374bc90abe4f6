"""A kind of servable that keeps the contract, and one for each way of breaking it."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from pipeline.errors import InvalidArtefact
from pipeline.registry.options import Options, check_options
from pipeline.registry.servable import ServableId, Signature, TensorSpec
from pipeline.tensors import Array

MIB = 1 << 20


class Sums:
    signatures: ClassVar = {
        "serving_default": Signature((TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("sum", "FP32", (-1,)),))
    }

    def __init__(self, offset: float) -> None:
        self.offset = np.float32(offset)

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return {"sum": inputs["x"].sum(axis=1) + self.offset}


class SumsLoader:
    servable: ClassVar[type[Sums]] = Sums

    def __init__(self, adapter: SumsAdapter, path: Path) -> None:
        self.adapter, self.path = adapter, path

    def estimate_bytes(self) -> int | None:
        return 1000

    def load(self) -> Sums:
        try:
            return self.servable(float((self.path / "sums.txt").read_text()))
        except ValueError as error:
            raise InvalidArtefact(str(self.path), str(error)) from error

    def unload(self) -> None:
        pass


class SumsAdapter:
    kind = "sums"
    looks_for = "sums.txt"
    loads: ClassVar[type[SumsLoader]] = SumsLoader

    def detect(self, path: Path) -> bool:
        return (path / "sums.txt").is_file()

    def loader(self, id: ServableId, path: Path, options: Mapping[str, Any]) -> SumsLoader:  # noqa: A002  # TF Serving's word
        check_options(id, options, Options)
        return self.loads(self, path)


def answering(servable: type[Sums]) -> type[SumsAdapter]:
    loader = type("Loader", (SumsLoader,), {"servable": servable})
    return type("Adapter", (SumsAdapter,), {"loads": loader})


def loading(loader: type[SumsLoader]) -> type[SumsAdapter]:
    return type("Adapter", (SumsAdapter,), {"loads": loader})


# -- before the load --------------------------------------------------------------------------------------------------


class DetectsAll(SumsAdapter):
    def detect(self, path):
        return True


class DetectsNothing(SumsAdapter):
    def detect(self, path):
        return False


class ReadsAll(SumsAdapter):
    def detect(self, path):
        return super().detect(path) and len((path / "sums.txt").read_bytes()) > 0


class OpensEarly(SumsAdapter):
    def loader(self, id, path, options):  # noqa: A002  # TF Serving's word
        (path / "sums.txt").read_text()
        return super().loader(id, path, options)


class ImportsEarly(SumsAdapter):
    def __init__(self):
        importlib.import_module("colorsys")


class StartsThread(SumsAdapter):
    def __init__(self):
        threading.Thread(target=threading.Event().wait, name="early", daemon=True).start()


class TakesAnyOptions(SumsAdapter):
    def loader(self, id, path, options):  # noqa: A002  # TF Serving's word
        return self.loads(self, path)


class _RaisesAnything(SumsLoader):
    def load(self):
        return self.servable(float((self.path / "sums.txt").read_text()))


class _LoadsAnything(SumsLoader):
    def load(self):
        try:
            return super().load()
        except InvalidArtefact:
            return self.servable(0)


RaisesAnything = loading(_RaisesAnything)
LoadsAnything = loading(_LoadsAnything)

# -- while it is loaded -----------------------------------------------------------------------------------------------


class _WrongDatatype(Sums):
    def predict(self, signature, inputs):
        return {"sum": super().predict(signature, inputs)["sum"].astype("f8")}


class _WrongShape(Sums):
    def predict(self, signature, inputs):
        return {"sum": super().predict(signature, inputs)["sum"][:, np.newaxis]}


class _NoOutput(Sums):
    def predict(self, signature, inputs):
        return {}


class _NoSignature(Sums):
    signatures: ClassVar = {}


class _FixedBatch(Sums):
    signatures: ClassVar = {
        "serving_default": Signature((TensorSpec("x", "FP32", (1, 2)),), (TensorSpec("sum", "FP32", (1,)),))
    }


class _MixesRows(Sums):
    def predict(self, signature, inputs):
        sums = super().predict(signature, inputs)["sum"]
        return {"sum": sums - sums.mean()}


class _MixesThreads(Sums):
    def predict(self, signature, inputs):
        self.inputs = inputs
        threading.Event().wait(0.001)  # the other threads come by
        return super().predict(signature, self.inputs)


class _Writes(Sums):
    def predict(self, signature, inputs):
        inputs["x"].setflags(write=True)
        inputs["x"] += 1
        return super().predict(signature, inputs)


class _Keeps(Sums):
    def predict(self, signature, inputs):
        self.last = inputs
        return super().predict(signature, inputs)


class _NeedsMore(Sums):
    def __init__(self, offset):
        super().__init__(offset)
        self.table = bytearray(8 * MIB)


class _RisingEstimate(SumsLoader):
    estimate = 1000

    def estimate_bytes(self):
        return self.estimate

    def load(self):
        self.estimate = 2000
        return super().load()


WrongDatatype = answering(_WrongDatatype)
WrongShape = answering(_WrongShape)
NoOutput = answering(_NoOutput)
NoSignature = answering(_NoSignature)
FixedBatch = answering(_FixedBatch)
MixesRows = answering(_MixesRows)
MixesThreads = answering(_MixesThreads)
Writes = answering(_Writes)
Keeps = answering(_Keeps)
NeedsMore = answering(_NeedsMore)
RisingEstimate = loading(_RisingEstimate)

# -- after it ---------------------------------------------------------------------------------------------------------


class _DyingLoader(SumsLoader):
    def load(self):
        try:
            return super().load()
        except InvalidArtefact:
            os._exit(3)


class _RaisingLoader(SumsLoader):
    def load(self):
        return Sums(float((self.path / "sums.txt").read_text()))


class _KeptLoader(SumsLoader):
    def load(self):
        servable = super().load()
        self.adapter.kept.append(servable)
        return servable


class KeepsServables(SumsAdapter):
    loads = _KeptLoader

    def __init__(self):
        self.kept = []


class _OnceLoader(SumsLoader):
    def load(self):
        if self.adapter.is_used:
            raise InvalidArtefact(str(self.path), "used up")
        self.adapter.is_used = True
        return super().load()


class LoadsOnce(SumsAdapter):
    loads = _OnceLoader
    is_used = False


class _TearingLoader(SumsLoader):
    def load(self):
        servable = self.adapter.last = super().load()
        return servable

    def unload(self):
        del self.adapter.last.offset


class TearsDownOthers(SumsAdapter):
    loads = _TearingLoader


DiesOfDamage = loading(_DyingLoader)
RaisesForDamage = loading(_RaisingLoader)
