"""Files that would run code in the worker, or fill it: each does so in PyTorch, and none does here."""

from __future__ import annotations

import contextlib
import json
import pickle
import warnings
import zipfile

import pytest
import torch
from torch_files import Net, Touch, export, in_program, rewritten, saved
from torch_scripts import Writes, WritesWhenLoaded

from pipeline.errors import InvalidArtefact
from pipeline.servables.torch import TorchAdapter

SIGNATURE = {
    "inputs": {"input": {"datatype": "FP32", "shape": [-1, 64]}},
    "outputs": {"y": {"datatype": "FP32", "shape": [-1, 10]}},
}
DICT = {"module": "torch_files:Net", **SIGNATURE}


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    return export(Net(), [torch.ones(2, 64)], tmp_path_factory.mktemp("program") / "model.pt2")


def unpickled_sample(bomb):
    return {"data/sample_inputs/model.pt": saved(Touch(bomb))}


def unpickled_weight(bomb):
    def with_pickle(content):
        config = json.loads(content)
        config["config"]["0.bias"]["use_pickle"] = True
        return json.dumps(config).encode()

    return {
        "data/weights/model_weights_config.json": with_pickle,
        "data/weights/weight_1": saved(Touch(bomb)),
    }


def unpickled_constant(bomb):
    entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
    return {
        "data/constants/model_constants_config.json": json.dumps({"config": {"c": entry}}).encode(),
        "data/constants/opaque_obj_0": pickle.dumps(Touch(bomb)),
    }


def unpickled_legacy_weights(bomb):
    return {"data/weights/model.pt": saved(Touch(bomb))}


def evaluated_size(bomb):
    def change(program):
        for tensor in program["graph_module"]["graph"]["tensor_values"].values():
            for axis in tensor["sizes"]:
                if "as_expr" in axis:
                    symbol = axis["as_expr"]["expr_str"]
                    axis["as_expr"]["expr_str"] = f"__import__('os').mkdir({str(bomb)!r}) or {symbol}"

    return in_program(change)


def evaluated_guard(bomb):
    def change(program):
        program["guards_code"] = [f"not __import__('os').mkdir({str(bomb)!r})"]

    return in_program(change)


def called_function(bomb):
    def change(program):
        node = {
            "target": "torch.os.mkdir",
            "inputs": [{"name": "", "arg": {"as_string": str(bomb)}, "kind": 1}],
            "outputs": [{"as_tensor": {"name": "made"}}],
            "metadata": {},
            "is_hop_single_tensor_return": None,
            "name": "made",
        }
        graph = program["graph_module"]["graph"]
        graph["tensor_values"]["made"] = graph["tensor_values"]["p_0_bias"]
        graph["nodes"].insert(0, node)

    return in_program(change)


def opened_file(bomb):
    def change(program):
        graph = program["graph_module"]["graph"]
        arguments = [{"as_string": str(bomb)}, {"as_bool": True}, {"as_int": 4}]
        node = {
            "target": "torch.ops.aten.from_file.default",
            "inputs": [
                {"name": name, "arg": argument, "kind": 1}
                for name, argument in zip(("filename", "shared", "size"), arguments, strict=True)
            ],
            "outputs": [{"as_tensor": {"name": "linear_9"}}],
            "metadata": {},
            "is_hop_single_tensor_return": None,
            "name": "linear_9",
        }
        graph["tensor_values"]["linear_9"] = graph["tensor_values"]["p_0_bias"]
        graph["nodes"].insert(0, node)

    return in_program(change)


def imported_class(bomb):
    (bomb.parent / "bomb_module.py").write_text(f"import os; os.mkdir({str(bomb)!r})")
    context = {"default_factory_module": "bomb_module", "default_factory_name": "x", "dict_context": []}
    tree = [1, {"type": "collections.defaultdict", "context": context, "children_spec": []}]

    def change(program):
        program["graph_module"]["module_call_graph"][0]["signature"]["out_spec"] = json.dumps(tree)

    return in_program(change)


