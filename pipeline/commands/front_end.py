"""``penstock front-end``: answer the HTTP clients of Cluster Serving."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pipeline.commands import options
from pipeline.commands.brokers import broker_of
from pipeline.commands.examples import CommandWithExamples
from pipeline.errors import InvalidSettings

if TYPE_CHECKING:
    from pipeline.settings import RouteSettings, Settings

# Of Kafka's client, where nothing else is set; and what a record needs besides its value.
_KAFKA_BYTES: Final = 1_000_000
_AROUND_BYTES: Final = 4096


@click.command(
    cls=CommandWithExamples,
    short_help="Answer the HTTP clients of Cluster Serving.",
    examples=("penstock front-end --host 0.0.0.0", "penstock front-end --cluster-serving config.yaml --port 8080"),
)
@click.argument("route", default="")
@options.settings_options
@click.option(
    "--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen; 0.0.0.0 is everywhere."
)
@click.option("--port", type=click.IntRange(1, 65535), default=10020, show_default=True, help="Port to listen on.")
@click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, min_open=True),
    default=10.0,
    show_default=True,
    help="Seconds until a request is answered with 504.",
)
@click.option(
    "--max-in-flight",
    type=click.IntRange(1),
    default=1000,
    show_default=True,
    help="How many instances wait for their answers at once; more are refused.",
)
@click.option(
    "--cluster-serving",
    "job_file",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    metavar="FILE",
    help="Answer for the job of a config.yaml of Cluster Serving; the settings file is used beside it.",
)
@options.log_level_option
def front_end(
    route: str,
    config: Path | None,
    bootstrap: str | None,
    host: str,
    port: int,
    timeout_s: float,
    max_in_flight: int,
    job_file: Path | None,
    log_level: str,
) -> None:
    """Answer POST /predict for ROUTE, as the HTTP front end of Cluster Serving did.

    ROUTE has format: cluster-serving; it may be left out where only one has. Its workers answer: this process sends
    them requests over the broker, and waits. Runs until SIGTERM or Ctrl-C, then finishes what it has begun.
    """
    options.log_to_stderr(log_level)
    settings = options.load(config, bootstrap, {} if job_file is None else _job(job_file))
    name = route or _only(settings)
    at = _checked(settings, name)
    from pipeline.front_end import server
    from pipeline.front_end.job_queue import JobQueue
    from pipeline.front_end.pages import Limits

    broker = broker_of(settings, name)
    broker["request_topic"], broker["result_topic"] = at.request_topic, at.result_topic
    broker["connect_timeout_s"] = min(timeout_s, 5.0)
    queue = JobQueue(name, _most_record_bytes(settings, at), **broker)
    limits = Limits(at.max_record_bytes, timeout_s, max_in_flight, at.max_in_flight_bytes)
    server.run(
        queue, limits, host, port, lambda url: click.echo(f"{url}/predict asks {name} at {queue.place}", err=True)
    )


def _job(file: Path) -> dict[str, Any]:
    """Return the settings that a config.yaml stands for; its model may be on another machine."""
    from pipeline.commands import cluster_serving_config

    found = cluster_serving_config.read(file)
    return {**found.tree, "servables": {found.job: {"base_path": found.model_path}}}


def _only(settings: Settings) -> str:
    from pipeline.settings.cluster_serving import FORMAT

    jobs = [name for name, route in settings.routes.items() if route.format == FORMAT]
    if len(jobs) != 1:
        found = f"{', '.join(jobs)} have it: name one" if jobs else "there is none"
        raise InvalidSettings("ROUTE", f"expected one route with format: {FORMAT}; {found}")
    return jobs[0]


def _checked(settings: Settings, name: str) -> RouteSettings:
    from pipeline.settings.cluster_serving import FORMAT

    at = settings.routes.get(name)
    if at is None:
        raise InvalidSettings("ROUTE", f"{name!r} is not among the routes: {', '.join(settings.routes)}")
    if at.format != FORMAT:
        raise InvalidSettings(f"routes.{name}", f"its requests have another format; it needs format: {FORMAT}")
    if at.is_pattern or at.connector not in ("kafka", "redis"):
        reason = "a front end asks one topic of Kafka, or one stream of Redis; name such a route"
        raise InvalidSettings(f"routes.{name}", reason)
    return at


def _most_record_bytes(settings: Settings, at: RouteSettings) -> int:
    if at.connector == "redis":
        return at.max_record_bytes
    most = int(settings.kafka.get("message.max.bytes", _KAFKA_BYTES))
    return max(1, min(at.max_record_bytes, most - _AROUND_BYTES))
