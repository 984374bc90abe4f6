"""Which file of a version is the model, and in which format."""

from __future__ import annotations

from pathlib import Path
from typing import Final

SUFFIXES: Final = (".pt2", ".ts", ".pt", ".pth", ".safetensors")
LOOKS_FOR: Final = "model.pt2, model.ts, model.pt, model.pth or model.safetensors, or a single file that ends so"


def find_model(path: Path) -> Path | None:
    """Return the model file of a version; None where there is none, or too many to choose from. Reads names only."""
    if path.is_file():
        return path if path.suffix in SUFFIXES else None
    files = [file for file in sorted(path.glob("*")) if file.suffix in SUFFIXES and file.is_file()]
    named = [file for file in files if file.stem == "model"]
    candidates = named or files
    return candidates[0] if len(candidates) == 1 else None
