"""The border that no path may cross: a version lies below one of the storage roots of this worker, or is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import PathRefused


def check_inside(path: str, roots: Sequence[str | Path]) -> Path:
    """Return the real path, with every link and ``..`` resolved; raise PathRefused unless it lies in one of the roots.

    A root itself counts as inside. The path need not exist. Reads the file system, so not for an event loop. What the
    links point to may change afterwards: this guards against records and directories that name what they should not,
    not against somebody who can write to the storage while it is being read.
    """
    if "://" in path:
        raise PathRefused(path, "a storage root is a directory of this machine, not a URI")
    try:
        real = Path(path).resolve()
        is_inside = any(real.is_relative_to(Path(root).resolve()) for root in roots)
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links, a NUL, a name that is too long
        raise PathRefused(repr(path), f"it can not be resolved: {error}") from error
    if not is_inside:
        names = ", ".join(str(root) for root in roots) or "none"
        raise PathRefused(path, f"it is {real}, outside the storage roots ({names}); see worker.storage_roots")
    return real
