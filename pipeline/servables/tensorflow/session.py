"""A model in a session: what runs it, for as long as it is loaded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from pipeline.description import Description
from pipeline.errors import LoadFailed
from pipeline.records import DEFAULT_SIGNATURE
from pipeline.registry.servable import Signature
from pipeline.servables.framework import first_line
from pipeline.servables.tensorflow.options import TensorFlowOptions
from pipeline.servables.tensorflow.signatures import Endpoint
from pipeline.tensors import Array


class Model(NamedTuple):
    """A session that is ready to run the endpoints, by name of signature, and which allowed operations it has."""

    session: Any
    endpoints: Mapping[str, Endpoint]
    allowed_ops: tuple[str, ...]


class _Call(NamedTuple):
    run: Callable[..., Sequence[Array]]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class TensorFlowServable:
    """A model whose signatures are run by one session, from any number of threads; TensorFlow computes without the GIL.

    TensorFlow optimizes the graph for each signature: for ``serving_default``, or an only one, when this is made, for
    the others when they are first asked. Raises LoadFailed where it can not. Outputs are copies: what TensorFlow
    returns may be a variable, or an input. ``size_bytes``: the variables and the graph, as they are in the files.
    """

    def __init__(self, what: str, model: Model, description: Description, size_bytes: int) -> None:
        self.signatures: Mapping[str, Signature] = {name: one.signature for name, one in model.endpoints.items()}
        self.description = description
        self.size_bytes = size_bytes
        self._what = what
        self._session = model.session
        self._endpoints = model.endpoints
        self._lock = threading.Lock()
        self._calls: dict[str, _Call] = {}
        for name in self.signatures:
            if name == DEFAULT_SIGNATURE or len(self.signatures) == 1:
                self._prepare(name)

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """See Servable."""
        call = self._calls.get(signature) or self._prepare(signature)
        outputs = call.run(*(inputs[name] for name in call.inputs))
        return {name: np.array(output) for name, output in zip(call.outputs, outputs, strict=True)}

    def _prepare(self, name: str) -> _Call:
        with self._lock:
            if name not in self._calls:
                endpoint = self._endpoints[name]
                run = _callable(f"{self._what}: signature {name!r}", self._session, endpoint)
                sides = endpoint.signature.inputs, endpoint.signature.outputs
                self._calls[name] = _Call(run, *(tuple(spec.name for spec in side) for side in sides))
            return self._calls[name]

    def close(self) -> None:
        """Free the variables and the threads; nothing is running by then."""
        self._calls = {}
        self._session.close()
        self._session = None


def open_session(tensorflow: Any, graph: Any, options: TensorFlowOptions) -> Any:
    """Return a session of this graph alone, with threads of its own where the options ask for them."""
    config = tensorflow.compat.v1.ConfigProto(allow_soft_placement=True)
    if options.inter_op_threads is not None:
        config.use_per_session_threads = True
        config.inter_op_parallelism_threads = options.inter_op_threads
    if options.intra_op_threads is not None:
        config.intra_op_parallelism_threads = options.intra_op_threads
    return tensorflow.compat.v1.Session(graph=graph, config=config)


def _callable(where: str, session: Any, endpoint: Endpoint) -> Any:
    from tensorflow.core.protobuf.config_pb2 import CallableOptions  # noqa: PLC0415  # there only with TensorFlow

    options = CallableOptions(feed=endpoint.feeds, fetch=endpoint.fetches)
    try:
        # A fifth of the overhead of the public make_callable, which goes through session.run; tf.keras uses it, too.
        return session._make_callable_from_options(options)  # noqa: SLF001  # see above
    except Exception as error:
        raise LoadFailed(where, f"TensorFlow can not prepare it: {first_line(error)}") from error
