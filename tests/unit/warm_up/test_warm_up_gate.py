"""A version that does not answer as it should leaves nothing loaded, and its state says why."""

from __future__ import annotations

import gc
import pickle
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from pipeline import warm_up
from pipeline.errors import GoldenMismatch, InvalidSettings, NotReady, WarmUpFailed
from pipeline.records import AspiredVersion, AspiredVersions, State
from pipeline.registry import policy
from pipeline.registry.manager import Manager
from pipeline.registry.servable import ServableId, Signature, TensorSpec
from pipeline.registry.states import EventBus, VersionState
from pipeline.rollout import RollOut
from pipeline.settings import BatchingSettings, Settings, StreamSettings, WarmUpSettings
from pipeline.tensors import Array
from pipeline.testing.fakes import AddingServable, FakeClock, InlineExecutor
from pipeline.warm_up import gate

ID = ServableId("m", 1)
ROWS = np.array([[1, 2], [3, 4]], np.float32)
SUMS = np.array([3, 7], np.float32)
GOOD = warm_up.request({"x": ROWS}, {"sum": SUMS}, description="two rows")
WRONG = warm_up.request({"x": ROWS}, {"sum": SUMS + 1}, description="two rows")
RAISES = warm_up.request({"x": np.full((1, 2), 13, np.float32)})
AS_DECLARED = BatchingSettings()
FAIL, IGNORE, REQUIRED = WarmUpSettings(), WarmUpSettings(on_error="ignore"), WarmUpSettings(required=True)


class CountingLoader:
    """See Loader; counts what is asked of it."""

    def __init__(self, servable: Any = None) -> None:
        self.servable = servable or AddingServable()
        self.loads = self.unloads = 0
        self.unload_error: Exception | None = None

    def estimate_bytes(self) -> int | None:
        return None

    def load(self) -> Any:
        self.loads += 1
        return self.servable

    def unload(self) -> None:
        self.unloads += 1
        self.servable = None
        if self.unload_error is not None:
            raise self.unload_error


def load(folder: Path, *records: Any, settings: WarmUpSettings = FAIL, loader: CountingLoader | None = None) -> Any:
    warm_up.write(folder, records)
    return gate.load(loader or CountingLoader(), ID, folder, settings)


def test_requests_are_answered_in_order_each_as_often_and_at_the_sizes_that_it_says(tmp_path: Path) -> None:
    often = warm_up.request({"x": ROWS}, {"sum": SUMS}, iterations=2, batch_sizes=(1, 5))
    servable = load(tmp_path, GOOD, often)
    assert servable.calls == [2, 2, 2, 1, 1, 5, 5]


def test_without_a_file_a_version_is_loaded_as_ever(tmp_path: Path) -> None:
    loader = CountingLoader()
    assert gate.load(loader, ID, tmp_path, FAIL) is loader.servable
    assert loader.servable.calls == []


def test_a_golden_mismatch_unloads_the_version_and_carries_its_evidence(tmp_path: Path) -> None:
    loader = CountingLoader()
    with pytest.raises(GoldenMismatch) as raised:
        load(tmp_path, GOOD, WRONG, loader=loader)
    assert (loader.loads, loader.unloads) == (1, 1)
    error = pickle.loads(pickle.dumps(raised.value))
    assert (error.what, error.record, error.description, error.rows, error.tensor) == ("m/1", 1, "two rows", 2, "sum")
    assert (error.element, error.expected, error.got, error.bad_elements, error.elements) == ((0,), "4.0", "3.0", 2, 2)
    assert error.max_abs_error == 1.0
    assert not error.retriable
    assert str(error) == (
        "m/1: warm-up.avro record 1 (two rows): output 'sum' is not as expected: element [0] is 3.0, expected 4.0 "
        "within 0.00401; 2 of 2 are off, the largest error is 1 (at 2 rows)"
    )


def test_a_model_that_answers_otherwise_at_another_batch_size_is_found_out(tmp_path: Path) -> None:
    class Leaky(AddingServable):
        def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
            return {"sum": inputs["x"].sum(axis=1) + (len(inputs["x"]) > 4)}

    record = warm_up.request({"x": ROWS}, {"sum": SUMS}, batch_sizes=(4, 5))
    with pytest.raises(GoldenMismatch) as raised:
        load(tmp_path, record, loader=CountingLoader(Leaky()))
    assert raised.value.rows == 5


