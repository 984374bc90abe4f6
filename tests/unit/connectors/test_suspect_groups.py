"""How many suspects are tried together."""

from __future__ import annotations

import pytest

from connectors.suspects import group_size


@pytest.mark.parametrize("suspects", [1, 2, 3, 4, 5, 9, 10, 100, 2048])
def test_there_are_as_many_groups_as_suspects_in_each_or_one_less(suspects: int) -> None:
    size = group_size(suspects)
    groups = -(-suspects // size)
    assert size - 1 <= groups <= size


def test_none_are_tried_as_one() -> None:
    assert group_size(0) == 1
