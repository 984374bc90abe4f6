"""PyTorch's dtypes and the protocol's datatypes."""

from __future__ import annotations

from typing import Final

# bf16, f8, complex and quantized dtypes have no datatype there, and strings no dtype here.
DATATYPES: Final = {
    "torch.bool": "BOOL",
    "torch.uint8": "UINT8",
    "torch.uint16": "UINT16",
    "torch.uint32": "UINT32",
    "torch.uint64": "UINT64",
    "torch.int8": "INT8",
    "torch.int16": "INT16",
    "torch.int32": "INT32",
    "torch.int64": "INT64",
    "torch.float16": "FP16",
    "torch.float32": "FP32",
    "torch.float64": "FP64",
}
