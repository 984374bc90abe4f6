"""Settings: ``penstock.yaml`` and ``PENSTOCK_*`` variables, checked once, then frozen. Units are in the names.

``load`` is the only way in. Every mistake is an InvalidSettings that names the place. docs/settings.md describes each
field; a test compares the two.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from pipeline.errors import InvalidSettings

FILE_NAME: Final = "penstock.yaml"
_PREFIX: Final = "PENSTOCK_"
# A topic's name as Kafka allows it; also what a route, stream, worker or group may be called.
_NAME: Final = re.compile(r"[a-zA-Z0-9._-]{1,200}")
HIGHEST_NICENESS: Final = 19

Scalar = str | int | float | bool


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all sections: immutable, and a misspelt key is an error."""


class VersionPolicy(Section, frozen=True):
    """Which of the versions found in storage are aspired: the latest N, all, or exactly the listed ones."""

    latest: int = 1
    all: bool = False
    specific: tuple[int, ...] | None = None


class WarmUpSettings(Section, frozen=True):
    """What the requests in a version's ``warm-up.avro`` decide; a golden one that fails always fails the version."""

    on_error: str = "fail"
    required: bool = False


class BatchingSettings(Section, frozen=True):
    """How requests are joined into calls of a servable; docs/batching.md. 0 for ``max_rows`` is no limit."""

    allowed_batch_sizes: tuple[int, ...] = ()
    max_rows: int = 0
    unbatched: tuple[str, ...] = ()
    axes: dict[str, tuple[str, ...]] = {}
    variable_length: str = "group"
    pad_value: Scalar | dict[str, Scalar] = 0
    pad_to_multiple_of: int = 1
    mask: str = ""


class StreamSettings(Section, frozen=True):
    """One servable stream: where its versions lie, and how they are loaded.

    A ``storage`` that is left empty is ``fsspec`` where the base path is a URI, else ``file``. ``processes`` and
    ``predict_timeout_s`` count where ``isolation`` is ``process``.
    """

    base_path: str
    storage: str = ""
    kind: str | None = None
    options: dict[str, Any] = {}
    versions: VersionPolicy = VersionPolicy()
    complete_when: str = "quiet"
    marker: str = "_SUCCESS"
    manifest: str = "SHA256SUMS"
    quiet_period_s: float | None = None
    poll_interval_s: float | None = None
    keep_last: bool = False
    transition: str = "availability_preserving"
    on_change: str = "report"
    isolation: str = "thread"
    processes: int = 1
    predict_timeout_s: float = 60.0
    warm_up: WarmUpSettings = WarmUpSettings()
    batching: BatchingSettings = BatchingSettings()


class RouteSettings(Section, frozen=True):
    """One route: a request topic, the servable that answers, and a result topic, with its limits.

    Names that are left empty follow the route's name: ``<route>.requests``, ``<route>.results``,
    ``<route>.requests-dlt``, group ``penstock.<route>``, and the servable of the route's own name.
    """

    connector: str = "kafka"
    servable: str = ""
    request_topic: str = ""
    result_topic: str = ""
    dead_letter_topic: str = ""
    group: str = ""
    format: str = ""
    reply_topics: tuple[str, ...] = ()
    max_batch_size: int = 512
    max_wait_ms: float = 0.0
    max_record_bytes: int = 16 * 1024 * 1024
    max_result_bytes: int = 1_000_000
    max_tensors: int = 64
    max_batches_in_flight: int = 4
    commit_interval_ms: int = 50


class ControlSettings(Section, frozen=True):
    """The topics by which versions roll out and states are shown."""

    aspired_topic: str = "penstock.aspired-versions"
    states_topic: str = "penstock.servable-states"


class WatchSettings(Section, frozen=True):
    """The storage path source."""

    in_worker: bool = False
    poll_interval_s: float = 0.25
    quiet_period_s: float = 0.5
    halt_on_failure: bool = False
    notify: str = "auto"
    missing_base_path: str = "wait"
    await_versions_s: float = 0.0