@pytest.mark.parametrize("settings", [FAIL, IGNORE])
def test_a_golden_request_that_fails_always_fails_the_version(tmp_path: Path, settings: WarmUpSettings) -> None:
    golden = warm_up.request({"x": np.full((1, 2), 13, np.float32)}, {"sum": SUMS[:1]})
    with pytest.raises(WarmUpFailed, match="record 0: model_error: m/1: RuntimeError: thirteen"):
        load(tmp_path, golden, settings=settings)
    with pytest.raises(GoldenMismatch):
        load(tmp_path, WRONG, settings=settings)


def test_a_warm_up_request_that_fails_fails_the_version_unless_that_is_ignored(tmp_path: Path) -> None:
    loader = CountingLoader()
    with pytest.raises(WarmUpFailed, match="thirteen"):
        load(tmp_path, RAISES, loader=loader)
    assert loader.unloads == 1
    assert load(tmp_path, RAISES, GOOD, settings=IGNORE).calls == [1, 2]


@pytest.mark.parametrize(
    ("inputs", "more", "code"),
    [
        ({"z": ROWS}, {}, "unknown_input"),
        ({"x": ROWS.astype(np.float64)}, {}, "wrong_datatype"),
        ({"x": ROWS[:, :1]}, {}, "wrong_shape"),
        ({"x": ROWS}, {"signature": "other"}, "unknown_signature"),
        ({"x": ROWS[:0]}, {"batch_sizes": (2,)}, "no row to repeat"),
    ],
)
def test_requests_pass_the_checks_of_real_ones(
    tmp_path: Path, inputs: dict[str, Array], more: dict[str, Any], code: str
) -> None:
    with pytest.raises(WarmUpFailed, match=code):
        load(tmp_path, warm_up.request(inputs, **more))


def test_the_first_request_of_a_signature_warms_each_allowed_batch_size_and_the_others_follow_them(
    tmp_path: Path,
) -> None:
    warm_up.write(tmp_path, [GOOD, warm_up.request({"x": np.repeat(ROWS, 5, axis=0)})])
    servable = gate.load(CountingLoader(), ID, tmp_path, FAIL, BatchingSettings(allowed_batch_sizes=(1, 4, 8)))
    assert servable.calls == [4, 1, 4, 8, 8, 4]


def test_batching_settings_that_do_not_fit_a_signature_fail_the_version_before_any_request_does(tmp_path: Path) -> None:
    loader = CountingLoader()
    with pytest.raises(InvalidSettings, match=r"batching.axes of m/1: tensor 'x' has the shape"):
        gate.load(loader, ID, tmp_path, FAIL, BatchingSettings(axes={"x": ("rows",)}))
    assert (loader.loads, loader.unloads) == (1, 1)


def test_batch_sizes_are_for_batched_signatures(tmp_path: Path) -> None:
    class Whole(AddingServable):
        signatures = {  # noqa: RUF012  # what users write
            "serving_default": Signature(
                (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("sum", "FP32", (-1,)),), batched=False
            )
        }

    assert load(tmp_path, GOOD, loader=CountingLoader(Whole())).calls == [2]
    with pytest.raises(WarmUpFailed, match="not batched"):
        load(tmp_path, warm_up.request({"x": ROWS}, batch_sizes=(1,)), loader=CountingLoader(Whole()))


def test_outputs_that_could_not_be_split_among_requests_fail_the_version(tmp_path: Path) -> None:
    class OneForAll(AddingServable):
        def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
            return {"sum": np.zeros(1, np.float32)}

    with pytest.raises(WarmUpFailed, match="for 2 rows"):
        load(tmp_path, warm_up.request({"x": ROWS}), loader=CountingLoader(OneForAll()))


def test_an_error_that_would_pass_is_not_tried_again_all_the_same(tmp_path: Path) -> None:
    class Warming(AddingServable):
        def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
            raise NotReady("m", ("warming up",))

    with pytest.raises(WarmUpFailed) as raised:
        load(tmp_path, warm_up.request({"x": ROWS}), loader=CountingLoader(Warming()))
    assert not raised.value.retriable


def test_a_version_without_a_golden_request_is_refused_unloaded_where_one_is_required(tmp_path: Path) -> None:
    loader = CountingLoader()
    with pytest.raises(WarmUpFailed, match="no golden request"):
        load(tmp_path, warm_up.request({"x": ROWS}), settings=REQUIRED, loader=loader)
    with pytest.raises(WarmUpFailed, match="no golden request"):
        gate.load(loader, ID, tmp_path / "none", REQUIRED)
    assert (loader.loads, loader.unloads) == (0, 0)
    assert load(tmp_path, GOOD, settings=REQUIRED).calls == [2]


