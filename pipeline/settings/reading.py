"""All sections together, and ``load``, the only way in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml

from pipeline.errors import InvalidSettings
from pipeline.redaction import redacted
from pipeline.redis_address import is_redis
from pipeline.settings.redis import RedisSettings, check_redis
from pipeline.settings.references import check_secrets, resolved
from pipeline.settings.routes import RouteSettings, check_framing, check_patterns, check_route, complete_route
from pipeline.settings.schema_registry import SchemaRegistrySettings, check_schema_registry
from pipeline.settings.section import Scalar, Section
from pipeline.settings.streams import StreamSettings, check_stream
from pipeline.settings.topic_names import fill
from pipeline.settings.topics import TopicSettings, check_names, check_topic
from pipeline.settings.watch import ControlSettings, WatchSettings, check_control, check_watch, complete_control
from pipeline.settings.worker import WorkerSettings, check_worker

FILE_NAME: Final = "penstock.yaml"
_PREFIX: Final = "PENSTOCK_"
_REGISTRY_FILES: Final = ("ca_file", "certificate_file", "key_file")
# A topic's name as Kafka allows it; also what a route, stream, worker or group may be called.
_NAME: Final = re.compile(r"[a-zA-Z0-9._-]{1,200}")
# In a cluster of Redis the part in braces says on which node a stream is.
_STREAM: Final = re.compile(r"[a-zA-Z0-9._-]*\{[a-zA-Z0-9._-]+\}[a-zA-Z0-9._-]*")


class Settings(Section, frozen=True):
    """All of it. ``kafka`` holds librdkafka properties and is passed through as it is.

    As text, in logs and in tracebacks, its secrets are hidden.
    """

    kafka: dict[str, Scalar] = msgspec.field(default_factory=dict)
    redis: RedisSettings = RedisSettings()
    control: ControlSettings = ControlSettings()
    watch: WatchSettings = WatchSettings()
    worker: WorkerSettings = WorkerSettings()
    servables: dict[str, StreamSettings] = msgspec.field(default_factory=dict)
    schema_registry: SchemaRegistrySettings = SchemaRegistrySettings()
    routes: dict[str, RouteSettings] = msgspec.field(default_factory=dict)
    topics: dict[str, TopicSettings] = msgspec.field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Settings({redacted(msgspec.to_builtins(self))})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:  # what rich prints instead of the repr
        return list(redacted(msgspec.to_builtins(self)).items())

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
    is one. Variables: PENSTOCK_BOOTSTRAP (an address of Kafka, or a URL of Redis), and PENSTOCK_<SECTION>__<KEY> with a
    YAML value, for instance ``PENSTOCK_WORKER__WEB_PORT=6067`` or ``PENSTOCK_KAFKA__SECURITY_PROTOCOL=SASL_SSL`` (an
    underscore is a dot there). Relative base paths are taken from the file's directory. Raises InvalidSettings.
    """
    environ = environ or {}
    source = file_of(path, environ)
    tree: dict[str, Any] = {}
    if path is not None or environ.get("PENSTOCK_CONFIG") or source.exists():
        tree = _read(source)
    _merge(tree, _from_environ(environ), "environment")
    _merge(tree, overrides or {}, "arguments")
    tree = resolved(tree, environ, source.resolve().parent, f"{source}: ")
    try:
        settings = msgspec.convert(tree, Settings)
    except msgspec.ValidationError as error:
        raise InvalidSettings(str(source), str(error)) from error
    return _complete(settings, source)


def file_of(path: Path | None = None, environ: Mapping[str, str] | None = None) -> Path:
    """Return the file that ``load`` reads for the same arguments."""
    return path or Path((environ or {}).get("PENSTOCK_CONFIG") or FILE_NAME)


def at_address(address: str) -> dict[str, Any]:
    """Return the sections that name a broker by its address: a URL of Redis, or ``host:port`` of Kafka. Pure."""
    if is_redis(address):
        return {"redis": {"url": address}}
    return {"kafka": {"bootstrap.servers": address.removeprefix("kafka://")}}


def to_text(settings: Settings) -> str:
    """Return settings as YAML that ``load`` reads; secrets included, so for files that stay private."""
    return yaml.safe_dump(msgspec.to_builtins(settings), sort_keys=False)


def _read(path: Path) -> dict[str, Any]:
    try:
        tree = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidSettings(str(path), f"can not be read: {error}") from error
    except yaml.YAMLError as error:
        # Not its cause, and not its text: both quote the line, which may hold a password.
        raise InvalidSettings(str(path), f"can not be read: {_problem(error)}") from None
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
            _merge(tree, at_address(environ[variable]), variable)
        elif key:
            name, value = (
                (key.lower().replace("_", "."), environ[variable])  # a password is no YAML: 0123, yes and # are text
                if section == "kafka"
                else (key.lower(), _yaml_value(variable, environ[variable]))
            )
            tree.setdefault(section, {})[name] = value
    return tree