class WorkerSettings(Section, frozen=True):
    """One worker process. An empty ``id`` becomes host name and web port, which differ for workers on one host."""

    id: str = ""
    web_host: str = "127.0.0.1"
    web_port: int = 6066
    compute_threads: int = 2
    load_threads: int = 2
    load_niceness: int = 10
    drain_timeout_s: float = 20.0
    storage_roots: tuple[str, ...] = ()
    cache_dir: str = ""
    cache_limit_bytes: int = 20 * 1024**3
    max_load_retries: int = 2
    load_retry_interval_s: float = 1.0
    retry_failed_after_s: float = 60.0
    memory_limit_bytes: int = 0
    when_memory_is_short: str = "wait"
    heartbeat_interval_s: float = 5.0


class Settings(Section, frozen=True):
    """All of it. ``kafka`` holds librdkafka properties and is passed through as it is."""

    kafka: dict[str, Scalar] = {}
    control: ControlSettings = ControlSettings()
    watch: WatchSettings = WatchSettings()
    worker: WorkerSettings = WorkerSettings()
    servables: dict[str, StreamSettings] = {}
    routes: dict[str, RouteSettings] = {}

    @property
    def bootstrap(self) -> str:
        """The Kafka address."""
        return str(self.kafka.get("bootstrap.servers", "localhost:9092"))

    @property
    def storage_roots(self) -> tuple[str, ...]:
        """Directories below which every version must lie: those that are set, else the base paths."""
        return self.worker.storage_roots or tuple(stream.base_path for stream in self.servables.values())


