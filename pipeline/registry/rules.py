"""How one stream moves: its policy, and what becomes of a version whose number is aspired with other content."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from pipeline.errors import PenstockError
from pipeline.registry.loader import Loader
from pipeline.registry.policy import Phase, Policy
from pipeline.registry.source import Aspired


class OnChange(enum.StrEnum):
    """What becomes of a version that is available when its number is aspired with other content."""

    REPORT = "report"
    RELOAD = "reload"


@dataclass(frozen=True)
class Rules:
    """Asked for at each aspiration, so they may change while the stream lives."""

    policy: Policy
    on_change: OnChange = OnChange.REPORT


class Fate(enum.Enum):
    """What an aspiration means for an incarnation that is there."""

    STAYS = "it is what is aspired"
    STAYS_CHANGED = "other content is aspired, and it stays all the same"
    STAYS_BROKEN = "an error stands in place of the content that is aspired, and it stays"
    IS_REPLACED = "a new incarnation has to take its place"


def fate_of(phase: Phase, before: Aspired[Loader], item: Aspired[Loader], on_change: OnChange) -> Fate:
    """Return what ``item`` means for the incarnation in ``phase`` that was started from ``before``. Pure."""
    is_raised = item.revision > before.revision
    is_same = item.is_same_content(before) and not is_raised
    # The same bytes elsewhere: of no interest to what is loaded, a new chance for what is not.
    is_moved = item.path != before.path
    stays = is_same and not is_moved
    match phase:
        case Phase.UNLOADING:
            return Fate.IS_REPLACED
        case Phase.FAILED:
            stays = stays and _text(before.error) == _text(item.error)
        case Phase.READY:
            stays = is_same
    if stays and item.error is None:
        return Fate.STAYS
    if phase is Phase.FAILED:
        return Fate.STAYS if stays else Fate.IS_REPLACED
    if item.error is not None:
        return Fate.STAYS_BROKEN
    if phase is Phase.READY and not is_raised and on_change is OnChange.REPORT:
        return Fate.STAYS_CHANGED
    return Fate.IS_REPLACED


def note_on(fate: Fate, before: Aspired[Loader], item: Aspired[Loader]) -> str | None:
    """Return what a person should know of an incarnation that stays although something else is aspired. Pure."""
    match fate:
        case Fate.STAYS_BROKEN:
            return f"is kept as it is; its new content can not be loaded: {item.error}"
        case Fate.STAYS_CHANGED:
            return (
                f"is aspired with other content ({item.digest or item.path}) and kept as it is "
                f"({before.digest or before.path}); give new content a version of its own, or load it by "
                f"`penstock versions reload {item.id.name} {item.id.version}`"
            )
        case _:
            return None


def _text(error: PenstockError | None) -> tuple[str, str] | None:
    return None if error is None else (error.code, str(error))
