"""Every codec that comes with Penstock keeps the contract."""

from __future__ import annotations

from importlib.metadata import entry_points

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from msgspec.structs import replace

from pipeline import plugins
from pipeline.records import PredictRequest, PredictResult
from pipeline.tensors import DTYPES, from_array
from pipeline.testing.codec_contract import CodecContract
from pipeline.testing.strategies import REQUESTS, RESULTS, TEXT

_THEIRS = {"label", "signature", "deadline_ms"}  # parameters of the protocol that are fields of ours


class TestAvro(CodecContract):
    entry_point = "pipeline.codecs.avro_codec:AvroCodec"


class TestV2Json(CodecContract):
    entry_point = "pipeline.codecs.v2_json:V2JsonCodec"
    requests = REQUESTS.filter(lambda request: not _THEIRS & request.parameters.keys())
    # Times stand beside the source of a request there.
    results = RESULTS.map(lambda result: result if result.source else replace(result, queue_us=0, compute_us=0))


_SHAPES = arrays.array_shapes(min_dims=1, max_dims=3, min_side=2, max_side=3)
_INPUTS = st.dictionaries(TEXT, arrays.arrays(np.float32, _SHAPES, elements=st.floats(width=32, allow_nan=False)))


class TestClusterServing(CodecContract):
    """A request is an id and FP32 tensors; of a result, outputs of one datatype without names, or that it failed."""

    entry_point = "pipeline.codecs.cluster_serving:ClusterServingCodec"
    is_recognised = False
    requests = st.builds(
        lambda id_, inputs: PredictRequest(id_, inputs=tuple(from_array(*item) for item in inputs.items())),
        TEXT,
        _INPUTS,
    )
    results = st.sampled_from([dtype for name, dtype in DTYPES.items() if name not in ("BOOL", "BYTES")]).flatmap(
        lambda dtype: st.lists(arrays.arrays(dtype, _SHAPES), min_size=1, max_size=3).map(
            lambda outputs: PredictResult(
                "", "", outputs=tuple(from_array(f"output_{place}", it) for place, it in enumerate(outputs))
            )
        )
    )


def test_every_codec_of_ours_is_tested() -> None:
    ours = {it.value for it in entry_points(group=plugins.CODECS) if it.value.startswith("pipeline.")}
    assert ours == {suite.entry_point for suite in (TestAvro, TestV2Json, TestClusterServing)}