def misspelt(environ: Mapping[str, str]) -> dict[str, str]:
    """Return variables that are ignored for one underscore where there should be two, each with what was meant."""
    found: dict[str, str] = {}
    for section in msgspec.structs.fields(Settings):
        if isinstance(section.type, type) and issubclass(section.type, Section):
            for key in msgspec.structs.fields(section.type):
                wrong, right = (f"{_PREFIX}{section.name}{line}{key.name}".upper() for line in ("_", "__"))
                if wrong in environ:
                    found[wrong] = right
    return found


def _yaml_value(variable: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InvalidSettings(variable, f"not a YAML value: {_problem(error)}") from None  # as in _read


def _problem(error: yaml.YAMLError) -> str:
    """Return what is wrong with a YAML text and where, without a word of the text."""
    mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None)
    if mark is None:
        return f"no valid YAML ({type(error).__name__})"
    # Whole identifiers of the text stand in quotes in some problems.
    problem = re.sub(r"'([^']*)'", lambda found: found[0] if len(found[1]) < 2 else "'...'", str(problem))
    return f"{problem}, line {mark.line + 1}, column {mark.column + 1}"


def _merge(tree: dict[str, Any], other: Mapping[str, Any], where: str) -> None:
    for key, value in other.items():
        if isinstance(value, Mapping):
            branch = tree.setdefault(key, {})
            if not isinstance(branch, dict):
                raise InvalidSettings(where, f"{key} is a section, got {type(branch).__name__} in the file")
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
    routes = {name: complete_route(name, route) for name, route in settings.routes.items()}
    worker = settings.worker
    worker = msgspec.structs.replace(
        worker,
        storage_roots=tuple(_absolute(root, base) for root in worker.storage_roots),
        cache_dir=_absolute(worker.cache_dir, base) if worker.cache_dir else "",
    )
    control = complete_control(
        settings.control, names_kafka="bootstrap.servers" in settings.kafka, names_redis=bool(settings.redis.url)
    )
    registry = settings.schema_registry
    files = {name: _absolute(file, base) for name in _REGISTRY_FILES if (file := getattr(registry, name))}
    complete = msgspec.structs.replace(
        settings,
        control=control,
        servables=servables,
        routes=routes,
        worker=worker,
        schema_registry=msgspec.structs.replace(registry, **files),
    )
    _check(complete, str(source))
    check_secrets(complete.kafka, f"{source}: kafka")
    return complete


def _absolute(path: str, base: Path) -> str:
    return path if "://" in path else str(base / Path(path).expanduser())


def _check(settings: Settings, where: str) -> None:
    names = [*settings.routes, *settings.servables, settings.worker.id or "worker"]
    control = (settings.control.aspired_topic, settings.control.states_topic)
    names += control
    streams = {
        name
        for route in settings.routes.values()
        if route.connector == "redis"
        for name in (route.request_topic, route.result_topic, route.dead_letter_topic)
    }
    requests = {route.request_topic: name for name, route in settings.routes.items()}
    for name, route in settings.routes.items():
        sample = name if route.is_pattern else route.request_topic  # a template is a name when it is filled
        names += [sample, fill(route.result_topic, sample), fill(route.dead_letter_topic, sample), route.group]
        check_route(name, route, settings.servables, requests, f"{where}: routes.{name}")
        check_framing(route, settings.schema_registry, f"{where}: routes.{name}")
    for name in names:
        if not _NAME.fullmatch(name) and not (name in streams and _STREAM.fullmatch(name)):
            raise InvalidSettings(where, f"{name!r} is not a name; use letters, digits, '.', '_' and '-'")
    check_patterns(settings.routes, control, f"{where}: routes")
    for name, topic in settings.topics.items():
        check_topic(topic, f"{where}: topics.{name}", is_control=name in control)
    if not any(route.is_pattern for route in settings.routes.values()):  # else which there are is the broker's to say
        routes = settings.routes.values()
        needed = [name for r in routes for name in (r.request_topic, r.result_topic, r.dead_letter_topic)]
        check_names(settings.topics, [*needed, *control], f"{where}: topics")
    check_redis(settings.redis, f"{where}: redis")
    check_worker(settings.worker, f"{where}: worker")
    for name, stream in settings.servables.items():
        check_stream(stream, f"{where}: servables.{name}")
    check_watch(settings.watch, f"{where}: watch")
    check_control(settings.control, f"{where}: control", names_redis=bool(settings.redis.url))
    check_schema_registry(settings.schema_registry, f"{where}: schema_registry")
