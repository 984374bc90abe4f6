"""Where the model of a version is, by the names of its files."""

from __future__ import annotations

from pathlib import Path
from typing import Final

SAVED_MODEL: Final = "saved_model.pb"
LOOKS_FOR: Final = f"{SAVED_MODEL}, model.keras or a single *.keras"


def find(path: Path) -> Path | None:
    """Return the directory of a SavedModel or a Keras file, None where there is neither, or several of the latter."""
    if path.is_file():
        return path if path.suffix == ".keras" else None
    if (path / SAVED_MODEL).is_file():
        return path
    if (path / "model.keras").is_file():
        return path / "model.keras"
    files = list(path.glob("*.keras")) if path.is_dir() else []
    return files[0] if len(files) == 1 and files[0].is_file() else None


def size_bytes(model: Path) -> int:
    """Return the size of what a load reads: the graph and its variables, or the Keras file."""
    if model.is_file():
        return model.stat().st_size
    files = [model / SAVED_MODEL, *(model / "variables").glob("variables.*"), *(model / "assets").rglob("*")]
    return sum(file.stat().st_size for file in files if file.is_file())
