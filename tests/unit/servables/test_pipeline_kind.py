"""Steps that become one servable: what fits together, who may set options, and what is left of a load that fails."""

from __future__ import annotations

import gc
import weakref

import cv2
import numpy as np
import openvino as ov
import pytest

from pipeline.demo import digits
from pipeline.errors import InvalidArtefact, InvalidInput, InvalidSettings, LoadFailed, ModelFailed, PathRefused
from pipeline.registry.servable import Description, ServableId, Signature, TensorSpec
from pipeline.registry.simple_loader import SimpleAdapter
from pipeline.servables.kinds import load_adapter
from pipeline.servables.pipeline import PipelineAdapter
from tests.unit.servables.resident import resident_bytes

ID = ServableId("m", 3)
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


class Fake:
    """A servable that keeps the contract: its signature is given, its outputs are filled with ones."""

    def __init__(self, signature, answer=None, description=None):
        self.signatures = {"serving_default": signature}
        self.description = description
        self._answer = answer
        self.calls = []

    def predict(self, name, inputs):
        self.calls.append(list(inputs))
        if self._answer is not None:
            return self._answer(inputs)
        rows = len(next(iter(inputs.values())))
        [signature] = self.signatures.values()
        return {
            spec.name: np.ones([rows, *(axis if axis > 0 else 2 for axis in spec.shape[1:])], np.float32)
            for spec in signature.outputs
        }


def fp32(name, *shape, axes=()):
    return TensorSpec(name, "FP32", shape, axes)


def signature(inputs, outputs, *, batched=True):
    return Signature(tuple(inputs), tuple(outputs), batched)


A = signature([fp32("x", -1, 4)], [fp32("y", -1, 3)])
B = signature([fp32("x", -1, 3)], [fp32("y", -1, 2)])


class Fakes:
    """The adapters of kinds ``a``, ``b`` and so on, each of one servable, and what was done with them."""

    def __init__(self, *servables, estimates=()):
        self.servables = dict(zip("abcdef", servables, strict=False))
        self.estimates = dict(zip("abcdef", estimates, strict=False))
        self.events = []

    def __call__(self, kind):
        if kind not in self.servables:
            return load_adapter(kind)
        return SimpleAdapter(
            kind,
            "nothing",
            lambda path: False,
            lambda name, path, options: self._create(kind),
            estimate_bytes=lambda path: self.estimates.get(kind),
            destroy=lambda servable: self._destroy(kind, servable),
        )

    def _create(self, kind):
        self.events.append(f"load {kind}")
        servable = self.servables[kind]
        if isinstance(servable, Exception):
            raise servable
        return servable

    def _destroy(self, kind, servable):
        self.events.append(f"unload {kind}")
        if servable.description and servable.description.notes == ("fails to unload",):
            raise RuntimeError(kind)


@pytest.fixture
def loader(tmp_path):
    """The loader of a pipeline.yaml."""

    def loader(text, find=load_adapter, **options):
        (tmp_path / "pipeline.yaml").write_text(text)
        return PipelineAdapter(find).loader(ID, tmp_path, options)

    return loader


TWO = "steps: [{kind: a, outputs: {y: z}}, {kind: b, inputs: {x: z}}]"


# -- the digits -------------------------------------------------------------------------------------------------------


