"""A producer that writes what confluent-kafka's own refuses: header names of any bytes, as clients in C may."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Final

from confluent_kafka import cimpl

_POINTER, _TEXT, _NUMBER, _SIZE = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_ssize_t
_PRODUCER: Final = 0  # rd_kafka_type_t
_TOPIC, _VALUE, _HEADER, _PARTITION, _END_FLUSH_MS = 1, 4, 9, 3, 20_000  # rd_kafka_vtype_t


class _Bytes(ctypes.Structure):
    _fields_ = (("pointer", _POINTER), ("size", ctypes.c_size_t))


class _HeaderValue(ctypes.Structure):
    _fields_ = (("name", _TEXT), ("value", _POINTER), ("size", _SIZE))


class _Union(ctypes.Union):
    _fields_ = (
        ("text", _TEXT),
        ("number", ctypes.c_int32),
        ("bytes", _Bytes),
        ("header", _HeaderValue),
        ("padding", ctypes.c_char * 64),
    )


class _Argument(ctypes.Structure):
    _fields_ = (("kind", _NUMBER), ("of", _Union))


def produce(bootstrap: str, topic: str, partition: int, value: bytes, names: Sequence[bytes], count: int = 1) -> None:
    """Send one record ``count`` times, with a header of each name, and return when the broker has them all."""
    library = ctypes.CDLL(cimpl.__file__)
    for name, result, arguments in (
        ("rd_kafka_new", _POINTER, [_NUMBER, _POINTER, _TEXT, ctypes.c_size_t]),
        ("rd_kafka_conf_new", _POINTER, []),
        ("rd_kafka_conf_set", _NUMBER, [_POINTER, _TEXT, _TEXT, _TEXT, ctypes.c_size_t]),
        ("rd_kafka_produceva", _POINTER, [_POINTER, _POINTER, ctypes.c_size_t]),
        ("rd_kafka_flush", _NUMBER, [_POINTER, _NUMBER]),
        ("rd_kafka_destroy", None, [_POINTER]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    reason = ctypes.create_string_buffer(512)
    settings = library.rd_kafka_conf_new()
    for key, text in ((b"bootstrap.servers", bootstrap.encode()), (b"log_level", b"0")):
        assert library.rd_kafka_conf_set(settings, key, text, reason, len(reason)) == 0, reason.value
    client = library.rd_kafka_new(_PRODUCER, settings, reason, len(reason))
    assert client, reason.value
    try:
        for _ in range(count):
            arguments, kept = _arguments(topic, partition, value, names)
            assert not library.rd_kafka_produceva(client, arguments, len(arguments)), kept
        assert library.rd_kafka_flush(client, _END_FLUSH_MS) == 0
    finally:
        library.rd_kafka_destroy(client)


def _arguments(
    topic: str, partition: int, value: bytes, names: Sequence[bytes]
) -> tuple[ctypes.Array[_Argument], object]:
    body, note = ctypes.create_string_buffer(value, len(value)), ctypes.create_string_buffer(b"v", 1)
    arguments = (_Argument * (3 + len(names)))()
    arguments[0].kind, arguments[0].of.text = _TOPIC, topic.encode()
    arguments[1].kind, arguments[1].of.number = _PARTITION, partition
    arguments[2].kind, arguments[2].of.bytes = _VALUE, _Bytes(ctypes.addressof(body), len(value))
    for at, name in enumerate(names, 3):
        arguments[at].kind = _HEADER
        arguments[at].of.header = _HeaderValue(name, ctypes.addressof(note), 1)
    return arguments, (body, note)
