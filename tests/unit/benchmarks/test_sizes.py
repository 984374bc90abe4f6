"""The case of sizes: how many requests of each, and what the loop by hand answers."""

from __future__ import annotations

import struct

import pytest

from benchmarks import large_backlog
from benchmarks.avro_records import AvroRecord
from benchmarks.cases.sizes import REQUESTS, SIZES, count
from benchmarks.contenders import first_element, work


def test_large_requests_are_fewer_and_a_quick_look_makes_all_fewer():
    assert [count(size, REQUESTS) for size in SIZES.values()] == [200_000, 200_000, 100_000, 10_000, 1_000, 200]
    assert [count(size, 2_000) for size in SIZES.values()] == [2_000, 2_000, 1_000, 110, 110, 110]


@pytest.mark.parametrize("size", [100, 10_000])
def test_the_loop_by_hand_answers_the_first_element_of_each_request(size):
    asked = list(large_backlog.requests(3, size))
    answers = first_element.answers(work.FastAvro(), [value for _, value in asked])
    decoded = [AvroRecord("PredictResult").decode(answer) for answer in answers]
    assert [answer["id"] for answer in decoded] == [key.decode() for key, _ in asked]
    assert [answer["outputs"][0]["data"] for answer in decoded] == [struct.pack("<f", number) for number in range(3)]
    assert [answer["outputs"][0]["shape"] for answer in decoded] == [[1, 1]] * 3
