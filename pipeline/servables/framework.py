"""What is the same for every framework: how it is imported when it is first used, and how its errors are quoted."""

from __future__ import annotations

import importlib
from typing import Any, Final

from pipeline.errors import MissingExtra

_MOST_CHARACTERS: Final = 300


def imported(what: str, module: str, name: str, extra: str) -> Any:
    """Return a module that only its users shall pay for; ``name`` is what people call it.

    Raises MissingExtra, in the name of ``what``, where it can not be imported. Blocks, for seconds the first time.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:  # OSError: a library of the system is missing that its own needs
        raise MissingExtra(what, f"{name} can not be imported ({error})", extra) from error


def first_line(error: BaseException) -> str:
    """Return the type and the first line of an error whose further lines are a stack, or a list of what may be."""
    lines = _lines(error)
    return f"{type(error).__name__}: {lines[0][:_MOST_CHARACTERS] if lines else 'without a message'}"


def last_line(error: BaseException) -> str:
    """Return the last line of an error whose lines above it name the framework's own source files."""
    lines = _lines(error)
    return lines[-1][:_MOST_CHARACTERS] if lines else type(error).__name__


def _lines(error: BaseException) -> list[str]:
    return [line.strip() for line in str(error).splitlines() if line.strip()]
