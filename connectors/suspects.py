"""In which groups requests are tried that may have killed a worker; one rule for every broker. Pure."""

from __future__ import annotations

import math


def group_size(suspects: int) -> int:
    """Return how many of so many are in flight together: as many as there are groups, or one more; 1 at least.

    So few groups are waited for, and a second death leaves few suspects, which are tried one at a time.
    """
    return math.isqrt(max(0, suspects - 1)) + 1  # the root, rounded up
