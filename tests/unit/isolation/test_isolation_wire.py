"""What crosses between a worker and a child arrives as it was; and what makes no sense is refused, not believed."""

from __future__ import annotations

import dataclasses
import os
import socket
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import errors
from pipeline.errors import InvalidArtefact, LoadFailed, ModelFailed, PenstockError
from pipeline.isolation import failures, packing
from pipeline.isolation.channel import Channel
from pipeline.isolation.messages import Failed, Placed, Unload, Unloaded, decode, encode
from pipeline.isolation.segment import Arena, Segment
from pipeline.tensors import DTYPES

OURS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PenstockError)]


def crossed(error: BaseException) -> Exception:
    message = decode(encode(Failed(failures.of(error))))
    assert isinstance(message, Failed)
    return failures.raised(message.failure, lambda text: ModelFailed("m/1", text))


def sample(kind: type[PenstockError]) -> PenstockError:
    values: dict[str, Any] = {"str": "a", "int": 1, "float": 1.5, "bool": True, "tuple[int, ...]": (1, -1)}
    return kind(*[values.get(str(field.type), ("a", "b")) for field in dataclasses.fields(kind)])


@pytest.mark.parametrize("kind", OURS)
def test_every_error_of_the_tree_crosses_with_its_evidence(kind: type[PenstockError]) -> None:
    error = sample(kind)
    again = crossed(error)
    assert type(again) is kind
    assert str(again) == str(error)
    assert [getattr(again, f.name) for f in dataclasses.fields(kind)] == [
        getattr(error, f.name) for f in dataclasses.fields(kind)
    ]


class OfAPlugin(InvalidArtefact):
    code = "of_a_plugin"


def test_an_error_that_the_tree_does_not_have_crosses_as_its_nearest_ancestor_or_as_text() -> None:
    assert (type(crossed(OfAPlugin("m/1", "bad"))), str(crossed(OfAPlugin("m/1", "bad")))) == (
        InvalidArtefact,
        "m/1: bad",
    )
    assert str(crossed(ZeroDivisionError("by zero"))) == "m/1: ZeroDivisionError: by zero"
    again = crossed(FileNotFoundError(2, "No such file", "weights"))
    assert isinstance(again, FileNotFoundError)
    assert again.filename == "weights"
    assert "odd" in str(crossed(OSError("odd")))


def test_fields_that_make_no_sense_leave_the_text() -> None:
    failure = failures.Failure("WrongShape", (1, 2, 3, 4, 5, 6), "what it said")
    assert str(failures.raised(failure, lambda text: LoadFailed("m/1", text))) == "m/1: what it said"
    failure = failures.Failure("annotations", (), "no class")
    assert str(failures.raised(failure, lambda text: LoadFailed("m/1", text))) == "m/1: no class"


def through(arrays: dict[str, Any]) -> dict[str, Any]:
    arena = Arena()
    placed = packing.put(arrays, arena)
    [descriptor] = arena.take_descriptor()
    found = packing.views(placed, Segment.attach(descriptor).memory)
    arena.close()
    return found


@pytest.mark.parametrize("datatype", DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (0, 4), (2, 3, 5)])
def test_arrays_of_each_datatype_and_shape_arrive_as_they_were(datatype: str, shape: tuple[int, ...]) -> None:
    numbers = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    array = numbers.astype(DTYPES[datatype])
    if datatype == "BYTES":
        array = np.empty(shape, object)
        array[...] = b"\x00 one\x00"
    got = through({"first": np.ones(3, "u1"), "it": array})["it"]
    assert (got.dtype, got.shape) == (DTYPES[datatype], shape)
    assert np.array_equal(got, array)
    assert datatype == "BYTES" or not got.flags.writeable


def test_text_other_byte_orders_and_gaps_between_elements_arrive_in_the_protocols_form() -> None:
    got = through(
        {
            "text": np.array(["grüß", ""]),
            "big": np.arange(3, dtype=">i4"),
            "gaps": np.arange(20.0).reshape(4, 5)[::2, ::-1],
        }
    )
    assert got["text"].tolist() == ["grüß".encode(), b""]
    assert got["big"].tolist() == [0, 1, 2]
    assert got["gaps"].tolist() == [[4, 3, 2, 1, 0], [14, 13, 12, 11, 10]]


