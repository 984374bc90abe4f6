"""Generated tensors, requests and results: every datatype, zero rows, no axes, any text."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.records import Error, PredictRequest, PredictResult, Source
from pipeline.tensors import DTYPES, Tensor, from_array

LONGS = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(max_size=20)
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    name, datatype = draw(TEXT), draw(st.sampled_from(list(DTYPES)))
    shape = draw(SHAPES)
    if datatype == "BYTES":
        count = int(np.prod(shape))
        array = np.empty(count, object)
        array[:] = draw(st.lists(st.binary(max_size=8), min_size=count, max_size=count))
        return from_array(name, array.reshape(shape))
    # No NaN, so that equal tensors compare equal in JSON too; infinity is no JSON.
    plain = {"allow_nan": False, "allow_infinity": False} if DTYPES[datatype].kind == "f" else {}
    elements = arrays.from_dtype(DTYPES[datatype], **plain)
    return from_array(name, draw(arrays.arrays(DTYPES[datatype], shape, elements=elements)))


REQUESTS = st.builds(
    PredictRequest,
    id=TEXT,
    servable=TEXT,
    version=st.none() | LONGS,
    label=st.none() | TEXT,
    signature=TEXT,
    deadline_ms=st.none() | LONGS,
    inputs=st.lists(tensors(), max_size=3).map(tuple),
    parameters=st.dictionaries(TEXT, TEXT, max_size=3),
)
RESULTS = st.builds(
    PredictResult,
    id=TEXT,
    servable=TEXT,
    version=st.none() | LONGS,
    outputs=st.lists(tensors(), max_size=3).map(tuple),
    error=st.none() | st.builds(Error, code=TEXT, message=TEXT, retriable=st.booleans()),
    source=st.none() | st.builds(Source, topic=TEXT, partition=st.integers(0, 2**31 - 1), offset=LONGS),
    digest=st.none() | TEXT,
    queue_us=LONGS,
    compute_us=LONGS,
)