def test_digits_as_png_are_answered_as_by_calling_each_step_by_hand(tmp_path, load):
    part, _ = digits.split()
    model = digits.train_linear(part)
    version = tmp_path / "1"
    digits.export(digits.layers_of(model), version / "model")
    (version / "pipeline.yaml").write_text(
        "steps:\n- {kind: image}\n- {kind: python, name: flat}\n"
        f"- {{kind: openvino, path: model, inputs: {{{digits.INPUT}: row}}, outputs: {{{digits.OUTPUT}: values}}}}\n"
        "- {kind: top-k}\noutputs: [classes, scores, labels]\n"
    )
    (version / "image.yaml").write_text("width: 8\nheight: 8\ncolour: GRAY\nresize: exact\nscale: 255\n")
    (version / "top-k.yaml").write_text("k: 3\n")
    (version / "labels.txt").write_text("\n".join(NAMES))
    options = {"steps": {"flat": {"class": f"{__name__}:Flat"}, "openvino": {"precision": "f32"}}}
    images = (part.images[:40] * 255).round().astype(np.uint8).reshape(-1, 8, 8)
    pngs = np.empty(40, object)
    pngs[:] = [cv2.imencode(".png", image)[1].tobytes() for image in images]
    got = load(PipelineAdapter(), version, **options).predict("serving_default", {"image": pngs})

    network = ov.Core().compile_model(version / "model/model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    rows = images.reshape(40, 64).astype(np.float32) / np.float32(255)
    probabilities = network(rows)[digits.OUTPUT]
    best = np.argsort(-probabilities, axis=1)[:, :3]
    np.testing.assert_array_equal(got["classes"], best)
    np.testing.assert_array_equal(got["scores"], np.take_along_axis(probabilities, best, axis=1))
    assert [label.decode() for label in got["labels"][:, 0]] == [NAMES[place] for place in best[:, 0]]
    assert (got["classes"][:, 0] == part.labels[:40]).mean() > 0.9
    with pytest.raises(InvalidInput, match="m:image/1: tensor 'image', row 1: its first bytes"):
        load(PipelineAdapter(), version, **options).predict("", {"image": np.array([pngs[0], b"no"], object)})


class Flat:
    inputs = {"pixels": ("FP32", [-1, 1, 8, 8])}  # noqa: RUF012  # what users write
    outputs = {"row": ("FP32", [-1, 64])}  # noqa: RUF012  # what users write

    def predict(self, inputs):
        return {"row": inputs["pixels"].reshape(len(inputs["pixels"]), 64)}


# -- the whole's signature --------------------------------------------------------------------------------------------


def test_the_whole_takes_what_no_step_makes_and_answers_what_the_last_one_makes(loader):
    servable = loader(TWO, Fakes(Fake(A), Fake(B))).load()
    assert servable.signatures == {"serving_default": signature([fp32("x", -1, 4)], [fp32("y", -1, 2)])}
    assert list(servable.predict("", {"x": np.zeros((5, 4), np.float32)})) == ["y"]


def test_steps_are_a_graph_by_names_and_outputs_may_be_any_tensor_that_is_made(loader):
    joins = Fake(signature([fp32("u", -1, 3), fp32("v", -1, 4)], [fp32("sum", -1, 1)]))
    text = """
inputs: [x]
steps:
- {kind: a}
- {kind: b, name: other, inputs: {x: y}, outputs: {y: z}}
- {kind: c, inputs: {u: y, v: x}}
outputs: [sum, z]
"""
    servable = loader(text, Fakes(Fake(A), Fake(B), joins)).load()
    [whole] = servable.signatures.values()
    assert [spec.name for spec in whole.inputs] == ["x"]
    assert [spec.name for spec in whole.outputs] == ["sum", "z"]
    outputs = servable.predict("", {"x": np.zeros((5, 4), np.float32)})
    assert {name: array.shape for name, array in outputs.items()} == {"sum": (5, 1), "z": (5, 2)}
    assert joins.calls == [["u", "v"]]


def test_an_input_of_two_steps_is_known_as_well_as_both_know_it(loader):
    one, other = (Fake(signature([fp32("x", *shape)], [fp32("y", -1, 1)])) for shape in ((-1, -1, 5), (-1, 3, -1)))
    [whole] = loader("steps: [{kind: a}, {kind: b, outputs: {y: z}}]", Fakes(one, other)).load().signatures.values()
    assert whole.inputs == (fp32("x", -1, 3, 5),)


def test_it_is_batched_only_if_every_step_is(loader):
    alone = Fake(
        signature([fp32("x", -1, 3)], [fp32("y", 2)], batched=False), lambda inputs: {"y": np.ones(2, np.float32)}
    )
    servable = loader(TWO, Fakes(Fake(A), alone)).load()
    [whole] = servable.signatures.values()
    assert not whole.batched
    assert servable.predict("", {"x": np.zeros((5, 4), np.float32)})["y"].shape == (2,)
    with pytest.raises(ModelFailed, match="m:a/3: it takes one row or more"):
        servable.predict("", {"x": np.zeros((0, 4), np.float32)})


def test_it_wants_a_process_where_one_of_its_steps_does(tmp_path):
    def find(kind):
        return SimpleAdapter(kind, "", lambda path: False, Fake, wants_process=lambda path: path.name == "large")

    adapter = PipelineAdapter(find)
    assert adapter.wants_process(tmp_path) is False
    (tmp_path / "pipeline.yaml").write_text(TWO)
    assert adapter.wants_process(tmp_path) is False
    (tmp_path / "pipeline.yaml").write_text("steps: [{kind: a, outputs: {y: z}}, {kind: b, path: large}]")
    assert adapter.wants_process(tmp_path) is True
    (tmp_path / "pipeline.yaml").write_text("steps: [{kind: b, path: ../large}]")
    assert adapter.wants_process(tmp_path) is False


def test_names_of_axes_are_kept_and_those_that_two_steps_share_by_chance_are_told_apart(loader):
    one = Fake(signature([fp32("x", -1, -1, axes=("batch", "time"))], [fp32("z", -1, 4)]))
    two = Fake(signature([fp32("z", -1, 4)], [fp32("y", -1, -1, -1, axes=("batch", "time", "word"))]))
    [whole] = loader("steps: [{kind: a}, {kind: b}]", Fakes(one, two)).load().signatures.values()
    assert whole.inputs[0].axes == ("batch", "a.time")
    assert whole.outputs[0].axes == ("batch", "b.time", "word")


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        (A, signature([TensorSpec("x", "FP64", (-1, 3))], B.outputs), r"FP32 \[-1, 3\].*FP64 \[-1, 3\].*in datatype"),
        (
            A,
            signature([fp32("x", -1, 3, 1)], B.outputs),
            r"\[-1, 3\], .*\[-1, 3, 1\]: they differ in the number of axes",
        ),
        (A, signature([fp32("x", -1, 5)], B.outputs), r"\[-1, 3\], .*\[-1, 5\]: they differ in shape"),
    ],
)
def test_steps_that_do_not_fit_fail_the_load_and_are_named_with_their_tensors(loader, first, second, reason):
    with pytest.raises(InvalidArtefact, match=r"m/3: tensor 'z' of step 'a' is .* input 'x' of step 'b' is") as caught:
        loader(TWO, Fakes(Fake(first), Fake(second))).load()
    assert caught.match(reason)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "steps: [{kind: a}, {kind: b, inputs: {x: y}}]",
            "'y' of step 'b' would be tensor 'y', which is made by step 'a'",
        ),
        ("steps: [{kind: a, outputs: {y: x}}]", "would be tensor 'x', which is what the request brings"),
        ("steps: [{kind: a, inputs: {u: v}}]", "step 'a' has no input 'u', it has 'x'"),
        ("steps: [{kind: a, outputs: {u: v}}]", "step 'a' has no output 'u', it has 'y'"),
        ("steps: [{kind: a}]\noutputs: [z]", "no step makes the output 'z'; made are 'y'"),
        ("steps: [{kind: a}]\noutputs: [x]", "no step makes the output 'x'"),
        ("steps: [{kind: a}]\noutputs: [y, y]", "declared twice"),
        ("steps: [{kind: a}]\ninputs: [z]", "need 'x' of the request, the pipeline declares 'z'"),
        ("steps: [{kind: a, signature: other}]", "step 'a' has no signature 'other', only serving_default"),
        ("steps: []", "0 steps, expected 1 to 32"),
        ("steps: [{kind: nosuch}]", "step 'nosuch': .*is not installed"),
        ("steps: [{kind: a}, {kind: a}]", "two steps are called 'a'"),
        ("steps: [{kind: a, name: a/b}]", "a name is"),
        ("steps: [{kind: pipeline}]", "is a pipeline; write its steps here"),
        ("steps: [{kind: a, option: 1}]", "unknown field `option`"),
        ("steps: 1", "Expected `array`"),
        ("", "missing required field `steps`"),
        ("steps: [&s {kind: a}, *s]", "aliases"),
    ],
)
def test_what_is_no_pipeline_is_refused_with_the_reason(loader, text, reason):
    fakes = Fakes(Fake(A), Fake(B))
    with pytest.raises(InvalidArtefact, match=reason):
        loader(text, fakes).load()
    kinds = [event.split()[1] for event in fakes.events if event.startswith("load")]
    assert [event for event in fakes.events if event.startswith("unload")] == [f"unload {k}" for k in reversed(kinds)]


