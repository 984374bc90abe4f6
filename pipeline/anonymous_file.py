"""A file without a name: memory that processes share, or that the kernel fills."""

from __future__ import annotations

import os
import tempfile
from typing import Final

CAN_BE_SEALED: Final = hasattr(os, "memfd_create")


def anonymous_file() -> int:
    """Return the descriptor of a new, empty one, which goes with its last descriptor and mapping.

    In memory on Linux, where it can be sealed; elsewhere a temporary file. The caller closes it; children do not
    inherit it. Raises OSError.
    """
    if CAN_BE_SEALED:
        return os.memfd_create("penstock", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with tempfile.TemporaryFile(prefix="penstock-") as file:
        return os.dup(file.fileno())
