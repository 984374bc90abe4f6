"""Requests of a route are batched by the settings that its stream has at that moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from connectors.memory import MemoryBroker, MemoryConnector
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.errors import NotReady
from pipeline.records import PredictRequest, PredictResult
from pipeline.registry.servable import Servable, ServableId, Signature, TensorSpec
from pipeline.servables.openvino import OpenVinoAdapter
from pipeline.serving.dispatcher import Dispatcher
from pipeline.settings import BatchingSettings, RouteSettings
from pipeline.tensors import Array, from_array
from pipeline.testing.fakes import FakeClock, manager_with
from tests.unit.serving.text_servable import TextServable, request

AVRO = AvroCodec()
PAD = BatchingSettings(variable_length="pad", mask="mask")


class Stage:
    """A memory broker, and a dispatcher of one servable whose settings may change."""

    def __init__(self, servable: Servable, settings: BatchingSettings) -> None:
        self.settings = settings
        self._broker = MemoryBroker()
        self._connector = MemoryConnector(self._broker)
        self._connector.open()
        manager = manager_with({ServableId("m", 1): servable})
        route = RouteSettings(servable="m", request_topic="q", result_topic="r")
        self._dispatcher = Dispatcher(route, manager, [AVRO], FakeClock(), self._batching_of)

    def _batching_of(self, stream: str) -> BatchingSettings:
        assert stream == "m"
        return self.settings

    def answers(self, requests: Sequence[PredictRequest]) -> list[PredictResult]:
        """Answer these in one batch."""
        for it in requests:
            self._broker.produce(AVRO.encode_request(it))
        records = self._connector.poll(1000, 10)
        answers = self._dispatcher.answer(self._dispatcher.decode(records))
        self._connector.answer(records, answers, self._dispatcher.refuse)
        return [AVRO.decode_result(answer.value) for _, answer in self._broker.results[-len(records) :]]


def codes(results: Sequence[PredictResult]) -> list[str | None]:
    return [result.error and result.error.code for result in results]


def outputs(result: PredictResult) -> dict[str, Any]:
    return {tensor.name: tensor.array().tolist() for tensor in result.outputs}


def test_texts_of_any_length_are_one_call_and_each_gets_its_own_length_back() -> None:
    servable = TextServable()
    stage = Stage(servable, PAD)
    results = stage.answers([request("a", [[1, 2, 3]]), request("b", [[4], [5]]), request("c", [[6, 7]], [[0, 1]])])
    assert servable.calls == [(4, 3)]
    assert [outputs(it)["sum"] for it in results] == [[8.0], [6.0, 7.0], [9.0]]
    assert outputs(results[1])["twice"] == [[[4, 4]], [[5, 5]]]


def test_new_settings_hold_for_the_next_batch() -> None:
    servable = TextServable()
    stage = Stage(servable, PAD)
    texts = [request("a", [[1, 2, 3]]), request("b", [[4]])]
    stage.answers(texts)
    stage.settings = BatchingSettings(mask="mask")
    stage.answers(texts)
    assert servable.calls == [(2, 3), (1, 3), (1, 1)]


def test_a_request_that_does_not_fit_and_a_guilty_one_leave_the_padded_neighbours_their_answers() -> None:
    wrong = PredictRequest("w", inputs=(from_array("ids", np.zeros((1, 2), np.int64)),))
    results = Stage(TextServable(), PAD).answers(
        [request("a", [[1, 2]]), wrong, request("g", [[13]]), request("m", [[1, 2]], [[1]]), request("b", [[3]])]
    )
    assert codes(results) == [None, "missing_input", "model_error", "wrong_shape", None]


def test_settings_that_do_not_fit_are_the_answer_and_not_a_crash() -> None:
    settings = BatchingSettings(axes={"ids": ("rows",)})
    assert codes(Stage(TextServable(), settings).answers([request("a", [[1]])])) == ["invalid_settings"]


def test_one_guilty_row_fails_all_of_a_request_of_several_calls_and_nobody_else() -> None:
    servable = TextServable()
    large = request("large", [[13], *[[1]] * 99])
    results = Stage(servable, BatchingSettings(max_rows=4, mask="mask")).answers([large, request("b", [[2]])])
    assert codes(results) == ["model_error", None]
    assert len(servable.calls) < 5, "rows of a request that has failed are not computed"


def test_an_error_that_would_pass_is_the_answer_of_all_and_nothing_is_tried_in_halves() -> None:
    servable = TextServable(NotReady("m", ("its process has died",)))
    results = Stage(servable, PAD).answers([request("a", [[13]]), request("b", [[1]]), request("c", [[2]])])
    assert codes(results) == ["not_ready"] * 3
    assert [result.error and result.error.retriable for result in results] == [True] * 3
    assert len(servable.calls) == 1


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (
            {"twice": np.zeros((3, 3, 2)), "sum": np.zeros(2)},
            r"shape \[3, 3, 2\] for 2 rows; axis 0 of each",
        ),
        ({"twice": np.zeros((2, 2, 2)), "sum": np.zeros(2)}, r"'twice' has shape \[2, 2, 2\], expected 3 in axis 1"),
        ({"twice": np.zeros(2), "sum": np.zeros(2)}, r"'twice' has shape \[2\], expected 3 in axis 1"),
    ],
)
def test_outputs_of_other_rows_or_lengths_than_the_inputs_fail_clearly(made: dict[str, Array], words: str) -> None:
    class Wrong(TextServable):
        def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
            return made

    for result in Stage(Wrong(), PAD).answers([request("a", [[1, 2, 3]]), request("b", [[1]])]):
        assert result.error is not None
        assert result.error.code == "model_error"
        with pytest.raises(AssertionError, match=words):
            raise AssertionError(result.error.message)


def test_answers_to_the_calls_of_one_request_that_do_not_fit_together_fail_clearly() -> None:
    class Growing(TextServable):
        def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
            self.calls.append(inputs["ids"].shape)
            return {"sum": np.zeros((len(inputs["ids"]), len(self.calls)))}

    settings = BatchingSettings(max_rows=2, mask="mask")
    [result] = Stage(Growing(), settings).answers([request("a", [[1], [2], [3]])])
    assert result.error is not None
    assert "do not fit: 'sum' FP64 [2, 1] and 'sum' FP64 [1, 2]" in result.error.message


class Words:
    """BYTES of any length, counted without those that are empty."""

    signatures: Mapping[str, Signature] = {
        "serving_default": Signature((TensorSpec("words", "BYTES", (-1, -1)),), (TensorSpec("count", "INT64", (-1,)),))
    }

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return {"count": (inputs["words"] != b"").sum(axis=1)}


def test_text_is_padded_by_empty_text_and_cut_over_calls() -> None:
    lines = [PredictRequest(str(n), inputs=(from_array("words", np.full((3, n), b"w", object)),)) for n in range(4)]
    stage = Stage(Words(), BatchingSettings(variable_length="pad", allowed_batch_sizes=(2,)))
    assert [outputs(it)["count"] for it in stage.answers(lines)] == [[n] * 3 for n in range(4)]


def write_static_model(folder: Path) -> None:
    x = ops.parameter([4, 3], ov.Type.f32)
    y = ops.multiply(x, ops.constant(2.0, ov.Type.f32))
    x.output(0).get_tensor().set_names({"x"})
    y.output(0).get_tensor().set_names({"y"})
    folder.mkdir()
    ov.save_model(ov.Model([y], [x]), folder / "model.xml")


def test_a_static_openvino_model_answers_any_number_of_rows(tmp_path: Path) -> None:
    write_static_model(tmp_path / "1")
    loader = OpenVinoAdapter().loader(ServableId("m", 1), tmp_path / "1", {"precision": "f32"})
    stage = Stage(loader.load(), BatchingSettings(allowed_batch_sizes=(4,)))
    rows = [np.full((n, 3), n, np.float32) for n in (1, 4, 11, 0, 2)]
    results = stage.answers([PredictRequest(str(len(x)), inputs=(from_array("x", x),)) for x in rows])
    assert [outputs(it)["y"] for it in results] == [(2 * x).tolist() for x in rows]
    loader.unload()
