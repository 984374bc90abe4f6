"""What is the same for every framework: how it is imported when it is first used, and how its errors are quoted."""

from __future__ import annotations

import importlib
import sys
from typing import Any, Final

from pipeline.errors import MissingExtra

_MOST_CHARACTERS: Final = 300


def imported(what: str, module: str, name: str, extra: str, without: str | None = None) -> Any:
    """Return a module that only its users shall pay for; ``name`` is what people call it.

    ``without`` names a module that it imports if it can and nobody here needs: it is missing as long as this takes,
    and can be imported afterwards. Raises MissingExtra, in the name of ``what``, where the module can not be imported.
    Blocks, for seconds the first time.
    """
    hidden = without is not None and without not in sys.modules
    if hidden:
        # What the import system reads as: there is no such module.
        sys.modules[without] = None  # type: ignore[index, assignment]  # documented at import, not in its type
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:  # OSError: a library of the system is missing that its own needs
        raise MissingExtra(what, f"{name} can not be imported ({error})", extra) from error
    finally:
        if hidden:
            sys.modules.pop(without, None)  # type: ignore[arg-type]  # it is hidden, so it is named


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
