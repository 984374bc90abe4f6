"""What one version is, in words that cross the wire: its signatures, and what computes it with what."""

from __future__ import annotations

import msgspec


class TensorSpec(msgspec.Struct, frozen=True):
    """A tensor of a signature: datatype as the Open Inference Protocol names it, -1 for an axis of any length.

    Where the signature is batched, the first axis is the batch and is -1. ``axes`` names the axes, "" for one without a
    name; it is empty or as long as ``shape``. Axes of one name have the same length in all tensors of one call.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    axes: tuple[str, ...] = ()


class Signature(msgspec.Struct, frozen=True):
    """One way to call a servable.

    ``batched`` says that axis 0 of every tensor is the batch: rows are independent, any number of them may be joined
    into one call, and row i of each output belongs to row i of the inputs. Otherwise each request is a call of its own.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    batched: bool = True


class Description(msgspec.Struct, frozen=True):
    """What is known of one loaded version; see ``schemas/ServableState.avsc``.

    A kind sets ``framework`` (as its package is called), ``framework_version``, ``threads`` (how many one prediction
    may use, None where the framework chooses) and ``notes`` (what an operator must know: that a pickle was allowed).
    ``isolation`` is ``thread`` or ``process``; who isolates sets it with ``processes``. ``signatures`` are those of the
    servable; whoever publishes a description fills them in.
    """

    framework: str = ""
    framework_version: str = ""
    threads: int | None = None
    isolation: str = "thread"
    processes: int = 0
    notes: tuple[str, ...] = ()
    signatures: dict[str, Signature] = {}
