"""What every contender that is not ours does with the requests it was given: decode, predict, encode, as by hand.

It imports nothing of ours, for it runs in the contenders' own environments too. The codecs are fastavro, which most
take, and cavro, the fastest there is, each in single-object framing; and msgspec for the JSON of the Open Inference
Protocol.
"""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from types import GenericAlias
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.place import Place

    Floats = np.ndarray[Any, np.dtype[np.float32]]

_PREFIX_BYTES = 10
_SCHEMAS = Path(__file__).parents[2] / "schemas"


class Codec(Protocol):
    """The two records."""

    def decode(self, value: bytes | None) -> tuple[str, bytes]:
        """Return id and data of a single-row request."""
        ...

    def encode(self, id_: str, data: bytes) -> bytes:
        """Return the result of one row of logits."""
        ...


class FastAvro:
    """By fastavro."""

    def __init__(self) -> None:
        import fastavro  # noqa: PLC0415  # the harness reads this module without it

        request, result = _schemas()
        self._request, self._result = (fastavro.parse_schema(json.loads(text)) for text in (request, result))
        self._prefix = _prefix(result)
        self._read: Any = fastavro.schemaless_reader
        self._write: Any = fastavro.schemaless_writer

    def decode(self, value: bytes | None) -> tuple[str, bytes]:
        """See Codec."""
        request = self.read(value)
        return request["id"], request["inputs"][0]["data"]

    def read(self, value: bytes | None) -> dict[str, Any]:
        """Return all of a request."""
        buffer = io.BytesIO(value or b"")
        buffer.seek(_PREFIX_BYTES)
        request: dict[str, Any] = self._read(buffer, self._request, None)
        return request

    def encode(self, id_: str, data: bytes) -> bytes:
        """See Codec."""
        buffer = io.BytesIO()
        buffer.write(self._prefix)
        output = {"name": "logits", "datatype": "FP32", "shape": [1, len(data) // 4], "data": data}
        self._write(buffer, self._result, {"id": id_, "servable": "mlp", "version": 1, "outputs": [output]})
        return buffer.getvalue()


class CAvro:
    """By cavro."""

    def __init__(self) -> None:
        import cavro  # noqa: PLC0415  # likewise

        request, result = _schemas()
        self._prefix = _prefix(result)
        self._read: Any = cavro.Schema(request).binary_decode
        self._write: Any = cavro.Schema(result).binary_encode

    def decode(self, value: bytes | None) -> tuple[str, bytes]:
        """See Codec."""
        request = self._read((value or b"")[_PREFIX_BYTES:])
        return request.id, request.inputs[0].data

    def encode(self, id_: str, data: bytes) -> bytes:
        """See Codec."""
        output = {"name": "logits", "datatype": "FP32", "shape": [1, len(data) // 4], "data": data}
        body: bytes = self._write({"id": id_, "servable": "mlp", "version": 1, "outputs": [output]})
        return self._prefix + body


class V2Json:
    """By msgspec, told the types of all fields."""

    def __init__(self) -> None:
        import msgspec  # noqa: PLC0415  # likewise

        fields = [("name", str), ("shape", list[int]), ("datatype", str), ("data", list[float])]
        tensors = GenericAlias(list, msgspec.defstruct("Tensor", fields))
        request = msgspec.defstruct("Request", [("id", str), ("inputs", tensors)])
        self._read: Any = msgspec.json.Decoder(request).decode
        self._write: Any = msgspec.json.Encoder().encode

    def decode(self, value: bytes | None) -> tuple[str, bytes]:
        """See Codec."""
        request = self._read(value or b"")
        return request.id, struct.pack("<64f", *request.inputs[0].data)

    def encode(self, id_: str, data: bytes) -> bytes:
        """See Codec."""
        logits = struct.unpack("<10f", data)
        output = {"name": "logits", "datatype": "FP32", "shape": [1, 10], "data": logits}
        result: bytes = self._write({"id": id_, "model_name": "mlp", "model_version": "1", "outputs": [output]})
        return result


CODECS: dict[str, Callable[[], Codec]] = {"fastavro": FastAvro, "cavro": CAvro, "v2-json": V2Json}


class Work:
    """Requests to results, both as bytes, in one batch."""

    def __init__(self, settings: dict[str, Any]) -> None:
        """``settings``: what ``settings_for`` returned."""
        self.codec = CODECS[settings["codec"]]()
        self.predict = load_model(settings["model"], settings["openvino"])

    def __call__(self, values: Sequence[bytes | None]) -> list[bytes]:
        """Return the result of each request, in their order."""
        return answer(self.codec, self.predict, [self.codec.decode(value) for value in values])


def answer(codec: Codec, predict: Callable[[Floats], Floats], requests: Sequence[tuple[str, bytes]]) -> list[bytes]:
    """Return the result of each request, (id, data), computed in one call."""
    rows = np.frombuffer(b"".join([data for _, data in requests]), "<f4").reshape(-1, 64)
    logits = predict(rows).tobytes()
    encode = codec.encode
    return [encode(id_, logits[40 * number : 40 * number + 40]) for number, (id_, _) in enumerate(requests)]


def load_model(path: str, properties: dict[str, Any]) -> Callable[[Floats], Floats]:
    """Return rows -> logits on the CPU."""
    import openvino  # noqa: PLC0415  # likewise

    request = openvino.Core().compile_model(path, "CPU", properties).create_infer_request()

    def predict(rows: Floats) -> Floats:
        # Shared with OpenVINO, not copied: the outputs are used up before the next call.
        outputs: Floats = request.infer([rows], share_inputs=True, share_outputs=True)[0]
        return outputs

    return predict


def settings_for(place: Place, codec: str = "fastavro") -> dict[str, Any]:
    """Return what the process of a contender is told; for the harness only."""
    from benchmarks import model  # noqa: PLC0415  # the contenders import nothing of ours

    return {
        "bootstrap": place.bootstrap,
        "group": place.group,
        "requests": place.requests,
        "results": place.results,
        "partitions": place.partitions,
        "folder": str(place.folder),
        "model": str(place.models / "1" / "model.xml"),
        "openvino": model.OPENVINO,
        "codec": codec,
    }


def _schemas() -> tuple[str, str]:
    return tuple((_SCHEMAS / f"{name}.avsc").read_text("utf-8") for name in ("PredictRequest", "PredictResult"))  # type: ignore[return-value]  # two


def _prefix(schema: str) -> bytes:
    import avro.schema  # noqa: PLC0415  # likewise

    return b"\xc3\x01" + bytes(avro.schema.parse(schema).fingerprint("CRC-64-AVRO"))