def load(
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> Settings:
    """Return checked settings from a file, then the environment, then ``overrides`` (nested, as in the file).

    The file is ``path``, else what PENSTOCK_CONFIG names, else ``penstock.yaml`` in the working directory where there
    is one. Variables: PENSTOCK_BOOTSTRAP, and PENSTOCK_<SECTION>__<KEY> with a YAML value, for instance
    ``PENSTOCK_WORKER__WEB_PORT=6067`` or ``PENSTOCK_KAFKA__SECURITY_PROTOCOL=SASL_SSL`` (an underscore is a dot there).
    Relative base paths are taken from the file's directory. Raises InvalidSettings.
    """
    environ = environ or {}
    source = file_of(path, environ)
    tree: dict[str, Any] = {}
    if path is not None or environ.get("PENSTOCK_CONFIG") or source.exists():
        tree = _read(source)
    _merge(tree, _from_environ(environ), "environment")
    _merge(tree, overrides or {}, "arguments")
    try:
        settings = msgspec.convert(tree, Settings)
    except msgspec.ValidationError as error:
        raise InvalidSettings(str(source), str(error)) from error
    return _complete(settings, source)


def file_of(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Path:
    """Return the file that ``load`` reads for the same arguments."""
    return path or Path((environ or {}).get("PENSTOCK_CONFIG") or FILE_NAME)


def to_text(settings: Settings) -> str:
    """Return settings as YAML that ``load`` reads; secrets included, so for files that stay private."""
    return yaml.safe_dump(msgspec.to_builtins(settings), sort_keys=False)


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InvalidSettings(str(path), f"can not be read: {error}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        raise InvalidSettings(str(path), f"expected sections such as 'routes:', got {type(tree).__name__}")
    return tree


def _from_environ(environ: Mapping[str, str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for variable in sorted(environ):
        if not variable.startswith(_PREFIX):
            continue
        section, _, key = variable.removeprefix(_PREFIX).partition("__")
        section = section.lower()
        if section == "bootstrap" and not key:
            tree.setdefault("kafka", {})["bootstrap.servers"] = environ[variable]
        elif key:
            name = key.lower().replace("_", ".") if section == "kafka" else key.lower()
            try:
                value = yaml.safe_load(environ[variable])
            except yaml.YAMLError as error:
                raise InvalidSettings(variable, f"not a YAML value: {error}") from error
            tree.setdefault(section, {})[name] = value
    return tree


def _merge(tree: dict[str, Any], other: Mapping[str, Any], where: str) -> None:
    for key, value in other.items():
        if isinstance(value, Mapping):
            branch = tree.setdefault(key, {})
            if not isinstance(branch, dict):
                raise InvalidSettings(where, f"{key} is a section, got {branch!r} in the file")
            _merge(branch, value, f"{where}: {key}")
        else:
            tree[key] = value


def _complete(settings: Settings, source: Path) -> Settings:
    base = source.resolve().parent
    servables = {
        name: msgspec.structs.replace(
            stream,
            base_path=_absolute(stream.base_path, base),
            storage=stream.storage or ("fsspec" if "://" in stream.base_path else "file"),
        )
        for name, stream in settings.servables.items()
    }
    routes = {name: _complete_route(name, route) for name, route in settings.routes.items()}
    worker = settings.worker
    worker = msgspec.structs.replace(
        worker,
        storage_roots=tuple(_absolute(root, base) for root in worker.storage_roots),
        cache_dir=_absolute(worker.cache_dir, base) if worker.cache_dir else "",
    )
    complete = msgspec.structs.replace(settings, servables=servables, routes=routes, worker=worker)
    _check(complete, str(source))
    return complete


def _complete_route(name: str, route: RouteSettings) -> RouteSettings:
    requests = route.request_topic or f"{name}.requests"
    return msgspec.structs.replace(
        route,
        servable=route.servable or name,
        request_topic=requests,
        result_topic=route.result_topic or f"{name}.results",
        dead_letter_topic=route.dead_letter_topic or f"{requests}-dlt",
        group=route.group or f"penstock.{name}",
    )


def _absolute(path: str, base: Path) -> str:
    return path if "://" in path else str(base / Path(path).expanduser())


def _check(settings: Settings, where: str) -> None:
    names = [*settings.routes, *settings.servables, settings.worker.id or "worker"]
    names += [settings.control.aspired_topic, settings.control.states_topic]
    requests = {route.request_topic: name for name, route in settings.routes.items()}
    for name, route in settings.routes.items():
        names += [route.request_topic, route.result_topic, route.dead_letter_topic, route.group]
        _check_route(name, route, settings, requests, where)
    for name in names:
        if not _NAME.fullmatch(name):
            raise InvalidSettings(where, f"{name!r} is not a name; use letters, digits, '.', '_' and '-'")
    _check_worker(settings.worker, where)
    for name, stream in settings.servables.items():
        if stream.transition not in ("availability_preserving", "resource_preserving"):
            reason = f"{stream.transition!r} is not availability_preserving or resource_preserving"
            raise InvalidSettings(f"{where}: servables.{name}.transition", reason)
        if stream.on_change not in ("report", "reload"):
            reason = f"{stream.on_change!r} is not report or reload"
            raise InvalidSettings(f"{where}: servables.{name}.on_change", reason)
        if stream.warm_up.on_error not in ("fail", "ignore"):
            reason = f"{stream.warm_up.on_error!r} is not fail or ignore"
            raise InvalidSettings(f"{where}: servables.{name}.warm_up.on_error", reason)
        if stream.versions.latest < 1:
            raise InvalidSettings(f"{where}: servables.{name}.versions.latest", "must be at least 1")
        _check_storage(stream, f"{where}: servables.{name}")
        _check_batching(stream.batching, f"{where}: servables.{name}.batching")
        _check_isolation(stream, f"{where}: servables.{name}")
    _check_watch(settings.watch, f"{where}: watch")


def _check_storage(stream: StreamSettings, place: str) -> None:
    if stream.complete_when not in ("quiet", "marker", "manifest"):
        raise InvalidSettings(f"{place}.complete_when", f"{stream.complete_when!r} is not quiet, marker or manifest")
    for field in ("marker", "manifest"):
        name = getattr(stream, field)
        if not name or "/" in name or name in (".", ".."):
            raise InvalidSettings(f"{place}.{field}", f"{name!r} is not the name of a file in a version directory")
    _check_intervals(stream.quiet_period_s, stream.poll_interval_s, place)
    for version in stream.versions.specific or ():
        if not 0 <= version < 2**63:
            raise InvalidSettings(f"{place}.versions.specific", f"{version} is not a version; from 0 to 2^63 - 1")


def _check_batching(batching: BatchingSettings, place: str) -> None:
    sizes = batching.allowed_batch_sizes
    if any(size < 1 for size in sizes) or any(one >= next_ for one, next_ in itertools.pairwise(sizes)):
        raise InvalidSettings(f"{place}.allowed_batch_sizes", f"{list(sizes)} do not increase from 1 or more")
    if batching.max_rows < 0:
        raise InvalidSettings(f"{place}.max_rows", f"must not be negative, got {batching.max_rows}")
    if sizes and 0 < batching.max_rows < sizes[-1]:
        reason = f"{sizes[-1]} is more than max_rows, which is {batching.max_rows}; leave one of them out"
        raise InvalidSettings(f"{place}.allowed_batch_sizes", reason)
    if batching.variable_length not in ("group", "pad"):
        raise InvalidSettings(f"{place}.variable_length", f"{batching.variable_length!r} is not group or pad")
    if batching.pad_to_multiple_of < 1:
        raise InvalidSettings(f"{place}.pad_to_multiple_of", f"must be at least 1, got {batching.pad_to_multiple_of}")
    if batching.variable_length != "pad":
        for field in ("pad_to_multiple_of", "pad_value"):
            if getattr(batching, field) != getattr(BatchingSettings(), field):
                raise InvalidSettings(f"{place}.{field}", "has no effect without variable_length: pad; set that, too")


def _check_isolation(stream: StreamSettings, place: str) -> None:
    if stream.isolation not in ("thread", "process"):
        raise InvalidSettings(f"{place}.isolation", f"{stream.isolation!r} is not thread or process")
    if stream.processes < 0:
        raise InvalidSettings(f"{place}.processes", f"must not be negative, got {stream.processes}; 0 is one per core")
    if stream.predict_timeout_s <= 0:
        raise InvalidSettings(f"{place}.predict_timeout_s", f"must be above 0, got {stream.predict_timeout_s:g}")


def _check_watch(watch: WatchSettings, place: str) -> None:
    if watch.notify not in ("auto", "poll"):
        raise InvalidSettings(f"{place}.notify", f"{watch.notify!r} is not auto or poll")
    if watch.missing_base_path not in ("wait", "error"):
        raise InvalidSettings(f"{place}.missing_base_path", f"{watch.missing_base_path!r} is not wait or error")
    if watch.await_versions_s < 0:
        raise InvalidSettings(f"{place}.await_versions_s", "must not be negative")
    _check_intervals(watch.quiet_period_s, watch.poll_interval_s, place)


def _check_intervals(quiet_period_s: float | None, poll_interval_s: float | None, place: str) -> None:
    if quiet_period_s is not None and quiet_period_s < 0:
        raise InvalidSettings(f"{place}.quiet_period_s", f"must not be negative, got {quiet_period_s:g}")
    if poll_interval_s is not None and poll_interval_s <= 0:
        raise InvalidSettings(f"{place}.poll_interval_s", f"must be above 0, got {poll_interval_s:g}")


def _check_worker(worker: WorkerSettings, where: str) -> None:
    place = f"{where}: worker"
    if worker.when_memory_is_short not in ("wait", "refuse"):
        reason = f"{worker.when_memory_is_short!r} is not wait or refuse"
        raise InvalidSettings(f"{place}.when_memory_is_short", reason)
    for field in (
        "max_load_retries",
        "load_retry_interval_s",
        "retry_failed_after_s",
        "memory_limit_bytes",
        "cache_limit_bytes",
    ):
        if getattr(worker, field) < 0:
            raise InvalidSettings(f"{place}.{field}", f"must not be negative, got {getattr(worker, field)}")
    if not 0 <= worker.load_niceness <= HIGHEST_NICENESS:
        reason = f"must be from 0 to {HIGHEST_NICENESS}, got {worker.load_niceness}"
        raise InvalidSettings(f"{place}.load_niceness", reason)
    if worker.heartbeat_interval_s <= 0:
        raise InvalidSettings(f"{place}.heartbeat_interval_s", f"must be above 0, got {worker.heartbeat_interval_s:g}")


def _check_route(name: str, route: RouteSettings, settings: Settings, requests: Mapping[str, str], where: str) -> None:
    place = f"{where}: routes.{name}"
    if route.servable not in settings.servables:
        known = ", ".join(settings.servables) or "none"
        raise InvalidSettings(place, f"servable {route.servable!r} is not among the servables ({known})")
    if requests[route.request_topic] != name:
        raise InvalidSettings(
            place, f"{route.request_topic!r} is the request topic of {requests[route.request_topic]!r} too"
        )
    for topic in (route.result_topic, route.dead_letter_topic):
        if topic in requests:
            raise InvalidSettings(place, f"{topic!r} is a request topic: its results would be read as requests")
    for field in ("max_batch_size", "max_record_bytes", "max_result_bytes", "max_tensors", "max_batches_in_flight"):
        if getattr(route, field) < 1:
            raise InvalidSettings(f"{place}.{field}", f"must be at least 1, got {getattr(route, field)}")
    if route.max_wait_ms < 0 or route.commit_interval_ms < 0:
        raise InvalidSettings(place, "max_wait_ms and commit_interval_ms must not be negative")
