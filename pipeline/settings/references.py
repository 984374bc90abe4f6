"""``${env:NAME}`` and ``${file:/path}`` in values, so that no secret stands in the settings file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pipeline.errors import InvalidSettings
from pipeline.redaction import has_login, is_secret

_REFERENCE: Final = re.compile(r"\$\{(env|file):([^}]*)\}")


def resolved(tree: Any, environ: Mapping[str, str], base: Path, place: str) -> Any:
    """Return a tree with the text that its references stand for; what is no text stays as it is.

    A relative path is taken from ``base``. A file's last line end is not part of its text. What a variable or a file
    holds is not looked at again: no references in references. Raises InvalidSettings, which names the setting and the
    variable or file, never a value.
    """
    if isinstance(tree, Mapping):
        return {name: resolved(value, environ, base, _below(place, name)) for name, value in tree.items()}
    if isinstance(tree, list):
        return [resolved(value, environ, base, f"{place}[{number}]") for number, value in enumerate(tree)]
    if not isinstance(tree, str):
        return tree

    def text_of(found: re.Match[str]) -> str:
        kind, name = found.groups()
        return _variable(name, environ, place) if kind == "env" else _file(base / Path(name).expanduser(), place)

    return _REFERENCE.sub(text_of, tree)


def check_secrets(kafka: Mapping[str, Any], place: str) -> None:
    """Raise InvalidSettings for a secret that is not where, or not what, it should be.

    A password that YAML has read as something else: 0123 would be sent as 83. One in a URL: librdkafka knows only its
    own properties of secrets, and would print that one.
    """
    for name, value in kafka.items():
        if isinstance(value, str) and has_login(value):
            reason = "a URL with a user and a password; put them into properties of their own, such as "
            raise InvalidSettings(f"{place}.{name}", f"{reason}sasl.oauthbearer.client.id and .client.secret")
        if is_secret(name) and not isinstance(value, str):
            reason = f"YAML reads this value as {type(value).__name__}, not as text; put it in quotes"
            raise InvalidSettings(f"{place}.{name}", reason)


def _below(place: str, name: Any) -> str:
    return f"{place}.{name}" if place.rpartition(": ")[2] else f"{place}{name}"


def _variable(name: str, environ: Mapping[str, str], place: str) -> str:
    value = environ.get(name)
    if value is None:
        raise InvalidSettings(place, f"the environment has no variable {name!r}, which ${{env:{name}}} stands for")
    return value


def _file(path: Path, place: str) -> str:
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise InvalidSettings(place, f"the file {path} can not be read: {error.strerror}") from error
    except UnicodeDecodeError:
        # Not its cause: that carries the bytes.
        raise InvalidSettings(place, f"the file {path} is not UTF-8 text") from None
    return text.removesuffix("\n").removesuffix("\r")
