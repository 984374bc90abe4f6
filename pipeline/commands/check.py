"""``penstock check``: is everything in place before anything starts?"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import options, output
from pipeline.commands.examples import CommandWithExamples
from pipeline.errors import (
    AuthenticationFailed,
    ConnectorError,
    InvalidSettings,
    MissingExtra,
    PenstockError,
    PluginError,
    TlsFailed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from pipeline.control.permissions import Permissions
    from pipeline.control.topic_findings import TopicReport
    from pipeline.settings import Settings, StreamSettings


@dataclass(frozen=True)
class Check:
    """One thing that was looked at: ``status`` is ok, note or problem; only a problem counts."""

    status: str
    what: str
    detail: str
    next_step: str = ""


@click.command(
    cls=CommandWithExamples,
    short_help="Look at settings, paths, plugins, broker and topics.",
    examples=("penstock check --config penstock.yaml",),
)
@options.settings_options
@options.json_option
def check(config: Path | None, bootstrap: str | None, as_json: bool) -> None:
    """Check settings, base paths, plugins, the broker and its topics, the schema registry; start and change nothing.

    Exit status 1 where there is a problem.
    """
    checks = list(_all(config, bootstrap))
    if as_json:
        output.print_json(checks)
    else:
        output.print_table(("", "what", "found"), [(item.status, item.what, item.detail) for item in checks])
        output.print_next_steps((item.what, item.next_step) for item in checks)
    if any(item.status == "problem" for item in checks):
        click.get_current_context().exit(1)


def _all(config: Path | None, bootstrap: str | None) -> Iterator[Check]:
    try:
        settings = options.load(config, bootstrap)
    except InvalidSettings as error:
        yield Check("problem", "settings", str(error), "correct it; docs/settings.md describes each field")
        return
    yield _settings(settings)
    yield from _environ()
    for name, stream in settings.servables.items():
        yield _base_path(name, stream)
    yield from _plugins(settings)
    yield from _routes(settings)
    yield from _options(settings)
    if settings.schema_registry.url:
        yield from _schema_registry(settings)
    yield from _kafka(settings)
    yield from _redis(settings)


def _settings(settings: Settings) -> Check:
    found = f"{len(settings.servables)} servables, {len(settings.routes)} routes"
    if settings.routes:
        return Check("ok", "settings", found)
    return Check("note", "settings", found, "add a route: without one, no request is answered")


def _environ() -> Iterator[Check]:
    from pipeline.settings import misspelt

    for wrong, right in misspelt(os.environ).items():
        yield Check(
            "note", wrong, f"it is ignored: the variable would be {right}", "write two underscores behind the section"
        )


def _base_path(name: str, stream: StreamSettings) -> Check:
    what, place = f"servables.{name}", stream.base_path
    if stream.storage == "fsspec":
        return _object_store(what, place)
    if "://" in place:
        return Check("note", what, f"{place} is not on this machine, and was not looked at")
    from pipeline.storage.versions import sort_children

    try:
        versions, _ = sort_children(child.name for child in Path(place).iterdir())
    except FileNotFoundError:
        return Check("problem", what, f"{place} does not exist", f"mkdir -p {place}")
    except OSError as error:
        return Check(
            "problem", what, f"{place}: {error.strerror}", "its children are the versions: give a directory to read"
        )
    return _versions(what, place, versions)


def _object_store(what: str, place: str) -> Check:
    from pipeline.storage.object_folder import ObjectFolder
    from pipeline.storage.versions import sort_children

    try:
        versions, _ = sort_children(ObjectFolder(place).children())
    except MissingExtra as error:
        return Check("problem", what, str(error), "the store's own package is needed too, such as s3fs or gcsfs")
    except FileNotFoundError:
        return Check("note", what, f"{place} has no object", f"put a version there, as {place}/1")
    except OSError as error:
        return Check(
            "problem", what, f"{place}: {error}", "look at its address, and at the credentials of this process"
        )
    return _versions(what, place, versions)


def _versions(what: str, place: str, versions: Collection[int]) -> Check:
    if versions:
        return Check("ok", what, f"{place}: {len(versions)} versions, the latest is {max(versions)}")
    return Check("note", what, f"{place} has no version", f"put one there, as {place}/1")


def _plugins(settings: Settings) -> Iterator[Check]:
    from pipeline import kafka_properties, plugins
    from pipeline.codecs.installed import load_codecs

    needed = {(plugins.CONNECTORS, route.connector) for route in settings.routes.values()}
    needed |= {(plugins.STORAGE, stream.storage) for stream in settings.servables.values()}
    provider = settings.kafka.get(kafka_properties.PROVIDER)
    needed |= {(plugins.TOKENS, str(provider))} if provider else set()
    kinds = {stream.kind for stream in settings.servables.values()}
    # Without a kind, every plugin is asked whether the files are its own.
    named = plugins.names(plugins.SERVABLES) if None in kinds else [kind for kind in kinds if kind is not None]
    needed |= {(plugins.SERVABLES, name) for name in named}
    for group in plugins.GROUPS:
        names = sorted(name for in_group, name in needed if in_group == group)
        problems = [problem for name in names if (problem := _plugin(lambda: plugins.find(group, name)))]  # noqa: B023  # called at once
        yield from problems
        if names and not problems:
            yield Check("ok", group, ", ".join(names))
    # A worker has all of these, whatever its routes say, and what they are called must not clash.
    yield _plugin(load_codecs) or Check("ok", plugins.CODECS, ", ".join(plugins.names(plugins.CODECS)))


def _plugin(find: Callable[[], Any]) -> Check | None:
    try:
        find()
    except PluginError as error:
        return Check(
            "problem",
            error.group,
            f"{error.name}: {error.reason}",
            "install the package that brings it, or correct its name",
        )
    return None


def _routes(settings: Settings) -> Iterator[Check]:
    """Have each connector look at what its route says, as it does when a worker starts: it opens nothing."""
    from pipeline import plugins

    for name, route in settings.routes.items():
        try:
            plugins.find(plugins.CONNECTORS, route.connector).from_settings(route, settings, "penstock-check")
        except PluginError:
            pass  # it has been told among the plugins
        except PenstockError as error:
            yield Check("problem", f"routes.{name}", str(error), "correct it; a worker would not start")


def _options(settings: Settings) -> Iterator[Check]:
    """Have each kind that is named look at its options: it loads nothing."""
    from pipeline import plugins
    from pipeline.registry.servable import ServableId

    for name, stream in settings.servables.items():
        if stream.kind is None:
            continue
        try:
            kind = plugins.find(plugins.SERVABLES, stream.kind)()
            kind.loader(ServableId(name, 0), Path(stream.base_path), stream.options)
        except InvalidSettings as error:
            yield Check("problem", f"servables.{name}", str(error), "correct it; no version would be loaded")
        except PenstockError:
            pass  # as above; or about the files of a version, of which there is none here


def _schema_registry(settings: Settings) -> Iterator[Check]:
    from pipeline.schema_registry.client import RegistryClient
    from pipeline.schema_registry.findings import look

    try:
        registry = RegistryClient(settings.schema_registry)
    except (MissingExtra, ConnectorError) as error:
        yield Check("problem", "schema registry", str(error))
        return
    with contextlib.closing(registry):
        for finding in look(registry, settings):
            yield Check(finding.status, finding.what, finding.detail, finding.next_step)


def _permissions(settings: Settings) -> Permissions:
    from pipeline.control import permissions, topic_admin

    is_needed = any(route.is_pattern and route.connector == "kafka" for route in settings.routes.values())
    existing = topic_admin.names(settings.kafka, 5.0) if is_needed else ()
    return permissions.look(settings.kafka, permissions.wanted(settings, existing), timeout_s=5.0)


def _kafka(settings: Settings) -> Iterator[Check]:
    from pipeline.control import topics

    if not topics.wanted(settings):
        return
    from pipeline.control import topic_admin

    try:
        permissions = _permissions(settings)
        reports = topic_admin.inspect(settings, timeout_s=5.0)
    except (AuthenticationFailed, TlsFailed) as error:
        yield Check("problem", "broker", str(error), "docs/security.md has the settings of TLS and SASL")
        return
    except PluginError:
        return  # it has been told among the plugins
    except ConnectorError as error:
        yield Check("problem", "broker", str(error), "start it (penstock kafka), or name another with --bootstrap")
        return
    yield Check("ok", "broker", settings.bootstrap)
    for lacked in permissions.lacked:
        yield Check("problem", f"ACL of {lacked.what}", lacked.reason, "docs/security.md lists what each role needs")
    yield from _topics([report for report in reports if report.spec.name not in permissions.unseen])


def _redis(settings: Settings) -> Iterator[Check]:
    from pipeline.control import redis_streams
    from pipeline.redis_address import address_of

    if not redis_streams.is_needed(settings):
        return
    try:
        reports = redis_streams.inspect(settings, timeout_s=5.0)
    except ConnectorError as error:
        yield Check("problem", "broker", str(error), "start it, or name another with --bootstrap redis://host:port")
        return
    yield Check("ok", "broker", str(address_of(settings.redis.url)))
    yield from _topics(reports)


def _topics(reports: Sequence[TopicReport]) -> Iterator[Check]:
    from pipeline.control.topics import Role

    for report in reports:
        for finding in report.findings:
            what = finding.topic if report.spec.role is Role.OTHER else f"topic {finding.topic}"
            yield Check("problem" if finding.is_problem else "note", what, finding.reason, finding.next_step)
    good = sum(not report.findings for report in reports)
    if good:
        yield Check("ok", "topics", f"{good} of {len(reports)} are as they should be")
