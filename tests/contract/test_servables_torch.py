"""Each format of the kind ``torch`` keeps the contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import pytest
import torch

from pipeline.testing.servable_contract import ServableContract

TENSORS = {
    "inputs": {"input": {"datatype": "FP32", "shape": [-1, 3]}},
    "outputs": {"output_0": {"datatype": "FP32", "shape": [-1, 2]}},
}


def module():
    torch.manual_seed(3)
    return torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2)).eval()


@pytest.fixture(scope="module", autouse=True)
def files(tmp_path_factory):
    """One file of each format, made once; each version is a copy."""
    folder = tmp_path_factory.mktemp("torch")
    batch = torch.export.Dim("batch", min=1)
    program = torch.export.export(module(), (torch.ones(2, 3),), dynamic_shapes=({0: batch},))
    torch.export.save(program, folder / "model.pt2")
    torch.jit.save(torch.jit.script(module()), folder / "model.ts")
    torch.save(module().state_dict(), folder / "model.pth")
    from safetensors.torch import save_file

    save_file(module().state_dict(), folder / "model.safetensors")
    for test in (TestExportedProgram, TestTorchScript, TestStateDict, TestSafetensors):
        test.content = (folder / test.file).read_bytes()


class TorchContract(ServableContract):
    entry_point = "pipeline.servables.torch:TorchAdapter"
    wrong_options: ClassVar = {"threads": 0}
    frameworks: ClassVar = (*ServableContract.frameworks, "safetensors", "triton")
    damaged_versions = 200
    file: ClassVar[str]
    content: ClassVar[bytes]

    def write_version(self, path: Path) -> None:
        path.mkdir()
        (path / self.file).write_bytes(self.content)

    def write_broken_version(self, path: Path) -> None:
        path.mkdir()
        (path / self.file).write_bytes(self.content[:-100] if self.file != "model.safetensors" else self.content[:-1])


class TestExportedProgram(TorchContract):
    file = "model.pt2"
    options: ClassVar = {"threads": 1}


class TestTorchScript(TorchContract):
    file = "model.ts"
    options: ClassVar = {"threads": 1, **TENSORS}


class TestStateDict(TorchContract):
    """Its signature stands beside it."""

    file = "model.pth"
    options: ClassVar = {"module": "torch_modules:Net", "arguments": {"hidden": 4}}

    def write_version(self, path: Path) -> None:
        super().write_version(path)
        (path / "signature.json").write_text(
            json.dumps(
                {
                    "serving_default": {
                        side: [{"name": name, **tensor} for name, tensor in tensors.items()]
                        for side, tensors in TENSORS.items()
                    }
                }
            )
        )


class TestSafetensors(TorchContract):
    file = "model.safetensors"
    options: ClassVar = {"module": "torch_modules:Net", "arguments": {"hidden": 4}, **TENSORS}


del TorchContract
