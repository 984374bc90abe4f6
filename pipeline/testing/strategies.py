"""Generated tensors, requests and results: every datatype, zero rows, no axes, any text."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.records import Error, PredictRequest, PredictResult, Source
from pipeline.tensors import DTYPES, Tensor, from_array

LONGS = st.integers(-(2**63), 2**63 - 1)
VERSIONS = st.none() | st.integers(0, 2**63 - 1)
TEXT = st.text(max_size=20)
SHAPES = arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)


@st.composite
def tensors(draw: st.DrawFn) -> Tensor:
    """Return a tensor of any datatype and of up to three axes; its numbers are finite."""
    name, datatype = draw(TEXT), draw(st.sampled_from(list(DTYPES)))
    shape = draw(SHAPES)
    if datatype == "BYTES":
        count = int(np.prod(shape))
        array = np.empty(count, object)
        array[:] = draw(st.lists(st.binary(max_size=8), min_size=count, max_size=count))
        return from_array(name, array.reshape(shape))
    # No NaN, so that equal tensors compare equal in JSON too; infinity is no JSON.
    elements = arrays.from_dtype(DTYPES[datatype], allow_nan=False, allow_infinity=False)
    return from_array(name, draw(arrays.arrays(DTYPES[datatype], shape, elements=elements)))


REQUESTS = st.builds(
    PredictRequest,
    id=TEXT,
    servable=TEXT,
    version=VERSIONS,
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
    version=VERSIONS,
    outputs=st.lists(tensors(), max_size=3).map(tuple),
    error=st.none() | st.builds(Error, code=TEXT, message=TEXT, retriable=st.booleans()),
    source=st.none() | st.builds(Source, topic=TEXT, partition=st.integers(0, 2**31 - 1), offset=LONGS),
    digest=st.none() | TEXT,
    queue_us=LONGS,
    compute_us=LONGS,
)
# Results that are errors, with texts of any length.
ERRORS = st.builds(
    PredictResult,
    id=TEXT,
    servable=TEXT,
    version=VERSIONS,
    error=st.builds(Error, code=TEXT, message=TEXT | st.just("long " * 800), retriable=st.booleans()),
    source=st.none() | st.builds(Source, topic=TEXT, partition=st.integers(0, 2**31 - 1), offset=LONGS),
)


@st.composite
def damaged(draw: st.DrawFn, values: st.SearchStrategy[bytes]) -> bytes:
    """Return one of ``values`` with a part replaced: by nothing, by a byte or two, or by a number that is too large."""
    value = draw(values)
    start = draw(st.integers(0, len(value)))
    end = start + draw(st.sampled_from([0, 1, 1, 2, 4, len(value)]))
    other = st.binary(max_size=2) | st.sampled_from(
        [b"\xff" * 9 + b"\x7f", b"\x7f\xff\xff\xff", b"\xff" * 8, b"9" * 25]
    )
    return value[:start] + draw(other) + value[end:]
