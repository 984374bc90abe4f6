"""Records as an enemy, or a bug, would write them: valid ones of each format, and what mutation makes of them.

Record ``n`` of a seed is the same in every run and on every machine, whatever came before it.
"""

from __future__ import annotations

import functools
import json
import random
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from pipeline.codecs import schemas
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.v2_json import V2JsonCodec
from pipeline.records import Error, PredictRequest, PredictResult, Source
from pipeline.tensors import DTYPES, Tensor, from_array

Random = random.Random
Headers = list[tuple[str, bytes | None]]

CODECS: Final = (AvroCodec(), V2JsonCodec())


class Fuzzed(msgspec.Struct, frozen=True):
    """One record to send."""

    value: bytes | None
    key: bytes | None
    headers: Headers


def fuzzed(seed: int, number: int) -> Fuzzed:
    """Return record ``number`` of a seed."""
    chance = Random(f"{seed}:{number}")
    value = _value(chance)
    key = chance.choice((None, b"", b"key", str(number).encode(), chance.randbytes(5)))
    return Fuzzed(value, key, _headers(chance))


def _value(chance: Random) -> bytes | None:
    roll = chance.random()
    if roll < 0.01:
        return None
    if roll < 0.05:
        return chance.randbytes(chance.randrange(200))
    value = chance.choice(corpus())
    if roll < 0.35:
        return value
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        value = chance.choice(_MUTATIONS)(chance, value)
    return value[:50_000]  # repetition grows; what is large is another test's


# What the mutations start from.


@functools.cache
def corpus() -> tuple[bytes, ...]:
    """Return valid records of each format: requests in each datatype, results, and JSON at its limits."""
    requests = [_request(datatype, rows) for datatype in DTYPES for rows in (0, 1, 3)]
    requests += [
        PredictRequest("all", "adder", 3, None, "FP32", 2**62, (_tensor("FP32", 2),), {"a": "b", "c": ""}),
        PredictRequest("label", "adder", None, "stable", "", None, (_tensor("INT64", 1),)),
        PredictRequest("late", deadline_ms=1, inputs=(_tensor("FP32", 1),)),
        PredictRequest("many", inputs=tuple(_tensor("FP32", 1, f"x{n}") for n in range(5))),
        PredictRequest("none"),
        PredictRequest("scalar", inputs=(Tensor("x", "FP32", (), b"\0\0\0\0"),)),
        PredictRequest("ünïcödé \U0001f980", "m" * 100, inputs=(_tensor("BYTES", 1),)),
    ]
    results = [
        PredictResult("r", "m", 1, (_tensor("FP32", 1),), None, Source("t", 0, 1), "sha256:0", 1, 2),
        PredictResult("r", "m", None, (), Error("not_ready", "wait", retriable=True)),
    ]
    made = [codec.encode_request(request) for codec in CODECS for request in requests]
    made += [codec.encode_result(result) for codec in CODECS for result in results]
    made += [b"\0\0\0\0\x07" + made[0][schemas.PREFIX_BYTES :]]  # as Confluent frames it
    made += [json.dumps(body).encode() for body in _JSON]
    return (*made, *_TEXT)


def _tensor(datatype: str, rows: int, name: str = "x") -> Tensor:
    if datatype == "BYTES":
        texts = np.array([[b"a", b"\xff\0"]] * rows, object).reshape(rows, 2)
        return from_array(name, texts)
    return from_array(name, np.arange(rows * 2).reshape(rows, 2).astype(DTYPES[datatype]))


def _request(datatype: str, rows: int) -> PredictRequest:
    return PredictRequest(f"{datatype}-{rows}", "adder", signature=datatype, inputs=(_tensor(datatype, rows),))


def _one(**tensor: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2], **tensor}]}


_JSON: Final[tuple[Any, ...]] = (
    _one(),
    _one(data=[[1.5, None]]),
    _one(shape=[1] * 70, data=[1]),
    _one(shape=[2**62] * 400, data=[1]),
    _one(shape=[0, 2**70], data=[]),
    _one(shape=[2**40, 2**40], data=[]),
    _one(data=[1e400, -1e400]),
    _one(datatype="INT8", data=[10**30, -1]),
    _one(datatype="BYTES", data=["a", "\ud800"]),
    _one(datatype="BYTES", data=["YQ==", "!"], parameters={"content_type": "base64"}),
    _one(datatype="BOOL", data=[True, 2]),
    {**_one(), "id": "\ud800"},
    {**_one(), "model_version": "9" * 19},
    {**_one(), "model_name": "m" * 2000, "parameters": {"label": {"a": 1}, "signature": [], "deadline_ms": 10**25}},
    {"inputs": []},
    {"inputs": [], "outputs": [], "error": None},
)
_TEXT: Final = (
    b"", b"{", b"[" * 5000, b"{}" * 10, b"null", b"\xef\xbb\xbf{}", b'{"inputs":' + b"[" * 3000,
    b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1],"data":' + b"[" * 900 + b"1" + b"]" * 900 + b"}]}",
    b'{"inputs":[],"id":' + b"9" * 5000 + b"}",
    b'{"inputs":[{"name":"x","datatype":"INT64","shape":[1],"data":[' + b"9" * 5000 + b"]}]}",
    schemas.prefix("PredictRequest"), schemas.prefix("PredictRequest") + b"\xff" * 12,
    schemas.prefix("AspiredVersions") + b"\0" * 8, schemas.MAGIC + b"12345678" + b"\0" * 9,
)  # fmt: skip