# -- who may set options, and where files may be ----------------------------------------------------------------------


def test_a_version_can_set_no_option(loader, tmp_path):
    (tmp_path / "servable.py").write_text("raise SystemExit('code of the version was run')")
    with pytest.raises(InvalidArtefact, match="unknown field `options`"):
        loader("steps: [{kind: python, options: {allow_code_in_version: true}}]").load()
    with pytest.raises(PathRefused, match=r"allow_code_in_version is set in the options of m:python"):
        loader("steps: [{kind: python}]").load()


def test_the_settings_can_set_the_options_of_a_step_by_its_name(loader, tmp_path):
    (tmp_path / "servable.py").write_text(
        "import numpy as np\nclass Servable:\n    inputs = {'x': ('FP32', [-1])}\n    outputs = {'y': ('FP32', [-1])}\n"
        "    def predict(self, inputs):\n        return {'y': inputs['x'] * 2}\n"
    )
    it = loader("steps: [{kind: python, name: twice}]", steps={"twice": {"allow_code_in_version": True}})
    assert it.load().predict("", {"x": np.float32([1, 2])})["y"].tolist() == [2, 4]
    it.unload()


def test_options_for_a_step_that_is_not_there_and_options_that_are_none_fail_the_load(loader):
    with pytest.raises(InvalidArtefact, match="options for step best, its steps are top-k"):
        loader("steps: [{kind: top-k}]", steps={"best": {"k": 1}}).load()
    with pytest.raises(InvalidSettings, match="options of m:top-k"):
        loader("steps: [{kind: top-k}]", steps={"top-k": {"best": 1}}).load()


