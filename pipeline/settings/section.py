"""What all sections share: immutable, and a misspelt key is an error."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from pipeline.errors import InvalidSettings

Scalar = str | int | float | bool


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all sections: immutable, and a misspelt key is an error."""


Checked = TypeVar("Checked", bound=msgspec.Struct)


def checked(given: Mapping[str, Any], kind: type[Checked], place: str) -> Checked:
    """Return the options that a plugin defines, from what the settings say; raises InvalidSettings. Pure."""
    try:
        return msgspec.convert(dict(given), kind)
    except msgspec.ValidationError as error:
        raise InvalidSettings(place, str(error)) from error