ATTACKS = [
    unpickled_sample,
    unpickled_weight,
    unpickled_constant,
    unpickled_legacy_weights,
    evaluated_size,
    evaluated_guard,
    opened_file,
    imported_class,
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_program_that_would_run_code_is_refused_and_runs_none(attack, program, tmp_path, load, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    bomb = tmp_path / "bomb"
    version = tmp_path / "1"
    version.mkdir()
    file = rewritten(program, version / "model.pt2", attack(bomb))
    with pytest.raises(InvalidArtefact, match="allow_pickle"):
        load(TorchAdapter(), version)
    assert not bomb.exists()
    with contextlib.suppress(Exception):  # what it does before it fails is what counts
        torch.export.load(file).module()(torch.ones(2, 64))
    assert bomb.exists(), "PyTorch itself does no harm with this file: the test shows nothing"


def test_a_program_that_calls_a_function_of_python_is_refused(program, tmp_path, load):
    """PyTorch refuses this one too."""
    rewritten(program, tmp_path / "model.pt2", called_function(tmp_path / "bomb"))
    with pytest.raises(InvalidArtefact, match=r"target is 'torch\.os\.mkdir'"):
        load(TorchAdapter(), tmp_path)


def test_a_name_that_would_become_code_is_refused(program, tmp_path, load):
    def change(content):
        return content.replace(b'"relu"', b'"relu = open(9)"')

    rewritten(program, tmp_path / "model.pt2", {"models/model.json": change})
    with pytest.raises(InvalidArtefact, match="no plain export writes"):
        load(TorchAdapter(), tmp_path)


@pytest.mark.parametrize("file", ["model.pth", "model.pt"])
def test_a_pickle_bomb_is_refused_unless_allowed_by_name(file, tmp_path, load):
    bomb = tmp_path / "bomb"
    torch.save({"0.weight": Touch(bomb)}, tmp_path / file)
    with pytest.raises(InvalidArtefact, match=r"pickle of more than tensors .*mkdir.*allow_pickle"):
        load(TorchAdapter(), tmp_path, **DICT)
    assert not bomb.exists()
    with pytest.raises(InvalidArtefact, match=r"not those of|expected a state dict"):
        load(TorchAdapter(), tmp_path, **DICT, allow_pickle=True)
    assert bomb.exists()


def test_what_was_allowed_by_name_is_told(program, tmp_path, load):
    torch.save(Net(), tmp_path / "model.pt")
    servable = load(TorchAdapter(), tmp_path, **SIGNATURE, allow_pickle=True)
    assert "allow_pickle" in servable.description.notes[0]
    assert "allow_pickle" in load(TorchAdapter(), program.parent, allow_pickle=True).description.notes[0]
    assert load(TorchAdapter(), program.parent).description.notes == ()


@pytest.mark.parametrize("made", [Writes, WritesWhenLoaded])
def test_torchscript_that_writes_files_is_refused_and_writes_none(made, tmp_path, load):
    bomb = tmp_path / "bomb"
    torch.jit.save(torch.jit.script(made(bomb)), tmp_path / "model.ts")
    with pytest.raises(InvalidArtefact, match="uses save, which reads or writes files"):
        load(TorchAdapter(), tmp_path, **SIGNATURE)
    assert not bomb.exists()
    module = torch.jit.load(str(tmp_path / "model.ts"))
    if not bomb.exists():
        module(torch.ones(1, 64))
    assert bomb.exists(), "PyTorch itself does no harm with this file: the test shows nothing"


def test_torchscript_with_operators_of_another_library_is_refused(tmp_path, load):
    torch.jit.save(torch.jit.script(Net()), tmp_path / "plain.ts")
    record = "code/__torch__/torch/nn/modules/activation.py"

    def change(content):
        return content.replace(b"torch.relu(input)", b"ops.other.relu(input)").replace(
            b"torch.nn.functional.relu", b"ops.other.relu"
        )

    names = [name for name in zipfile.ZipFile(tmp_path / "plain.ts").namelist() if name.endswith(".py")]
    changes = {name.partition("/")[2]: change for name in names}
    assert record in changes
    changes[record] = lambda content: content + b"\n#ops.other.relu\n"
    rewritten(tmp_path / "plain.ts", tmp_path / "model.ts", changes)
    (tmp_path / "plain.ts").unlink()
    with pytest.raises(InvalidArtefact, match=r"operators: \[other\]"):
        load(TorchAdapter(), tmp_path, **SIGNATURE)


def test_native_code_is_refused_unless_allowed_by_name(program, tmp_path, load):
    rewritten(program, tmp_path / "model.pt2", {"data/aotinductor/model/x.so": b"\x7fELF"})
    with pytest.raises(InvalidArtefact, match="allow_native_code"):
        load(TorchAdapter(), tmp_path, **SIGNATURE, allow_pickle=True)


@pytest.mark.parametrize("file", ["model.pt2", "model.ts", "model.pth"])
def test_a_zip_bomb_is_refused_before_it_is_expanded(file, tmp_path, load):
    with zipfile.ZipFile(tmp_path / file, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("m/constants.pkl", b"")
        bomb.writestr("m/models/model.json", bytes(200 << 20))
    assert (tmp_path / file).stat().st_size < 1 << 20
    with pytest.raises(InvalidArtefact, match="expands to 2097"):
        load(TorchAdapter(), tmp_path, **DICT)


@pytest.mark.parametrize("member", ["m/../../evil", "/m/x", "n/x", "m/models/model.json", "m\\x"])
def test_a_member_that_leads_out_or_stands_twice_is_refused(member, program, tmp_path, load):
    with zipfile.ZipFile(tmp_path / "model.pt2", "w") as archive, warnings.catch_warnings(action="ignore"):
        archive.writestr("m/models/model.json", b"{}")
        archive.writestr(member, b"x")
    with pytest.raises(InvalidArtefact, match=r"that PyTorch does not write|folders|leads out of it|one name"):
        load(TorchAdapter(), tmp_path)


def test_a_flipped_bit_of_the_program_is_found_by_its_checksum(program, tmp_path, load):
    content = bytearray(program.read_bytes())
    place = content.index(b'"torch.ops.aten.relu.default"')
    content[place + 5] ^= 1
    (tmp_path / "model.pt2").write_bytes(content)
    with pytest.raises(InvalidArtefact, match="damaged: Bad CRC-32"):
        load(TorchAdapter(), tmp_path)


def test_a_program_whose_tensors_are_larger_than_their_bytes_is_refused(program, tmp_path, load):
    rewritten(program, tmp_path / "model.pt2", {"data/weights/weight_0": b""})
    with pytest.raises(InvalidArtefact, match="has 2048 numbers, weight_0 has no bytes"):
        load(TorchAdapter(), tmp_path)
