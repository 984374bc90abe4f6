"""Whether walks down decision trees end inside them: native code follows child indices without looking."""

from __future__ import annotations

from typing import Final

import numpy as np

from pipeline.tensors import Array

LEAF: Final = -1
MAX_LEVELS: Final = 10_000


def check_walks(left: Array, right: Array, sizes: Array) -> None:
    """Raise ValueError unless every walk from the root of every tree comes to a leaf without leaving its tree.

    The nodes of all trees stand one after the other, ``sizes`` int64 [trees] of them each, the root first. ``left`` and
    ``right``, int64 [nodes], are positions within the node's own tree, or LEAF. All trees go down one level at a time
    together, so the time is that of numpy: some milliseconds for hundreds of thousands of nodes.
    """
    if sizes.size and int(sizes.min()) < 1:
        raise ValueError("a tree has no nodes")
    starts = np.cumsum(sizes) - sizes
    ends = np.repeat(sizes, sizes)
    for children in (left, right):
        wrong = (children < LEAF) | (children >= ends)
        if wrong.any():
            tree = int(np.repeat(np.arange(sizes.size), sizes)[wrong][0])
            raise ValueError(f"tree {tree}: a child has number {int(children[wrong][0])} of {int(sizes[tree])} nodes")
    offsets = np.repeat(starts, sizes)
    level, seen = starts, int(starts.size)
    for _ in range(MAX_LEVELS):
        level = np.concatenate([_below(left, level, offsets), _below(right, level, offsets)])
        if not level.size:
            return
        seen += int(level.size)
        if seen > left.size:
            raise ValueError("a node is its own ancestor, or has two parents")
    raise ValueError(f"a tree has more than {MAX_LEVELS:,} levels")


def _below(children: Array, level: Array, offsets: Array) -> Array:
    below = children[level]
    inner = below != LEAF
    return np.asarray(below[inner] + offsets[level[inner]])
