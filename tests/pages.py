"""What the pages of the documentation show, and the names that they refer to."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]


def blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of one language, in order; ``page`` is a path from the root of the repository."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


@cache
def names_in(path: str) -> frozenset[str]:
    """Return the names of a module's functions; ``path`` is one from the root of the repository."""
    tree = ast.parse((ROOT / path).read_text())
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
