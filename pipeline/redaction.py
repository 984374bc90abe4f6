"""What must not be printed: which settings are secrets, and how they are shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

HIDDEN: Final = "***"
# Ends of names, written with dots; an underscore or a dash counts as one.
_SUFFIXES: Final = (
    "password", "passwd", "secret", "secret.key", "access.key", "api.key", "token", "key.pem", "key.data",
    "credentials", "oauthbearer.config", "user.info", "jaas.config", "passphrase", "private.key",
)  # fmt: skip
_USER_AND_PASSWORD: Final = re.compile(r"(?<=://)[^/\s@]*:[^/\s@]*(?=@)")
# Shorter ones stand in other words by chance, and hide nothing from who can guess them.
_SHORTEST: Final = 4


def is_secret(name: str) -> bool:
    """Whether a setting of this name holds a secret. By the end of the name, whatever the value is. Pure."""
    return re.sub("[_-]", ".", name.lower()).endswith(_SUFFIXES)


def redacted(tree: Any) -> Any:
    """Return a tree of settings with its secrets hidden: by their names, and passwords in URLs. Pure."""
    if isinstance(tree, Mapping):
        return {
            name: HIDDEN if is_secret(str(name)) and _is_set(value) else redacted(value) for name, value in tree.items()
        }
    if isinstance(tree, list | tuple):
        return [redacted(value) for value in tree]
    return _USER_AND_PASSWORD.sub(HIDDEN, tree) if isinstance(tree, str) else tree


def has_login(text: str) -> bool:
    """Whether a user and a password stand in a URL in this text. Pure."""
    return _USER_AND_PASSWORD.search(text) is not None


def without_secrets(text: str, properties: Mapping[str, Any]) -> str:
    """Return a text of somebody else's, an error of librdkafka for instance, without the secrets of ``properties``.

    The values are looked for as they are. Pure.
    """
    values = [str(value) for name, value in properties.items() if is_secret(name)]
    values += [found for value in properties.values() for found in _USER_AND_PASSWORD.findall(str(value))]
    for value in sorted((value for value in values if len(value) >= _SHORTEST), key=len, reverse=True):
        text = text.replace(value, HIDDEN)
    return text


def _is_set(value: Any) -> bool:
    return not isinstance(value, Mapping) and value not in (None, "")
