"""The section ``schema_registry``: where the schemas are that Confluent's framing names."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from pipeline.errors import InvalidSettings
from pipeline.redaction import has_login, redacted
from pipeline.settings.section import Section

STRATEGIES: Final = ("topic", "record", "topic_record")
# Those of confluent-kafka's client; mock:// is its own, in the process.
_SCHEMES: Final = ("http", "https", "mock")


class SchemaRegistrySettings(Section, frozen=True):
    """A schema registry; without a ``url`` there is none. As text, its secrets are hidden."""

    url: str = ""
    user_info: str = ""
    bearer_token: str = ""
    logical_cluster: str = ""
    identity_pool: str = ""
    ca_file: str = ""
    certificate_file: str = ""
    key_file: str = ""
    key_password: str = ""
    subject_name_strategy: str = "topic"
    auto_register: bool = False
    timeout_s: float = 5.0
    wait_s: float = 10.0

    def __repr__(self) -> str:
        return f"SchemaRegistrySettings({redacted(msgspec.to_builtins(self))})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:  # what rich prints instead of the repr
        return list(redacted(msgspec.to_builtins(self)).items())


def check_schema_registry(registry: SchemaRegistrySettings, place: str) -> None:
    """Raise InvalidSettings for what can not be used."""
    for url in registry.url.split(",") if registry.url else ():
        if urlsplit(url.strip()).scheme not in _SCHEMES:
            raise InvalidSettings(f"{place}.url", f"{redacted(url)!r} does not begin with {' or '.join(_SCHEMES)}")
        if has_login(url):
            raise InvalidSettings(f"{place}.url", "a URL with a user and a password; put them into user_info")
    if registry.user_info and ":" not in registry.user_info:
        raise InvalidSettings(f"{place}.user_info", "expected a user, a colon and a password")
    if registry.user_info and registry.bearer_token:
        raise InvalidSettings(place, "user_info and bearer_token are both set; only one of them can be sent")
    if registry.key_file and not registry.certificate_file:
        raise InvalidSettings(f"{place}.key_file", "a key without certificate_file")
    if registry.subject_name_strategy not in STRATEGIES:
        reason = f"{registry.subject_name_strategy!r} is not {', '.join(STRATEGIES[:-1])} or {STRATEGIES[-1]}"
        raise InvalidSettings(f"{place}.subject_name_strategy", reason)
    for field in ("timeout_s", "wait_s"):
        if not 0 < getattr(registry, field) <= 60:
            reason = f"must be above 0 and at most 60, got {getattr(registry, field):g}"
            raise InvalidSettings(f"{place}.{field}", reason)