@pytest.mark.parametrize("path", ["..", "model/../..", "/etc", "link"])
def test_a_path_that_leads_out_of_the_version_is_refused(loader, tmp_path, path):
    version = tmp_path / "m"
    version.mkdir()
    (tmp_path / "outside").mkdir()
    (version / "link").symlink_to(tmp_path / "outside")
    (version / "pipeline.yaml").write_text(f"steps: [{{kind: top-k, path: {path}}}]")
    with pytest.raises(PathRefused, match=f"step 'top-k': path '{path}' leads out of the version"):
        PipelineAdapter().loader(ID, version, {"steps": {"top-k": {"k": 1}}}).load()


def test_steps_beside_their_pipeline_are_no_version_of_their_own(tmp_path):
    for name in ("image.yaml", "top-k.yaml"):
        (tmp_path / name).write_text("k: 1")
    assert load_adapter("image").detect(tmp_path)
    (tmp_path / "pipeline.yaml").write_text(TWO)
    assert [kind for kind in ("image", "pipeline", "top-k") if load_adapter(kind).detect(tmp_path)] == ["pipeline"]


# -- loading and unloading --------------------------------------------------------------------------------------------


def test_steps_are_loaded_in_order_and_unloaded_in_reverse(loader):
    fakes = Fakes(Fake(A), Fake(B))
    it = loader(TWO, fakes)
    it.load()
    it.unload()
    assert fakes.events == ["load a", "load b", "unload b", "unload a"]


@pytest.mark.parametrize("error", [LoadFailed("m:b/3", "no"), RuntimeError("no"), OSError("no")])
def test_a_load_that_fails_half_way_unloads_what_was_loaded_and_can_be_tried_again(loader, error):
    fakes = Fakes(Fake(A), error)
    it = loader(TWO, fakes)
    expected = OSError if isinstance(error, OSError) else LoadFailed
    with pytest.raises(expected, match="no"):
        it.load()
    assert fakes.events == ["load a", "load b", "unload a"]
    fakes.servables["b"] = Fake(B)
    assert it.load().predict("", {"x": np.zeros((1, 4), np.float32)})["y"].shape == (1, 2)


def test_an_error_of_no_kind_in_a_load_names_the_step(loader):
    with pytest.raises(LoadFailed, match="m:b/3: RuntimeError: no"):
        loader(TWO, Fakes(Fake(A), RuntimeError("no"))).load()


def test_a_step_that_can_not_be_unloaded_does_not_keep_the_others(loader):
    fakes = Fakes(Fake(A), Fake(B, description=Description(notes=("fails to unload",))))
    it = loader(TWO, fakes)
    it.load()
    with pytest.raises(RuntimeError, match="b"):
        it.unload()
    assert fakes.events[-2:] == ["unload b", "unload a"]


@pytest.mark.parametrize(("estimates", "whole"), [((10, 5), 15), ((0, 7), 7), ((10, None), None)])
def test_estimates_add_up_and_are_unknown_where_one_is(loader, estimates, whole):
    it = loader(TWO, Fakes(Fake(A), Fake(B), estimates=estimates))
    assert it.estimate_bytes() == whole
    it.load()
    assert it.estimate_bytes() == whole


def test_the_description_names_the_steps_with_their_frameworks_and_notes(loader):
    one = Fake(A, description=Description("torch", "2.13", threads=2, notes=("a pickle was allowed",)))
    servable = loader(TWO, Fakes(one, Fake(B, description=Description("xgboost", "3", threads=4)))).load()
    assert servable.description.notes == (
        "step a: a (torch 2.13)",
        "step a: a pickle was allowed",
        "step b: b (xgboost 3)",
    )
    assert servable.description.threads == 4