@pytest.mark.parametrize("array", [np.zeros(2, complex), np.array([None], object), np.zeros(2, "M8[s]")])
def test_what_the_protocol_has_no_datatype_for_is_refused(array: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        packing.put({"x": array}, Arena())


@pytest.mark.parametrize(
    "place",
    [
        Placed("x", "FP32", (1 << 20,), 0, 4 << 20),
        Placed("x", "FP32", (4,), (1 << 16) - 8, 16),
        Placed("x", "FP32", (4,), -16, 16),
        Placed("x", "FP32", (-4,), 0, 16),
        Placed("x", "FP99", (4,), 0, 16),
        Placed("x", "BYTES", (3,), 0, 16),
        Placed("x", "BYTES", (-1,), 0, 0),
        Placed("x", "BYTES", (1,), 0, 1 << 30),
        Placed("x", "FP32", (1 << 40, 1 << 40), 0, 0),
    ],
)
def test_places_outside_the_segment_and_tensors_that_are_none_are_refused(place: Placed) -> None:
    with pytest.raises(ValueError, match=r"."):
        packing.views([place], Arena().room(10))


def test_a_segment_can_not_be_made_shorter_and_one_that_could_is_refused() -> None:
    segment, descriptor = Segment.create(1 << 16)
    with pytest.raises(PermissionError):
        os.ftruncate(descriptor, 10)
    assert Segment.attach(descriptor).size_bytes == segment.size_bytes
    soft = os.memfd_create("soft", os.MFD_ALLOW_SEALING)
    os.ftruncate(soft, 1 << 16)
    with pytest.raises(ValueError, match="shorter"):
        Segment.attach(soft)
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(soft)


@pytest.fixture
def ends() -> Any:
    ours, theirs = Channel.pair()
    with theirs:
        yield ours, theirs
    ours.close()


def test_messages_larger_than_a_socket_holds_and_descriptors_cross(ends: Any) -> None:
    ours, theirs = ends
    other, text = Channel(theirs), "x" * (3 << 20)
    segment, descriptor = Segment.create(1 << 16)
    segment.memory[:2] = b"hi"
    sending = threading.Thread(target=other.send, args=(Failed(failures.Failure("", (), text)), [descriptor]))
    sending.start()
    message, descriptors = ours.receive(10)
    sending.join()
    os.close(descriptor)
    assert message == Failed(failures.Failure("", (), text))
    assert Segment.attach(descriptors[0]).memory[:2] == b"hi"


def test_silence_ends_at_the_deadline_and_the_other_ends_death_at_once(ends: Any) -> None:
    ours, theirs = ends
    with pytest.raises(TimeoutError):
        ours.receive(0.05)
    with pytest.raises(EOFError, match="has ended"):
        ours.receive(20, lambda: False)
    theirs.shutdown(socket.SHUT_RDWR)
    with pytest.raises(EOFError):
        ours.receive(20)
    with pytest.raises(ConnectionError):
        ours.send(Unload())


def test_descriptors_that_come_with_nonsense_are_closed(ends: Any) -> None:
    ours, theirs = ends
    segment, descriptor = Segment.create(1 << 16)
    before = sorted(Path("/proc/self/fd").iterdir())
    socket.send_fds(theirs, [b"\x01\x00\x00\x00\xff"], [descriptor])
    with pytest.raises(ValueError, match=r"."):
        ours.receive(5)
    assert sorted(Path("/proc/self/fd").iterdir()) == before
    os.close(descriptor)
    assert segment.size_bytes == 1 << 16


@pytest.mark.parametrize(
    "data",
    [
        b"\x01\x00\x00\x00\xff",
        b"\xff\xff\xff\xff",
        (len(encode(Unloaded())).to_bytes(4, "little") + encode(Unloaded())) * 2,
        b"\x0c\x00\x00\x00hello, world",
    ],
)
def test_bytes_that_are_no_message_are_refused(ends: Any, data: bytes) -> None:
    ours, theirs = ends
    theirs.sendall(data)
    with pytest.raises(ValueError, match=r"."):
        ours.receive(5)
