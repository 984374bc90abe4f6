"""The pages of a front end: ``/predict`` as Cluster Serving's clients use it, and what watches over it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from pipeline.codecs.cluster_serving import instances, predictions
from pipeline.errors import PenstockError, Undecodable
from pipeline.front_end.metrics import FrontEndMetrics
from pipeline.front_end.refusal import Refusal, status_of
from pipeline.front_end.room import Room
from pipeline.records import PredictResult
from pipeline.tensors import Tensor

# Returns the result of one instance in so many seconds; raises PenstockError.
Ask = Callable[[str, float], Awaitable[PredictResult]]

# Answers whose outputs have more bytes are written on another thread.
_LARGE: Final = 256 * 1024
_METRICS_TYPE: Final = CONTENT_TYPE_LATEST.partition(";")[0]


class Limits(msgspec.Struct, frozen=True):
    """What a front end takes: of one body, of one request's time, and of all at once."""

    body_bytes: int
    timeout_s: float
    in_flight: int
    in_flight_bytes: int


class Pages:
    """Answers HTTP requests. On one event loop, which only waits and splits bodies here."""

    def __init__(self, name: str, ask: Ask, is_ready: Callable[[], bool], limits: Limits) -> None:
        """``name`` is the job's."""
        self._name, self._ask, self._is_ready, self._limits = name, ask, is_ready, limits
        self._room = Room(limits.in_flight, limits.in_flight_bytes)
        self.metrics = FrontEndMetrics(lambda: self._room.instances)

    def app(self) -> web.Application:
        """Return the application; it starts nothing by itself."""
        application = web.Application(client_max_size=self._limits.body_bytes)
        application.add_routes(
            [
                web.get("/", self._welcome),
                web.get("/live", self._live),
                web.get("/ready", self._ready),
                web.get("/metrics", self._show_metrics),
                web.post("/predict", self._predict),
            ]
        )
        return application

    async def _welcome(self, _: web.Request) -> web.Response:
        # Their client takes any answer with 200 here, and none without.
        return web.Response(text=f"Penstock answers for the job {self._name}: POST /predict\n")

    async def _live(self, _: web.Request) -> web.Response:
        return _json({"live": True})

    async def _ready(self, _: web.Request) -> web.Response:
        is_ready = self._is_ready()
        return _json({"ready": is_ready}, 200 if is_ready else 503)

    async def _show_metrics(self, _: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self.metrics.registry), content_type=_METRICS_TYPE)

    async def _predict(self, request: web.Request) -> web.Response:
        began_s = time.monotonic()
        try:
            response = web.Response(body=await self._answer(request), content_type="application/json")
        except Refusal as refusal:
            response = _json({"error": refusal.reason, "code": refusal.code}, refusal.status)
            if refusal.status == 503:
                response.headers["Retry-After"] = "1"
        self.metrics.answered(response.status, time.monotonic() - began_s)
        return response

    async def _answer(self, request: web.Request) -> bytes:
        """Return the body of the answer; raises Refusal."""
        deadline_s = time.monotonic() + self._limits.timeout_s
        with self._room.taken(1, self._size_of(request)):
            texts = _split(await self._body(request))
            if len(texts) > self._limits.in_flight:
                reason = f"it has {len(texts)} instances, at most {self._limits.in_flight} are answered at once"
                raise Refusal(400, "too_many_instances", reason)
            with self._room.taken(len(texts) - 1):
                left_s = max(0.0, deadline_s - time.monotonic())
                outcomes = await asyncio.gather(*[self._ask(text, left_s) for text in texts], return_exceptions=True)
            found = [_outputs(place, outcome) for place, outcome in enumerate(outcomes)]
            if sum(len(tensor.data) for outputs in found for tensor in outputs) > _LARGE:
                return await asyncio.to_thread(predictions.write, found)
            return predictions.write(found)

    def _size_of(self, request: web.Request) -> int:
        """Return how many bytes the body may have when it has been read; raises Refusal for too many."""
        said, most = request.content_length, self._limits.body_bytes
        if said is not None and said > most:
            raise self._too_large(f"has {said} bytes")
        return most if said is None or request.headers.get("Content-Encoding") else said

    async def _body(self, request: web.Request) -> bytes:
        try:
            async with asyncio.timeout(self._limits.timeout_s):
                return await request.read()
        except web.HTTPRequestEntityTooLarge:
            raise self._too_large("is larger") from None
        except TimeoutError:
            raise Refusal(408, "timed_out", f"the body did not come within {self._limits.timeout_s:g} s") from None

    def _too_large(self, what: str) -> Refusal:
        reason = f"the body {what}, the limit is {self._limits.body_bytes}; send fewer instances"
        return Refusal(413, "record_too_large", reason)


def _split(body: bytes) -> list[str]:
    try:
        return instances.split(body)
    except Undecodable as error:
        raise Refusal(400, error.code, error.reason) from error


def _outputs(place: int, outcome: PredictResult | BaseException) -> tuple[Tensor, ...]:
    """Return the outputs of one instance; raises Refusal for an error."""
    if isinstance(outcome, Undecodable):  # a result that is none: nothing is wrong with the request
        raise Refusal(500, "internal", f"instance {place}: {outcome}")
    if isinstance(outcome, PenstockError):
        raise Refusal(status_of(outcome.code), outcome.code, f"instance {place}: {outcome}")
    if isinstance(outcome, BaseException):
        raise outcome
    if outcome.error is not None:
        error = outcome.error
        raise Refusal(status_of(error.code), error.code, f"instance {place}: {error.message}")
    return outcome.outputs


def _json(content: object, status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(content), status=status, content_type="application/json")
