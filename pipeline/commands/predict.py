"""``penstock predict``: one request, one answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import options, output
from pipeline.commands.brokers import as_mapping, broker_of, check_route
from pipeline.commands.examples import CommandWithExamples
from pipeline.errors import InvalidSettings, RemoteError, TimedOut

if TYPE_CHECKING:
    from pathlib import Path

    from pipeline.client import RequestOptions
    from pipeline.records import PredictResult
    from pipeline.settings import Settings
    from pipeline.tensors import Tensor


@click.command(
    cls=CommandWithExamples,
    short_help="Send one request, and print the answer.",
    examples=(
        "penstock predict digits @image.npy",
        "penstock predict digits '{\"pixels\": [[0, 1, 2]]}' --version 3",
        'penstock predict lookup \'{"key": ["a", "b"]}\' --json',
        'penstock predict ranker \'{"ids": [[7]], "x": [[0.5]]}\' --datatype ids=INT64',
    ),
)
@click.argument("route")
@click.argument("input", metavar="INPUT")
@options.settings_options
@click.option("--servable", default="", help="Who shall answer, instead of the route's servable.")
@click.option("--version", type=click.IntRange(0), help="One exact version, instead of the latest that is available.")
@click.option("--label", help="The version that has this label.")
@click.option("--signature", default="", help="Signature of the servable, instead of serving_default.")
@click.option("--topic", default="", help="Request topic, where that of the route is a pattern.")
@click.option("--format", "format_", default="avro", show_default=True, help="Of the request, and so of its answer.")
@click.option(
    "--datatype",
    "datatypes",
    multiple=True,
    metavar="[TENSOR=]DATATYPE",
    help="What the numbers of JSON become, for one tensor or for all; may be repeated.  [default: FP32]",
)
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, min_open=True),
    default=5.0,
    show_default=True,
    help="Seconds to wait.",
)
@options.json_option
def predict(
    route: str,
    input: str,  # noqa: A002  # the word of the command line
    config: Path | None,
    bootstrap: str | None,
    servable: str,
    version: int | None,
    label: str | None,
    signature: str,
    topic: str,
    format_: str,
    datatypes: tuple[str, ...],
    timeout_s: float,
    as_json: bool,
) -> None:
    """Send one request to ROUTE, and print the answer.

    INPUT is JSON, the path of a JSON, .npy or .npz file (a leading @ is allowed), or - for stdin. JSON is an object of
    tensors by name, or one tensor (a list) for a servable with one input. JSON does not tell 1 from 1.0, so its
    numbers all become FP32; --datatype says otherwise. Text becomes BYTES, true and false BOOL. A whole request is
    understood too: {"instances": [...]}, {"inputs": {...}}, or the Open Inference Protocol's.
    """
    if version is not None and label is not None:
        raise click.UsageError("--version and --label exclude each other")
    settings = options.load(config, bootstrap)
    request: RequestOptions = {"servable": servable, "version": version, "label": label, "signature": signature}
    result = _ask(settings, route, topic, format_, _read(input, datatypes), request, timeout_s)
    if result.error is not None:
        error = result.error
        raise RemoteError(result.id, error.code, error.message + _hint(error.code), error.retriable)
    if as_json:
        output.print_json(_as_dict(result))
    else:
        _print(result)


def _read(text: str, datatypes: tuple[str, ...]) -> Any:
    from pipeline.commands import predict_input

    return predict_input.tensors(predict_input.read(text), predict_input.parse_datatypes(datatypes))


def _ask(
    settings: Settings,
    route: str,
    topic: str,
    format_: str,
    data: Any,
    request: RequestOptions,
    timeout_s: float,
) -> PredictResult:
    from pipeline.client import InputQueue, OutputQueue

    check_route(settings, route)
    place = broker_of(settings, route)
    place["connect_timeout_s"] = timeout_s
    place["schema_registry"] = as_mapping(settings.schema_registry)
    if route in settings.routes:
        at = settings.routes[route]
        topic = topic or at.request_topic
        if not at.reads(topic):
            reason = f"{topic!r} is not one that route {route!r} reads, {at.request_topic!r}; name one with --topic"
            raise InvalidSettings("--topic", reason)
        place["request_topic"], place["result_topic"] = topic, at.results_of(topic)
    elif topic:
        raise InvalidSettings("--topic", f"route {route!r} is not in the settings")
    deadline = time.monotonic() + timeout_s
    with OutputQueue(route, **place) as results, InputQueue(route, format=format_, **place) as requests:
        left_s = max(0.0, deadline - time.monotonic())
        request["deadline_ms"] = int((time.time() + left_s) * 1000)
        id_ = requests.send(data, **request)
        try:
            return results.result(id_, timeout=left_s)
        except TimedOut as error:
            raise TimedOut(error.what, timeout_s) from error


def _hint(code: str) -> str:
    return "; numbers of JSON are FP32 unless --datatype says otherwise" if code == "wrong_datatype" else ""


def _as_dict(result: PredictResult) -> dict[str, Any]:
    return {
        "id": result.id,
        "servable": result.servable,
        "version": result.version,
        "outputs": {tensor.name: _values(tensor) for tensor in result.outputs},
        "datatypes": {tensor.name: tensor.datatype for tensor in result.outputs},
        "queue_us": result.queue_us,
        "compute_us": result.compute_us,
    }


def _values(tensor: Tensor) -> Any:
    """Nested lists; bytes as text where they are UTF-8, else as {"b64": ...}, which the client reads too."""
    values = tensor.array().tolist()
    return _texts(values) if tensor.datatype == "BYTES" else values


def _texts(values: Any) -> Any:
    return [_texts(value) for value in values] if isinstance(values, list) else output.bytes_value(values)


def _print(result: PredictResult) -> None:
    import numpy as np

    click.echo(f"{result.servable}/{result.version}  ({result.id}, computed in {result.compute_us / 1000:.1f} ms)")
    with np.printoptions(precision=6, suppress=True):
        for tensor in result.outputs:
            values = tensor.array() if tensor.datatype != "BYTES" else np.array(_values(tensor), object)
            click.echo(f"{tensor.name or 'output'}  {tensor.datatype} {list(tensor.shape)}\n{values}")
