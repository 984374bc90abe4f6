"""What ``penstock check`` finds in a schema registry. Nothing is registered and nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from pipeline.codecs import schemas
from pipeline.errors import ConnectorError
from pipeline.framings import CONFLUENT_HEADER, SINGLE_OBJECT
from pipeline.schema_registry.client import Registered, RegistryClient
from pipeline.schema_registry.compatibility import why_not_ours, why_unreadable
from pipeline.schema_registry.naming import REGISTER_STEP
from pipeline.schema_registry.normal_form import is_ours, writer_schema
from pipeline.schema_registry.references import texts_of
from pipeline.schema_registry.subjects import subject_of
from pipeline.settings import Settings

_REQUEST, _RESULT = "PredictRequest", "PredictResult"
_ADDRESS = "start it, or correct schema_registry.url and what it is let in by"


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at: ``status`` is ok, note or problem."""

    status: str
    what: str
    detail: str
    next_step: str = ""


def look(registry: RegistryClient, settings: Settings) -> Iterator[Finding]:
    """Yield what is found of each route's subjects. Blocks; a registry that does not answer is the last finding."""
    try:
        registry.versions(subject_of("record", "", _REQUEST))
        yield Finding("ok", "schema registry", settings.schema_registry.url)
        for subject, record, needs_guid in _subjects(settings):
            if record == _REQUEST:
                yield _of_requests(registry, subject, auto_register=settings.schema_registry.auto_register)
            else:
                yield _of_results(
                    registry, subject, auto_register=settings.schema_registry.auto_register, needs_guid=needs_guid
                )
    except ConnectorError as error:
        yield Finding("problem", "schema registry", str(error), _ADDRESS)


def _subjects(settings: Settings) -> list[tuple[str, str, bool]]:
    """Return each subject once, what it is for, and whether its GUID is needed."""
    strategy = settings.schema_registry.subject_name_strategy
    found: dict[tuple[str, str], bool] = {}
    for route in settings.routes.values():
        if strategy == "record" or not route.is_pattern:  # else the subjects are the broker's to say
            found.setdefault((subject_of(strategy, route.request_topic, _REQUEST), _REQUEST), False)
        if route.framing_out != SINGLE_OBJECT:
            key = subject_of(strategy, route.result_topic, _RESULT), _RESULT
            found[key] = found.get(key, False) or route.framing_out == CONFLUENT_HEADER
    return [(subject, record, needs_guid) for (subject, record), needs_guid in found.items()]


def _of_requests(registry: RegistryClient, subject: str, *, auto_register: bool) -> Finding:
    what = f"subject {subject}"
    latest = registry.version(subject)
    if latest is None:
        step = f"clients that frame as Confluent does need it: {REGISTER_STEP.format(record=_REQUEST)}"
        return Finding("note", what, "does not exist yet", "" if auto_register else step)
    wrote = f"version {latest.version} is"
    if is_ours(latest.text, _REQUEST):
        return Finding("ok", what, f"{wrote} our {_REQUEST}")
    reason = _why_unreadable(registry, latest)
    if reason:
        step = "no such record can be answered: send them to another topic, or name the right subject by its strategy"
        return Finding("problem", what, f"{wrote} not readable as a {_REQUEST}: {reason}", step)
    refused = _refusal(registry, subject, _REQUEST)
    return Finding("note" if refused else "ok", what, f"{wrote} another schema that {_REQUEST} reads{refused}")


def _of_results(registry: RegistryClient, subject: str, *, auto_register: bool, needs_guid: bool) -> Finding:
    what, step = f"subject {subject}", REGISTER_STEP.format(record=_RESULT)
    latest = registry.version(subject)
    if latest is None:
        if auto_register:
            return Finding("note", what, "does not exist yet; the first worker registers it")
        return Finding("problem", what, "does not exist, and results are framed by it", step)
    if is_ours(latest.text, _RESULT):
        ours: Registered | None = registry.lookup(subject, latest.text) or latest
    else:
        ours = registry.lookup(subject, schemas.text(_RESULT))
    if ours is None:
        refused = _refusal(registry, subject, _RESULT)
        detail = f"version {latest.version} is not our {_RESULT}{refused}"
        if refused:
            return Finding("problem", what, detail, "change the subject's compatibility, or set another result_topic")
        unread = why_not_ours(_RESULT, latest.text)
        detail += f"; its readers can not read ours: {unread}" if unread else ""
        return Finding(
            "note" if auto_register and not unread else "problem", what, detail, "" if auto_register else step
        )
    if needs_guid and ours.guid is None:
        return Finding("problem", what, "this registry tells no GUIDs", "set framing_out: confluent")
    return Finding("ok", what, f"our {_RESULT} has id {ours.schema_id}")


def _why_unreadable(registry: RegistryClient, latest: Registered) -> str:
    if latest.kind != "AVRO":
        return f"it is of type {latest.kind}"
    try:
        writer = writer_schema(latest.text, texts_of(registry, latest))
    except ValueError as error:
        return str(error)
    return why_unreadable(schemas.schema(_REQUEST), writer.schema)


def _refusal(registry: RegistryClient, subject: str, record: str) -> str:
    if registry.accepts(subject, schemas.text(record)):
        return ""
    return ", and the registry would refuse ours as the next version"
