"""An exception on its way from a child process: class, fields and text, and never a pickle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any, Final

import msgspec

from pipeline import errors
from pipeline.errors import PenstockError

_OS_ERROR: Final = "OSError"


class Failure(msgspec.Struct, frozen=True):
    """What was raised: a class of the tree with its fields, an OSError with its number, or a text alone."""

    kind: str
    fields: tuple[Any, ...]
    text: str


def of(error: BaseException) -> Failure:
    """Return any exception in the form that crosses; a plugin's own error of the tree goes as its ancestor."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, PenstockError):
        known = next(kind for kind in type(error).__mro__ if getattr(errors, kind.__name__, None) is kind)
        evidence = tuple(getattr(error, field.name) for field in fields(known))
        return Failure(known.__name__, evidence, text)
    if isinstance(error, OSError):
        return Failure(_OS_ERROR, (error.errno, error.strerror, _text_or_none(error.filename)), text)
    return Failure("", (), text)


def raised(failure: Failure, otherwise: Callable[[str], PenstockError]) -> Exception:
    """Return the exception to raise in the worker: the same class with the same evidence.

    ``otherwise`` makes the error for one that is neither of the tree nor an OSError, or whose fields make no sense,
    from its text.
    """
    if failure.kind == _OS_ERROR:
        number, reason, name = (*failure.fields, None, None, None)[:3]
        return OSError(failure.text) if number is None else OSError(number, reason, name)
    kind = getattr(errors, failure.kind, None) if failure.kind else None
    if isinstance(kind, type) and issubclass(kind, PenstockError):
        try:
            error: Exception = kind(*map(_frozen, failure.fields))
            str(error)
        except Exception:  # noqa: BLE001  # the child may send any fields; the text is what is left
            return otherwise(failure.text)
        return error
    return otherwise(failure.text)


def _frozen(value: Any) -> Any:
    """Sequences of the tree are tuples; the wire has lists."""
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def _text_or_none(name: Any) -> str | None:
    return None if name is None else str(name)