# What they do: each takes a record and returns another one.


def _cut(chance: Random, value: bytes) -> bytes:
    return value[: chance.randrange(len(value) + 1)]


def _splice(chance: Random, value: bytes) -> bytes:
    other = chance.choice(corpus())
    return value[: chance.randrange(len(value) + 1)] + other[chance.randrange(len(other) + 1) :]


def _flip(chance: Random, value: bytes) -> bytes:
    changed = bytearray(value)
    for _ in range(chance.choice((1, 1, 2, 4))):
        if changed:
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


_BYTES: Final = (b"\0", b"\1", b"\2", b"\x7f", b"\x80", b"\xff", b'"', b"{", b"[", b"\\", b"-", b"9", b",")


def _replace(chance: Random, value: bytes) -> bytes:
    at = chance.randrange(len(value) + 1)
    return value[:at] + chance.choice(_BYTES) + value[at + 1 :]


_NUMBERS: Final = (
    b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\1", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", b"\xff" * 9 + b"\x7f",
    b"\x80" * 20, b"\xfe\xff\xff\xff\x0f", b"1e999", b"-1", b"9" * 25, b"9" * 4400, b"null", b"true", b"\\ud800",
)  # fmt: skip


def _number(chance: Random, value: bytes) -> bytes:
    at, length = chance.randrange(len(value) + 1), chance.choice((0, 1, 2, 4))
    return value[:at] + chance.choice(_NUMBERS) + value[at + length :]


def _repeat(chance: Random, value: bytes) -> bytes:
    start = chance.randrange(len(value) + 1)
    part = value[start : start + chance.randrange(1, 40)]
    return value[:start] + part * chance.choice((2, 2, 3, 50)) + value[start:]


def _remove(chance: Random, value: bytes) -> bytes:
    start = chance.randrange(len(value) + 1)
    return value[:start] + value[start + chance.randrange(1, 20) :]


def _insert(chance: Random, value: bytes) -> bytes:
    at = chance.randrange(len(value) + 1)
    return value[:at] + chance.randbytes(chance.randrange(1, 12)) + value[at:]


_MUTATIONS: Final[Sequence[Callable[[Random, bytes], bytes]]] = (
    _cut, _splice, _flip, _flip, _replace, _number, _number, _repeat, _remove, _insert,
)  # fmt: skip

# Headers: known names with values of their kind and of others, unknown names, repeated ones.

_NAMES: Final = (
    "content-type", "x-request-id", "ce_id", "model", "mlserver-model", "model-version", "mlserver-version",
    "reply_to", "kafka_replyTopic", "Faust-Ag-ReplyTo", "reply_partition", "kafka_replyPartition",
    "deadline-ms", "timeout-ms", "status", "error-code", "ce_specversion", "traceparent", "mine", "", "ü", "a" * 300,
    "Inference-Header-Content-Length",
)  # fmt: skip
_VALUES: Final = (
    None, b"", b"0", b"1", b"-1", b"3", b"99999999999", b"9" * 18, b"9" * 19, b"9" * 5000, b"\xff\xfe", b"\0",
    b"\xff\xff\xff\xff", b"\0\0\0\1", b"\x7f\xff\xff\xff", b"\0" * 20, b"application/json", b"application/avro",
    b"APPLICATION/JSON; charset=utf-8", b"text/plain", b"adder", b"stable", b"results", b"*", "ü".encode(), b"v" * 2000,
    b"results.\0x", b"results." + b"r" * 600,
)  # fmt: skip
# What is as it should be, so that something is left to go wrong later.
_GOOD: Final[tuple[tuple[str, bytes | None], ...]] = (
    ("x-request-id", b"r"), ("ce_id", b"c"), ("mine", b"\xff"), ("mine", None), ("traceparent", b"00-1-1-00"),
    ("model", b"adder"), ("model", b"factor"), ("model-version", b"1"), ("model-version", b"3"),
    ("reply_partition", b"2"),
    ("kafka_replyPartition", b"\0\0\0\1"), ("timeout-ms", b"99999999"), ("status", b"x"), ("reply_to", b"results"),
)  # fmt: skip


def _headers(chance: Random) -> Headers:
    if chance.random() < 0.6:
        return []
    return [_header(chance) for _ in range(chance.choice((1, 1, 1, 2, 3, 8)))]


def _header(chance: Random) -> tuple[str, bytes | None]:
    roll = chance.random()
    if roll < 0.5:
        return chance.choice(_GOOD)
    return chance.choice(_NAMES), chance.choice(_VALUES) if roll < 0.95 else chance.randbytes(8)
