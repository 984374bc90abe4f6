"""Each HTTP request has its answer: predictions, or an error with the status that says what to do about it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from pipeline.errors import ConnectorError, RecordTooLarge, TimedOut, Undecodable, kinds
from pipeline.front_end.pages import Limits, Pages
from pipeline.front_end.refusal import status_of
from pipeline.records import Error, PredictResult
from pipeline.tensors import from_array
from tests.unit.codecs.ancestor_bytes import http_decoded

LIMITS = Limits(body_bytes=1000, timeout_s=60.0, in_flight=3, in_flight_bytes=1500)
BODY = json.dumps({"instances": [{"x": [1, 2]}]})
Scenario = Callable[[Any], Awaitable[None]]


def of(instance: str, _: float) -> PredictResult:
    """The sum of x."""
    [inputs] = json.loads(instance)["instances"]
    return PredictResult("", "m", outputs=(from_array("sum", np.float32([sum(inputs["x"])])),))


async def answered(instance: str, timeout_s: float) -> PredictResult:
    return of(instance, timeout_s)


def play(scenario: Scenario, ask: Any = answered, limits: Limits = LIMITS, *, is_ready: bool = True) -> Pages:
    """Run a scenario with a client of these pages, as the server runs them."""
    pages = Pages("digits", ask, lambda: is_ready, limits)

    async def main() -> None:
        async with TestClient(TestServer(pages.app())) as client:
            await scenario(client)

    asyncio.run(main())
    return pages


def metric(pages: Pages, name: str, **labels: str) -> float | None:
    return pages.metrics.registry.get_sample_value(f"penstock_front_end_{name}", labels)


def test_a_request_is_answered_as_their_client_reads_it() -> None:
    async def scenario(client: Any) -> None:
        answer = await client.post("/predict", data=BODY)  # any content type, or none: they send none
        assert (answer.status, answer.content_type) == (200, "application/json")
        assert http_decoded(await answer.text()).tolist() == [3]
        assert (await client.get("/")).status == 200

    pages = play(scenario)
    assert metric(pages, "requests_total", status="200") == 1
    assert metric(pages, "seconds_count") == 1


def test_instances_are_asked_at_once_and_answered_in_order() -> None:
    asked: list[str] = []
    all_asked = asyncio.Event()

    async def ask(instance: str, timeout_s: float) -> PredictResult:
        asked.append(instance)
        if len(asked) == 3:
            all_asked.set()
        await all_asked.wait()
        return of(instance, timeout_s)

    async def scenario(client: Any) -> None:
        body = json.dumps({"instances": [{"x": [number]} for number in (5, 6, 7)]})
        answer = json.loads(await (await client.post("/predict", data=body)).text())
        assert [json.loads(json.loads(each)["value"])["data"] for each in answer["predictions"]] == [[5], [6], [7]]

    play(scenario, ask)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (ConnectorError("redis at r:6379", "away"), 503, "connector_error"),
        (TimedOut("request 1", 2), 504, "timed_out"),
        (RecordTooLarge(2, 1), 413, "record_too_large"),
        (Undecodable("a result that is none"), 500, "internal"),
        (Error("wrong_shape", "got [3]", False), 400, "wrong_shape"),  # noqa: FBT003  # as in the schema
        (Error("model_error", "it raised", False), 500, "model_error"),  # noqa: FBT003  # as above
        (Error("not_ready", "none", True), 503, "not_ready"),  # noqa: FBT003  # as above
        (Error("deadline_exceeded", "late", False), 504, "deadline_exceeded"),  # noqa: FBT003  # as above
        (Error("not_known_here", "new", False), 500, "not_known_here"),  # noqa: FBT003  # as above
    ],
)
def test_an_error_has_its_status_its_code_and_its_reason(error: Any, status: int, code: str) -> None:
    async def ask(instance: str, timeout_s: float) -> PredictResult:
        if "bad" not in instance:
            return of(instance, timeout_s)
        if isinstance(error, Exception):
            raise error
        return PredictResult("", "m", error=error)

    async def scenario(client: Any) -> None:
        body = json.dumps({"instances": [{"x": [1]}, {"bad": 1}]})
        answer = await client.post("/predict", data=body)
        said = await answer.json()
        assert (answer.status, said["code"]) == (status, code)
        assert said["error"].startswith("instance 1: ")
        assert ("Retry-After" in answer.headers) == (status == 503)

    assert metric(play(scenario, ask), "requests_total", status=str(status)) == 1


def test_every_code_has_a_status_and_what_may_be_tried_again_is_no_fault_of_the_request() -> None:
    statuses = {code: status_of(code) for code in kinds()}
    assert set(statuses.values()) == {400, 413, 500, 503, 504}
    assert not [code for code, kind in kinds().items() if kind.retriable and statuses[code] < 503]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ("", 400, "undecodable"),
        ("{", 400, "undecodable"),
        ('{"instances": []}', 400, "undecodable"),
        (json.dumps({"instances": [{}] * 4}), 400, "too_many_instances"),
        (" " * 1001, 413, "record_too_large"),
    ],
    ids=["nothing", "no JSON", "no instance", "more than are answered at once", "too large"],
)
def test_a_body_that_is_none_is_refused_and_nobody_is_asked(body: str, status: int, code: str) -> None:
    async def ask(instance: str, timeout_s: float) -> PredictResult:
        raise AssertionError(instance)

    async def scenario(client: Any) -> None:
        answer = await client.post("/predict", data=body)
        assert (answer.status, (await answer.json())["code"]) == (status, code)

    play(scenario, ask)


def test_a_body_that_tells_no_length_is_cut_off_at_the_limit() -> None:
    async def endless() -> Any:
        for _ in range(100):
            yield b" " * 100

    async def scenario(client: Any) -> None:
        answer = await client.post("/predict", data=endless())
        assert (answer.status, (await answer.json())["code"]) == (413, "record_too_large")

    play(scenario)


def test_a_body_that_does_not_come_is_waited_for_no_longer_than_an_answer() -> None:
    never = asyncio.Event()

    async def half() -> Any:
        yield b'{"instances"'
        await never.wait()

    async def scenario(client: Any) -> None:
        answer = await client.post("/predict", data=half())
        assert (answer.status, (await answer.json())["code"]) == (408, "timed_out")

    play(scenario, limits=Limits(1000, 0.01, 3, 1500))


@pytest.mark.parametrize(
    ("size", "instances"), [(0, 3), (900, 1)], ids=["as many instances as may be", "as many bytes as may be"]
)
def test_what_finds_no_room_is_refused_at_once_and_finds_it_later(size: int, instances: int) -> None:
    go_on, waiting = asyncio.Event(), asyncio.Event()
    asked: list[str] = []

    async def ask(instance: str, timeout_s: float) -> PredictResult:
        asked.append(instance)
        if len(asked) == instances:
            waiting.set()
        await go_on.wait()
        return of(instance, timeout_s)

    body = json.dumps({"instances": [{"x": [1]}] * instances}).ljust(size)

    async def scenario(client: Any) -> None:
        first = asyncio.create_task(client.post("/predict", data=body))
        await waiting.wait()
        refused = await client.post("/predict", data=BODY.ljust(size))
        assert (refused.status, (await refused.json())["code"]) == (503, "busy")
        assert refused.headers["Retry-After"] == "1"
        assert len(asked) == instances
        go_on.set()
        assert (await first).status == 200
        assert (await client.post("/predict", data=BODY)).status == 200

    assert metric(play(scenario, ask), "in_flight") == 0


def test_a_body_larger_than_all_the_room_is_answered_alone() -> None:
    async def scenario(client: Any) -> None:
        assert (await client.post("/predict", data=BODY.ljust(900))).status == 200

    play(scenario, limits=Limits(1000, 60.0, 3, 10))


def test_nothing_is_held_for_a_client_that_has_gone() -> None:
    asked, given_up = asyncio.Event(), asyncio.Event()

    async def ask(instance: str, timeout_s: float) -> PredictResult:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            given_up.set()
        raise AssertionError

    async def main() -> None:
        pages = Pages("digits", ask, lambda: True, LIMITS)
        runner = web.AppRunner(pages.app(), handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        [(host, port)] = [address[:2] for address in runner.addresses]
        _, writer = await asyncio.open_connection(host, port)
        writer.write(f"POST /predict HTTP/1.1\r\nHost: h\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}".encode())
        await asked.wait()
        assert metric(pages, "in_flight") == 1
        writer.close()
        await given_up.wait()
        await runner.cleanup()
        assert metric(pages, "in_flight") == 0

    asyncio.run(main())


@pytest.mark.parametrize(("is_ready", "status"), [(True, 200), (False, 503)])
def test_it_is_alive_and_says_whether_it_can_ask(is_ready: Any, status: int) -> None:
    async def scenario(client: Any) -> None:
        assert (await client.get("/live")).status == 200
        assert (await client.get("/ready")).status == status
        assert "penstock_front_end_in_flight 0.0" in await (await client.get("/metrics")).text()

    play(scenario, is_ready=is_ready)


def test_large_outputs_are_answered_too() -> None:
    array = np.arange(100_000, dtype=np.float32)

    async def ask(instance: str, timeout_s: float) -> PredictResult:
        return PredictResult("", "m", outputs=(from_array("y", array),))

    async def scenario(client: Any) -> None:
        assert (http_decoded(await (await client.post("/predict", data=BODY)).text()) == array).all()

    play(scenario, ask)
