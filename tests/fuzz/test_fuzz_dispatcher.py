"""Random and mutated records through the whole data path, without a broker: each is answered, and nothing raises."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import pytest

from pipeline.connector import Answer, Record
from pipeline.errors import PenstockError, ReplyRefused, Undecodable
from pipeline.records import Source
from pipeline.registry.servable import ServableId, Signature, TensorSpec
from pipeline.serving.dispatcher import Dispatcher
from pipeline.settings import RouteSettings
from pipeline.tensors import DTYPES, Array
from pipeline.testing.fakes import FakeClock, manager_with
from tests.fuzz.records import CODECS, Fuzzed, corpus, fuzzed

BATCH = 50
CLOCK = FakeClock()
LETTERS = ("undecodable", "record_too_large")


class Echo:
    """Answers what it was asked, in each datatype by the signature of its name."""

    signatures: ClassVar[Mapping[str, Signature]] = {
        name: Signature((TensorSpec("x", datatype, (-1, 2)),), (TensorSpec("x", datatype, (-1, 2)),))
        for name, datatype in {**{name: name for name in DTYPES}, "serving_default": "FP32"}.items()
    }

    def predict(self, _signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return {"x": inputs["x"]}


@pytest.fixture
def dispatcher() -> Dispatcher:
    route = RouteSettings(
        servable="adder", request_topic="q", result_topic="r", reply_topics=("results",), max_record_bytes=20_000
    )
    return Dispatcher(route, manager_with({ServableId("adder", 3): Echo()}, CLOCK), CODECS, CLOCK)


def record(it: Fuzzed, offset: int) -> Record:
    return Record(it.value or b"", it.key, it.headers, "q", 1, offset, CLOCK.unix_ms() - 5)


def batches(seed: int, count: int) -> Iterator[list[Record]]:
    for start in range(0, count, BATCH):
        yield [record(fuzzed(seed, number), number) for number in range(start, min(start + BATCH, count))]


def check(records: Sequence[Record], answers: Sequence[Answer]) -> Counter[str]:
    """Fail unless each record has the one answer that is its own; return how often each outcome came."""
    assert len(answers) == len(records)
    outcomes: Counter[str] = Counter()
    for it, answer in zip(records, answers, strict=True):
        codec = next(codec for codec in CODECS if codec.recognises(answer.value))
        result = codec.decode_result(answer.value)
        assert result.source == Source(it.topic, it.partition, it.offset)
        assert result.version is None or -(2**63) <= result.version < 2**63
        code = "ok" if result.error is None else result.error.code
        assert code != "internal"
        assert (answer.dead_letter is not None) == (code in LETTERS)
        assert answer.topic in (None, "results")
        assert answer.partition is None or 0 <= answer.partition < 2**31
        assert None not in [value for _, value in answer.headers]
        outcomes[code] += 1
    return outcomes


@pytest.mark.timeout(1200)
def test_every_record_is_answered_whatever_its_bytes_and_headers(
    dispatcher: Dispatcher, request: pytest.FixtureRequest
) -> None:
    """100,000 of them, with --fuzz-records as many as you like; --fuzz-seed repeats a run."""
    seed, count = request.config.getoption("--fuzz-seed"), request.config.getoption("--fuzz-records") or 100_000
    outcomes: Counter[str] = Counter()
    for records in batches(seed, count):
        try:
            outcomes += check(records, dispatcher.answer(dispatcher.decode(records)))
        except Exception as error:
            raise AssertionError(f"in the batch from record {records[0].offset} of --fuzz-seed {seed}") from error
    assert outcomes.total() == count
    # The mutations reach further than the first byte: many kinds of answers come, and some are no errors.
    assert len(outcomes) >= 12, outcomes
    assert outcomes["ok"] > count / 50, outcomes


def test_an_answer_that_the_broker_refuses_is_answered_too(dispatcher: Dispatcher) -> None:
    for records in batches(7, 2000):
        for it in records:
            answer = dispatcher.refuse(it, ReplyRefused("r[9]", ()))
            assert (answer.topic, answer.partition) == (None, None)
            own = dispatcher.decode([it])[0].error
            assert check([it], [answer]).keys() == {own.code if own else "reply_refused"}


def test_a_decoder_of_results_raises_undecodable_and_nothing_else() -> None:
    for number in range(20_000):
        value = fuzzed(3, number).value or b""
        for codec in CODECS:
            try:
                codec.decode_result(value)
            except Undecodable:
                continue


def test_a_record_of_a_seed_is_the_same_in_whatever_order() -> None:
    assert fuzzed(1, 77) == fuzzed(1, 77) != fuzzed(2, 77)
    assert len({fuzzed(1, number).value for number in range(2000)}) > 1200


def test_what_the_mutations_start_from_is_good(dispatcher: Dispatcher) -> None:
    values = list(corpus())
    answers = dispatcher.answer(dispatcher.decode([record(Fuzzed(v, b"k", []), n) for n, v in enumerate(values)]))
    outcomes = check([record(Fuzzed(v, b"k", []), n) for n, v in enumerate(values)], answers)
    assert outcomes["ok"] >= 2 * len(DTYPES)
    assert issubclass(Undecodable, PenstockError)