def test_thirty_swaps_leave_nothing_behind(tmp_path):
    text = "steps: [{kind: image}, {kind: python}, {kind: top-k}]"
    options = {
        "image": {"width": 8, "height": 8, "colour": "GRAY", "threads": 2},
        "python": {"class": f"{__name__}:ToValues"},
        "top-k": {"k": 2},
    }
    png = cv2.imencode(".png", np.zeros((100, 100), np.uint8))[1].tobytes()
    remains, resident = [], []
    adapter = PipelineAdapter()
    (tmp_path / "pipeline.yaml").write_text(text)
    for version in range(30):
        it = adapter.loader(ServableId("m", version), tmp_path, {"steps": options})
        servable = it.load()
        assert servable.predict("", {"image": np.array([png] * 8, object)})["classes"].shape == (8, 2)
        remains.append(weakref.ref(servable))
        del servable
        it.unload()
        if version in (4, 29):
            gc.collect()
            resident.append(resident_bytes())
    assert not [ref for ref in remains if ref() is not None]
    assert resident[1] <= resident[0] * 1.05


class ToValues:
    inputs = {"pixels": ("FP32", [-1, 1, 8, 8])}  # noqa: RUF012  # what users write
    outputs = {"values": ("FP32", [-1, 8])}  # noqa: RUF012  # what users write

    def predict(self, inputs):
        return {"values": inputs["pixels"][:, 0, 0]}


# -- a call -----------------------------------------------------------------------------------------------------------


X = {"x": np.zeros((2, 4), np.float32)}


def raising(inputs):
    raise ZeroDivisionError("by zero")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (raising, "m:a/3: ZeroDivisionError: by zero"),
        (lambda inputs: {"z": X["x"]}, "m:a/3: it returned no 'y', got z"),
        (lambda inputs: {"y": np.zeros((2, 4), np.float32)}, r"made tensor 'z' as FP32 \[2, 3\], got float32 \[2, 4\]"),
        (lambda inputs: {"y": np.zeros((3, 3), np.float32)}, r"made tensor 'z' as FP32 \[2, 3\], got float32 \[3, 3\]"),
        (lambda inputs: {"y": np.zeros((2, 3))}, r"got float64 \[2, 3\]"),
        (lambda inputs: {"y": np.float32(1)}, r"got float32 \[\]"),
    ],
)
def test_what_a_step_does_wrong_is_a_model_error_in_its_name_and_reaches_no_other_step(loader, answer, reason):
    second = Fake(B)
    with pytest.raises(ModelFailed, match=reason):
        loader(TWO, Fakes(Fake(A, answer), second)).load().predict("", X)
    assert second.calls == []


def test_a_length_that_a_step_leaves_open_is_checked_before_the_next_step(loader):
    first = Fake(signature([fp32("x", -1, 4)], [fp32("y", -1, -1)]), lambda inputs: {"y": np.ones((2, 7), np.float32)})
    second = Fake(B)
    with pytest.raises(ModelFailed, match=r"m:b/3: it takes tensor 'z' as FP32 \[2, 3\], got float32 \[2, 7\]"):
        loader(TWO, Fakes(first, second)).load().predict("", X)
    assert second.calls == []


def test_text_reaches_the_next_step_as_bytes(loader):
    words = TensorSpec("y", "BYTES", (-1,))
    first = Fake(signature([fp32("x", -1, 4)], [words]), lambda inputs: {"y": np.array(["ä", "b"])})
    seen = []
    second = Fake(
        signature([TensorSpec("x", "BYTES", (-1,))], [fp32("y", -1)]),
        lambda inputs: seen.extend(inputs["x"].tolist()) or {"y": np.ones(2, np.float32)},
    )
    loader(TWO, Fakes(first, second)).load().predict("", X)
    assert seen == ["ä".encode(), b"b"]


def test_a_tensor_is_let_go_of_after_the_last_step_that_needs_it(loader):
    made = []

    def first(inputs):
        array = np.ones((2, 3), np.float32)
        made.append(weakref.ref(array))
        return {"y": array}

    text = "steps: [{kind: a, outputs: {y: z}}, {kind: b, inputs: {x: z}}, {kind: c}]"
    third = Fake(
        signature([fp32("y", -1, 2)], [fp32("w", -1, 1)]),
        lambda inputs: {"w": np.full((2, 1), made[0]() is None, np.float32)},
    )
    outputs = loader(text, Fakes(Fake(A, first), Fake(B), third)).load().predict("", X)
    assert outputs["w"].tolist() == [[1], [1]]
