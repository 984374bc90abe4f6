"""Real models in PyTorch: trained on the digits, saved in each format, and asked."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import weakref
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch_files import Cast, Net, export
from torch_scripts import TwoMethods

from pipeline.errors import InvalidArtefact, InvalidSettings, LoadFailed, MissingExtra, ModelFailed
from pipeline.registry.servable import ServableId
from pipeline.servables.torch import TorchAdapter, archive
from pipeline.servables.torch.datatypes import DATATYPES
from pipeline.servables.torch.runtime import default_threads
from pipeline.tensors import DTYPES

TENSORS = {
    "inputs": {"input": {"datatype": "FP32", "shape": [-1, 64]}},
    "outputs": {"digit": {"datatype": "FP32", "shape": [-1, 10]}},
}
OPTIONS = {
    "model.pt2": {},
    "model.ts": TENSORS,
    "model.pth": {"module": "torch_files:Net", **TENSORS},
    "model.safetensors": {"module": "torch_files:Net", **TENSORS},
}


@pytest.fixture(scope="module")
def digits():
    """A network that has learnt the digits, and the images."""
    bunch = load_digits()
    images, labels = bunch.data.astype("f4") / 16, torch.from_numpy(bunch.target)
    torch.manual_seed(0)
    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), 0.02)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(torch.from_numpy(images)), labels).backward()
        optimizer.step()
    assert (net(torch.from_numpy(images)).argmax(1) == labels).float().mean() > 0.9
    return net.eval(), images


@pytest.fixture(scope="module")
def saved(digits, tmp_path_factory):
    """The folder of a version, by the name of its file."""
    folder = tmp_path_factory.mktemp("digits")
    paths = {name: folder / name / name for name in OPTIONS}
    for path in paths.values():
        path.parent.mkdir()
    export(digits[0], [torch.ones(2, 64)], paths["model.pt2"])
    torch.jit.save(torch.jit.script(digits[0]), paths["model.ts"])
    torch.save(digits[0].state_dict(), paths["model.pth"])
    save_file(digits[0].state_dict(), paths["model.safetensors"])
    return {name: path.parent for name, path in paths.items()}


def only(outputs):
    [array] = outputs.values()
    return array


@pytest.mark.parametrize("name", OPTIONS)
def test_each_format_answers_bit_for_bit_what_pytorch_does(name, saved, digits, load):
    net, images = digits
    servable = load(TorchAdapter(), saved[name], **OPTIONS[name])
    for rows in (1, 7, 256):
        with torch.inference_mode():
            expected = net(torch.from_numpy(images[:rows])).numpy()
        np.testing.assert_array_equal(only(servable.predict("", {"input": images[:rows]})), expected)


@pytest.mark.parametrize("name", OPTIONS)
def test_each_format_says_what_computes_it(name, saved, load):
    description = load(TorchAdapter(), saved[name], **OPTIONS[name], threads=2).description
    assert (description.framework, description.framework_version) == ("torch", torch.__version__)
    assert description.threads == 2
    assert description.notes == ()


def test_a_load_that_holds_the_gil_for_long_says_so(saved, load, monkeypatch):
    assert archive.held_note(50 << 20, "a state dict") == ()
    [note] = archive.held_note(1 << 30, "a state dict")
    assert note == "its load holds the Python lock of its process for about 0.6 s; a state dict would not"
    monkeypatch.setattr(archive, "_LONG_BYTES", 1)
    notes = {name: load(TorchAdapter(), saved[name], **OPTIONS[name]).description.notes for name in OPTIONS}
    assert {name for name in notes if "holds the Python lock" in str(notes[name])} == {"model.pt2", "model.ts"}


def test_what_would_hold_the_gil_for_long_wants_a_process(saved, monkeypatch):
    adapter = TorchAdapter()
    assert not [name for name in OPTIONS if adapter.wants_process(saved[name])]
    monkeypatch.setattr(archive, "_LONG_BYTES", 1)
    assert [name for name in OPTIONS if adapter.wants_process(saved[name])] == ["model.pt2", "model.ts"]


def test_a_package_of_any_size_wants_a_process_and_what_is_damaged_or_missing_does_not(tmp_path):
    assert TorchAdapter().wants_process(tmp_path) is False
    file = tmp_path / "model.pt2"
    with zipfile.ZipFile(file, "w") as package:
        package.writestr("model/data/aotinductor/model/a.so", b"native code")
    assert TorchAdapter().wants_process(tmp_path)
    file.write_bytes(file.read_bytes()[:-30])
    assert TorchAdapter().wants_process(tmp_path) is False


def test_the_signature_of_a_program_is_its_own(saved, load):
    signature = load(TorchAdapter(), saved["model.pt2"]).signatures["serving_default"]
    specs = [(spec.name, spec.datatype, spec.shape, spec.axes) for spec in (*signature.inputs, *signature.outputs)]
    assert specs == [
        ("input", "FP32", (-1, 64), ("batch", "")),
        ("output_0", "FP32", (-1, 10), ("batch", "")),
    ]
    assert signature.batched


class Structured(torch.nn.Module):
    def forward(self, x, y, *, scale=2, extra=None, mask):
        total = x * scale + (extra if extra is not None else 0)
        return {"sum": total, "pair": (y.reshape(y.shape[0] // 2, 2), [y.sum(), None]), "mask": {"not": ~mask}}


def test_constants_keywords_and_nested_outputs_of_a_program_are_kept(tmp_path, load):
    length = torch.export.Dim("length")
    inputs = (torch.ones(2, 3), torch.ones(4, dtype=torch.int64))
    keywords = {"scale": 3, "extra": None, "mask": torch.tensor([True, False])}
    shapes = {"x": None, "y": {0: 2 * length}, "scale": None, "extra": None, "mask": None}
    program = torch.export.export(Structured(), inputs, keywords, dynamic_shapes=shapes)
    torch.export.save(program, tmp_path / "model.pt2")
    servable = load(TorchAdapter(), tmp_path)
    signature = servable.signatures["serving_default"]
    assert not signature.batched
    assert [(spec.name, spec.shape) for spec in signature.inputs] == [("x", (2, 3)), ("y", (-1,)), ("mask", (2,))]
    assert [spec.name for spec in signature.outputs] == ["sum", "pair_0", "pair_1_0", "mask_not"]
    assert [spec.shape for spec in signature.outputs] == [(2, 3), (-1, 2), (), (2,)]
    given = {"x": np.ones((2, 3), "f4"), "y": np.arange(6), "mask": np.array([False, True])}
    outputs = servable.predict("", given)
    np.testing.assert_array_equal(outputs["sum"], np.full((2, 3), 3, "f4"))
    np.testing.assert_array_equal(outputs["pair_0"], np.arange(6).reshape(3, 2))
    assert outputs["pair_1_0"] == 15
    np.testing.assert_array_equal(outputs["mask_not"], [True, False])
    with pytest.raises(ModelFailed, match="Guard failed"):
        servable.predict("", {**given, "y": np.arange(5)})


class Modes(torch.nn.Module):
    def forward(self, x):
        with torch.no_grad():
            y = x * 2
        with torch.autocast("cpu", enabled=False):
            y = y @ y.mT
        return torch.cond(y.sum() > 0, lambda y: y + 1, lambda y: y - 1, (y,)).reshape(-1)


def test_modes_conditions_and_sizes_that_are_computed_pass_the_checks(tmp_path, load):
    shapes = ({0: torch.export.Dim("rows", min=3, max=99)},)
    torch.export.save(torch.export.export(Modes(), (torch.ones(4, 3),), dynamic_shapes=shapes), tmp_path / "model.pt2")
    servable = load(TorchAdapter(), tmp_path)
    x = torch.randn(5, 3)
    np.testing.assert_allclose(only(servable.predict("", {"x": x.numpy()})), Modes()(x).numpy(), rtol=1e-5)


@pytest.mark.parametrize(("name", "datatype"), DATATYPES.items())
def test_every_datatype_goes_in_and_comes_out(name, datatype, tmp_path, load):
    dtype = getattr(torch, name.removeprefix("torch."))
    export(Cast(dtype), [torch.zeros(2, 2).to(dtype)], tmp_path / "model.pt2")
    servable = load(TorchAdapter(), tmp_path)
    assert servable.signatures["serving_default"].inputs[0].datatype == datatype
    array = np.array([[0, 1], [1, 0]], DTYPES[datatype])
    result = only(servable.predict("", {"x": array}))
    assert result.dtype == array.dtype
    np.testing.assert_array_equal(result, array)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.complex64])
def test_a_dtype_that_the_protocol_lacks_is_refused(dtype, tmp_path, load):
    export(Cast(dtype), [torch.zeros(2, 2)], tmp_path / "model.pt2")
    with pytest.raises(InvalidArtefact, match=f"output_0.*{dtype}.*convert it inside"):
        load(TorchAdapter(), tmp_path)


def test_strings_are_refused_wherever_they_are_declared(tmp_path, saved, load):
    text = {"datatype": "BYTES", "shape": [-1]}
    with pytest.raises(InvalidSettings, match="no tensors of strings"):
        TorchAdapter().loader(ServableId("m", 1), tmp_path, {"inputs": {"x": text}, "outputs": {"y": text}})
    (tmp_path / "model.ts").write_bytes((saved["model.ts"] / "model.ts").read_bytes())
    sides = {side: [{"name": "x", **text}] for side in ("inputs", "outputs")}
    (tmp_path / "signature.json").write_text(json.dumps({"serving_default": sides}))
    with pytest.raises(InvalidArtefact, match="no tensors of strings"):
        load(TorchAdapter(), tmp_path)


def test_a_signature_of_torchscript_is_a_method_of_its_module(tmp_path, load):
    torch.jit.save(torch.jit.script(TwoMethods()), tmp_path / "model.pt")
    tensor = {"datatype": "FP32", "shape": [-1]}
    one = {"inputs": [{"name": "x", **tensor}], "outputs": [{"name": "y", **tensor}]}
    (tmp_path / "signature.json").write_text(json.dumps({"serving_default": one, "halved": one}))
    servable = load(TorchAdapter(), tmp_path)
    x = np.array([1, 2], "f4")
    np.testing.assert_array_equal(servable.predict("", {"x": x})["y"], [2, 4])
    np.testing.assert_array_equal(servable.predict("halved", {"x": x})["y"], [0.5, 1])
    (tmp_path / "signature.json").write_text(json.dumps({"missing": one}))
    with pytest.raises(InvalidArtefact, match="no method 'missing'"):
        load(TorchAdapter(), tmp_path)


class Writes(torch.nn.Module):
    """Writes to its input, and returns what it keeps."""

    def __init__(self):
        super().__init__()
        self.register_buffer("kept", torch.zeros(2))

    def forward(self, x):
        x.add_(1)
        self.kept.add_(x[0])
        return self.kept, x


def test_a_model_may_write_to_its_inputs_and_return_what_it_keeps(tmp_path, load):
    torch.jit.save(torch.jit.trace(Writes(), torch.zeros(1, 2)), tmp_path / "model.ts")
    kept, x = {"datatype": "FP32", "shape": [2]}, {"datatype": "FP32", "shape": [-1, 2]}
    declared = {"inputs": {"x": x}, "outputs": {"kept": kept, "x": x}, "batched": False}
    servable = load(TorchAdapter(), tmp_path, **declared)
    array = np.zeros((1, 2), "f4")
    first = servable.predict("", {"x": array})["kept"]
    before = first.copy()
    servable.predict("", {"x": array})
    np.testing.assert_array_equal(first, before)
    np.testing.assert_array_equal(array, np.zeros((1, 2)))


def test_what_a_model_returns_is_held_against_its_declaration(saved, digits, load):
    wrong = {**TENSORS, "outputs": {"digit": {"datatype": "FP64", "shape": [-1, 10]}}}
    with pytest.raises(ModelFailed, match=r"'digit' is torch\.float32, declared as FP64"):
        load(TorchAdapter(), saved["model.ts"], **wrong).predict("", {"input": digits[1][:1]})
    more = {**TENSORS, "outputs": {name: {"datatype": "FP32", "shape": [-1, 10]} for name in "ab"}}
    with pytest.raises(ModelFailed, match="returned 1 tensors, declared are 2"):
        load(TorchAdapter(), saved["model.ts"], **more).predict("", {"input": digits[1][:1]})


def test_an_input_that_is_no_argument_is_refused_with_those_that_are(saved, load):
    wrong = {**TENSORS, "inputs": {"image": TENSORS["inputs"]["input"]}}
    for name in ("model.ts", "model.pth"):
        with pytest.raises(InvalidArtefact, match="input image is no argument of the module, those are input"):
            load(TorchAdapter(), saved[name], **{**OPTIONS[name], **wrong})


def test_each_prediction_runs_with_the_threads_of_its_model(saved, digits, load):
    """On threads that have run another model, and on new ones."""
    one, two = (load(TorchAdapter(), saved["model.pth"], **OPTIONS["model.pth"], threads=n) for n in (1, 2))
    free = load(TorchAdapter(), saved["model.pt2"])

    def used(servable):
        servable.predict("", {"input": digits[1][:1]})
        return torch.get_num_threads()

    for order in ((one, 1), (two, 2), (one, 1), (free, default_threads()), (two, 2)):
        with ThreadPoolExecutor(1) as fresh:
            assert fresh.submit(used, order[0]).result() == order[1]
        assert used(order[0]) == order[1]


@pytest.mark.parametrize("name", OPTIONS)
def test_the_weights_are_freed_with_the_unload_and_not_with_the_next_collection(name, saved, digits):
    loader = TorchAdapter().loader(ServableId("m", 1), saved[name], OPTIONS[name])
    servable = loader.load()
    servable.predict("", {"input": digits[1][:1]})
    [call] = servable._model.calls.values()
    if name == "model.pt2":
        [module] = [cell.cell_contents for cell in call.__closure__ if isinstance(cell.cell_contents, torch.nn.Module)]
        weights = [*module.parameters()]
        assert sum(weight.nbytes for weight in weights) > 8000
        left = lambda: sum(weight.nbytes for weight in weights)  # noqa: E731  # as its twin below
    else:
        [module] = call.args
        left = weakref.ref(module)
    del call, module, servable
    loader.unload()
    assert not left()


def test_predictions_run_beside_each_other(tmp_path, load):
    """The GIL is released: while one computes, another thread of Python goes on."""
    export(torch.nn.Linear(2048, 2048), [torch.ones(2, 2048)], tmp_path / "model.pt2")
    servable = load(TorchAdapter(), tmp_path)
    rows, done, ticks = np.ones((2048, 2048), "f4"), threading.Event(), []

    def tick():
        while not done.is_set():
            ticks.append(0)

    ticking = threading.Thread(target=tick)
    ticking.start()
    try:
        before = len(ticks)
        servable.predict("", {"input": rows})
        assert len(ticks) - before > 1000
    finally:
        done.set()
        ticking.join()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"threads": 0}, "threads is 0"),
        ({"device": "tpu"}, "device is 'tpu'"),
        ({"module": "Net"}, "package.module:Class"),
        ({"inputs": {"x": {"datatype": "FP8", "shape": []}}}, "datatype is 'FP8'"),
        ({"inputs": {"x": {"datatype": "FP32", "shape": [-1]}}}, "no outputs"),
        ({**TENSORS, "inputs": {"x": {"datatype": "FP32", "shape": [3]}}}, "expected -1 first"),
        ({"treads": 1}, "treads"),
    ],
)
def test_wrong_options_are_refused(options, reason, tmp_path):
    with pytest.raises(InvalidSettings, match=reason):
        TorchAdapter().loader(ServableId("m", 1), tmp_path, options)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("model.ts", {}, "tells no signature"),
        ("model.pth", TENSORS, "name their module"),
        ("model.pth", {**TENSORS, "module": "torch_files:Net", "arguments": {"hidden": 5}}, "size mismatch"),
        ("model.pt2", {"batched": True, "device": "cuda:7"}, "device is cuda:7"),
        ("model.pth", {**TENSORS, "module": "torch_files:Missing"}, "has no attribute 'Missing'"),
        ("model.pth", {**TENSORS, "module": "torch_files:Touch", "arguments": {"path": ""}}, "made a Touch"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_reason(name, options, reason, saved, load):
    with pytest.raises(LoadFailed, match=reason):
        load(TorchAdapter(), saved[name], **options)


def test_one_model_file_is_taken_and_the_one_called_model_comes_first(tmp_path):
    adapter = TorchAdapter()
    (tmp_path / "a.pth").touch()
    assert adapter.detect(tmp_path)
    (tmp_path / "b.pth").touch()
    assert not adapter.detect(tmp_path)
    (tmp_path / "model.pt2").touch()
    assert adapter.detect(tmp_path)
    (tmp_path / "model.ts").touch()
    assert not adapter.detect(tmp_path)


def test_a_missing_pytorch_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtra, match=r"penstock-serving\[torch\]"):
        TorchAdapter().loader(ServableId("m", 1), tmp_path, {}).load()


SWAPS = """
import sys
from pathlib import Path
from pipeline.registry.servable import ServableId
from pipeline.servables.torch import TorchAdapter
from tests.unit.servables.resident import resident_bytes

for swap in range(30):
    loader = TorchAdapter().loader(ServableId("m", swap), Path(sys.argv[1]), {})
    loader.load()
    loader.unload()
    if swap in (4, 29):
        print(resident_bytes())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_swaps_leave_no_memory_behind(tmp_path):
    """Four of 4 MiB: what thirty loads would keep is far beyond the 5 % that are allowed."""
    module = torch.nn.Sequential(*[torch.nn.Linear(1024, 1024) for _ in range(4)])
    export(module, [torch.ones(2, 1024)], tmp_path / "model.pt2")
    done = subprocess.run([sys.executable, "-c", SWAPS, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    fifth, last = map(int, done.stdout.split())
    assert last < fifth * 1.05
