"""From what a caller gives to a PredictRequest. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal, TypedDict

import msgspec
import numpy as np

from pipeline.client.values import tensor_of, tensors_of
from pipeline.codecs.codec import Limits
from pipeline.codecs.v2_json import V2JsonCodec
from pipeline.errors import Undecodable
from pipeline.records import PredictRequest

# What a request may be given as; see ``parse``.
RequestData = Mapping[str, Any] | np.ndarray[Any, Any] | Sequence[Any] | str | float


class RequestOptions(TypedDict, total=False):
    """What may be said about a request besides its tensors; every one is optional.

    ``version`` or ``label`` of the servable, ``signature`` (default: serving_default), ``servable`` (default: the
    queue's, else the route's); ``deadline_ms``: milliseconds since the Unix epoch, after which it is not computed any
    more; ``key``: requests of one key stay in order (default: the id); ``headers``: repeated on the result,
    ``traceparent`` for instance; ``parameters``: text for the servable. ``replies``: ``here`` (default), or ``stored``:
    the result goes where the route has its results, for other processes to find (``predict`` always hears it here).
    """

    version: int | None
    label: str | None
    signature: str
    servable: str
    deadline_ms: int | None
    key: str | bytes | None
    headers: Mapping[str, str | bytes] | Iterable[tuple[str, str | bytes]]
    parameters: Mapping[str, str]
    replies: Literal["here", "stored"]


_IN_BODY: Final = ("version", "label", "signature", "servable", "deadline_ms")
# What an option may be, where it is not None.
_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "version": (int, np.integer),
    "label": (str,),
    "signature": (str,),
    "servable": (str,),
    "deadline_ms": (int, np.integer),
    "key": (str, bytes),
    "headers": (Mapping, Iterable),
    "parameters": (Mapping,),
    "replies": (str,),
}


def parse(data: RequestData) -> PredictRequest:
    """Return a request, still without an id, from what ``predict`` and ``send`` take.

    A mapping: tensor name to value. Text: JSON, either ``{"instances": [...]}`` (each instance one row; an object by
    tensor name, anything else the one unnamed tensor), ``{"inputs": {name: value}}``, or an Open Inference Protocol
    request. Anything else is one tensor with an empty name, which fits a signature with a single input.

    Raises TypeError for a value that is no tensor, Undecodable for text that is none of these.
    """
    if isinstance(data, Mapping):
        return PredictRequest("", inputs=tensors_of(data))
    if isinstance(data, str):
        return _from_json(data)
    return PredictRequest("", inputs=(tensor_of("", data),))


def complete(request: PredictRequest, id_: str, servable: str, options: RequestOptions) -> PredictRequest:
    """Return the request with its id, and with what ``options`` say; ``servable`` where nothing names one.

    Raises TypeError for an option that there is not, or that is of another type.
    """
    named: Mapping[str, Any] = options
    if named:
        _check(named)
    changes = {field: named[field] for field in _IN_BODY if named.get(field)}
    if "deadline_ms" in changes:
        changes["deadline_ms"] = int(changes["deadline_ms"])
    version = named.get("version")
    if version is not None or named.get("label"):  # one of them decides, and replaces both
        changes |= {"version": None if version is None else int(version), "label": named.get("label")}
    if named.get("parameters"):
        changes["parameters"] = {**request.parameters, **named["parameters"]}
    servable = options.get("servable") or request.servable or servable
    return msgspec.structs.replace(request, **{**changes, "id": id_, "servable": servable})


def _check(options: Mapping[str, Any]) -> None:
    for name, value in options.items():
        kinds = _KINDS.get(name)
        if kinds is None:
            raise TypeError(f"a request has no option {name!r}, only {', '.join(_KINDS)}")
        if value is not None and (not isinstance(value, kinds) or isinstance(value, bool)):
            raise TypeError(f"option {name}: expected {' or '.join(kind.__name__ for kind in kinds)}, got {value!r}")
    for name, text in (options.get("parameters") or {}).items():
        if not isinstance(name, str) or not isinstance(text, str):
            raise TypeError(f"option parameters: expected text by name, got {name!r}: {text!r}")
    if options.get("replies") not in (None, "here", "stored"):
        raise TypeError(f"option replies: expected 'here' or 'stored', got {options['replies']!r}")


def headers_of(options: RequestOptions) -> list[tuple[str, str | bytes]]:
    """Return the caller's own headers as a list."""
    headers = options.get("headers") or ()
    return list(headers.items() if isinstance(headers, Mapping) else headers)


def _from_json(text: str) -> PredictRequest:
    try:
        body = msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise Undecodable(
            f"text is read as JSON, which this is not: {error}; for a tensor of text, give a list"
        ) from error
    if isinstance(body, dict):
        if isinstance(body.get("instances"), list):
            return PredictRequest("", inputs=tensors_of(_columns(body["instances"])))
        if isinstance(body.get("inputs"), dict):
            return PredictRequest("", inputs=tensors_of(body["inputs"]))
        if "inputs" in body:
            data = text.encode()
            return V2JsonCodec().decode_request(data, Limits(max_record_bytes=len(data), max_tensors=2**31))
    raise Undecodable('JSON of a request has "instances" (a list) or "inputs"; see the Open Inference Protocol')


def _columns(instances: list[Any]) -> dict[str, list[Any]]:
    if not instances or not isinstance(instances[0], dict) or set(instances[0]) == {"b64"}:
        return {"": instances}
    names = list(instances[0])
    for instance in instances:
        if not isinstance(instance, dict) or set(instance) != set(names):
            raise Undecodable(f"every instance must have the names of the first ({', '.join(names)}), got {instance!r}")
    return {name: [instance[name] for instance in instances] for name in names}
