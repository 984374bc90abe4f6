"""The options of one kind of servable, checked once, before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pipeline.registry.servable import ServableId
from pipeline.settings.section import Checked, checked


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of the options of a kind, and those of a kind that has none: immutable, a misspelt name is an error."""


def check_options(id: ServableId, given: Mapping[str, Any], kind_of_options: type[Checked]) -> Checked:  # noqa: A002  # TF Serving's word
    """Return what ``penstock.yaml`` gives a stream, as the options of its kind; raises InvalidSettings."""
    return checked(given, kind_of_options, f"options of {id.name}")
