"""How much memory a process has now."""

from __future__ import annotations

import os
from pathlib import Path


def resident_bytes(pid: int | None = None) -> int | None:
    """Return the resident set size of a process, by default this one; None where the system does not tell it.

    It is Linux that does, while there is such a process.
    """
    try:
        return int(Path(f"/proc/{pid or 'self'}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None
