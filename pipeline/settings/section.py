"""What all sections share: immutable, and a misspelt key is an error."""

from __future__ import annotations

import msgspec

Scalar = str | int | float | bool


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all sections: immutable, and a misspelt key is an error."""
