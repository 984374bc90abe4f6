"""Each format of the kind ``torch`` keeps the contract."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from pipeline.errors import InvalidArtefact, ModelFailed
from pipeline.registry.servable import ServableId
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


@pytest.mark.slow
@pytest.mark.timeout(600)  # a C++ compiler takes minutes where it has a part of a core
class TestPackage(TorchContract):
    """Made by a C++ compiler, which this machine may lack; whoever sets CI is told so by a failure."""

    file = "model.pt2"
    options: ClassVar = {"threads": 1, "allow_native_code": True, **TENSORS}

    @pytest.fixture(scope="class", autouse=True)
    def package(self, tmp_path_factory):
        if shutil.which("g++") is None:
            give_up = pytest.fail if os.environ.get("CI") else pytest.skip
            give_up("there is no g++, which makes an AOTInductor package")
        batch = torch.export.Dim("batch", min=1)
        program = torch.export.export(module(), (torch.ones(2, 3),), dynamic_shapes=({0: batch},))
        path = tmp_path_factory.mktemp("package") / "model.pt2"
        quick = {"aot_inductor.compile_wrapper_opt_level": "O0"}
        # PyTorch would leave 280 MB of compiled headers in the machine's folder for what is temporary.
        with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
            patch.setenv("TORCHINDUCTOR_CACHE_DIR", folder)
            torch._inductor.aoti_compile_and_package(program, package_path=str(path), inductor_configs=quick)
        TestPackage.content = path.read_bytes()

    def test_it_answers_what_pytorch_does_and_says_that_it_is_native_code(self, tmp_path):
        with self._loaded(self.version(tmp_path)) as servable:
            assert "allow_native_code" in servable.description.notes[0]
            rows = np.random.default_rng(1).normal(size=(5, 3)).astype("f4")
            expected = module()(torch.from_numpy(rows)).detach().numpy()
            answer = servable.predict("", {"input": rows})["output_0"]
            np.testing.assert_allclose(answer, expected, rtol=1e-5, atol=1e-6)

    def test_inputs_that_it_was_not_compiled_for_fail_and_do_not_read_beyond_them(self, tmp_path):
        with self._loaded(self.version(tmp_path)) as servable, pytest.raises(ModelFailed):
            servable.predict("", {"input": np.ones((2, 2), "f4")})

    def test_it_is_loaded_in_a_process_of_its_own_unless_the_settings_say_otherwise(self, tmp_path):
        assert self._make_adapter().wants_process(self.version(tmp_path))

    def test_it_is_refused_unless_allowed_by_name(self, tmp_path):
        loader = self._make_adapter().loader(ServableId("m", 1), self.version(tmp_path), TENSORS)
        with pytest.raises(InvalidArtefact, match="allow_native_code"):
            loader.load()

    def version(self, folder):
        self.write_version(folder / "1")
        return folder / "1"


del TorchContract