def test_a_file_that_can_not_be_read_fails_the_version_before_its_load_even_where_errors_are_ignored(
    tmp_path: Path,
) -> None:
    (tmp_path / "warm-up.avro").write_bytes(b"Obj\1 and no more")
    loader = CountingLoader()
    with pytest.raises(WarmUpFailed, match="not an Avro object container file"):
        gate.load(loader, ID, tmp_path, IGNORE)
    assert loader.loads == 0


def test_an_unload_that_raises_does_not_hide_why_the_version_failed(tmp_path: Path, caplog: Any) -> None:
    loader = CountingLoader()
    loader.unload_error = RuntimeError("stuck")
    with pytest.raises(GoldenMismatch):
        load(tmp_path, WRONG, loader=loader)
    assert "stuck" in caplog.text


def test_whatever_a_model_raises_past_exceptions_still_unloads_it(tmp_path: Path) -> None:
    class Leaving(AddingServable):
        def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
            raise SystemExit(3)

    loader = CountingLoader(Leaving())
    with pytest.raises(SystemExit):
        load(tmp_path, GOOD, loader=loader)
    assert loader.unloads == 1


# Through the manager, with a kind that is installed.


class Model:
    """Sums rows; all that were made are remembered, weakly."""

    inputs = {"x": ("FP32", [-1, 2])}  # noqa: RUF012  # what users write
    outputs = {"sum": ("FP32", [-1])}  # noqa: RUF012  # as above
    made: ClassVar[list[weakref.ref[Any]]] = []
    unloads = 0

    def __init__(self) -> None:
        Model.made.append(weakref.ref(self))

    def predict(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return {"sum": inputs["x"].sum(axis=1)}

    def unload(self) -> None:
        Model.unloads += 1


class Deployed:
    """One stream with its manager, everything on the calling thread."""

    def __init__(self, folder: Path, settings: WarmUpSettings = FAIL, batching: BatchingSettings = AS_DECLARED) -> None:
        Model.made.clear()
        Model.unloads = 0
        self.folder = folder
        self.events: list[VersionState] = []
        bus = EventBus()
        bus.subscribe(self.events.append)
        self.manager = Manager(
            policy.availability_preserving, InlineExecutor(), InlineExecutor(), bus, FakeClock(), max_load_retries=3
        )
        options = {"class": f"{__name__}:Model"}
        stream = StreamSettings(
            base_path=str(folder),
            kind="python",
            options=options,
            isolation="thread",
            warm_up=settings,
            batching=batching,
        )
        self.rollout = RollOut(Settings(servables={"m": stream}), self.manager)

    def drop(self, version: int, *records: Any) -> None:
        path = self.folder / str(version)
        path.mkdir()
        warm_up.write(path, records)
        self.rollout.aspire(AspiredVersions("m", (AspiredVersion(version, str(path)),)), version)

    def states(self, version: int) -> list[State]:
        return [event.state for event in self.events if event.id.version == version]


def test_the_batching_settings_of_the_stream_are_those_of_its_loads(tmp_path: Path) -> None:
    it = Deployed(tmp_path, batching=BatchingSettings(axes={"x": ("rows",)}))
    it.drop(1)
    assert isinstance(it.events[-1].error, InvalidSettings)


def test_a_mismatch_ends_the_version_after_one_load_and_the_old_one_goes_on(tmp_path: Path) -> None:
    it = Deployed(tmp_path)
    it.drop(1, GOOD)
    it.drop(2, WRONG)
    assert it.states(1) == [State.START, State.LOADING, State.AVAILABLE]
    assert it.states(2) == [State.START, State.LOADING, State.END]
    error = it.events[-1].error
    assert isinstance(error, GoldenMismatch)
    assert (error.what, error.tensor) == ("m/2", "sum")
    with it.manager.acquire("m") as handle:
        assert handle.id.version == 1
    it.manager.close(5)


def test_nothing_of_a_version_that_failed_stays_in_memory(tmp_path: Path) -> None:
    it = Deployed(tmp_path)
    it.drop(1, WRONG)
    assert isinstance(it.events[-1].error, GoldenMismatch)
    gc.collect()
    assert [made() for made in Model.made] == [None]
    assert Model.unloads == 1


def test_the_settings_of_the_stream_decide(tmp_path: Path) -> None:
    it = Deployed(tmp_path, REQUIRED)
    it.drop(1)
    assert isinstance(it.events[-1].error, WarmUpFailed)
    assert Model.made == []
    it.drop(2, GOOD)
    assert it.states(2)[-1] is State.AVAILABLE
    it.manager.close(5)
