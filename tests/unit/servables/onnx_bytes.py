"""A tiny ONNX model written by hand: ``y = Relu(x)``, float32 [rows, 3], without the onnx package."""

from __future__ import annotations


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes((*out, value))


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _value_info(name: bytes) -> bytes:
    shape = _bytes(1, _bytes(2, b"rows")) + _bytes(1, _number(1, 3))
    tensor_type = _number(1, 1) + _bytes(2, shape)
    return _bytes(1, name) + _bytes(2, _bytes(1, tensor_type))


def relu_model() -> bytes:
    node = _bytes(1, b"x") + _bytes(2, b"y") + _bytes(4, b"Relu")
    graph = _bytes(1, node) + _bytes(2, b"g") + _bytes(11, _value_info(b"x")) + _bytes(12, _value_info(b"y"))
    return _number(1, 8) + _bytes(7, graph) + _bytes(8, _bytes(1, b"") + _number(2, 13))
