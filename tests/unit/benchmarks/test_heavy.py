"""The heavy version answers as the light one does, whichever branch it takes."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import heavy, model
from pipeline import warm_up
from pipeline.registry.servable import ServableId
from pipeline.servables.openvino import OpenVinoAdapter


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    path = tmp_path_factory.mktemp("heavy") / "2"
    heavy.write(path, warm_ups=3)
    return path


@pytest.fixture
def servable(version):
    loader = OpenVinoAdapter().loader(ServableId(model.NAME, 2), version, model.OPTIONS)
    yield loader.load()
    loader.unload()


def test_it_has_the_size_of_a_resnet_50(version):
    assert 90e6 < (version / "model.bin").stat().st_size < 110e6


def test_requests_of_the_load_are_answered_as_by_the_light_model(servable):
    rows = np.random.default_rng(1).standard_normal((5, model.FEATURES), np.float32)
    got = servable.predict("", {model.INPUT: rows})[model.OUTPUT]
    np.testing.assert_allclose(got, model.expected(rows), atol=1e-3)


def test_its_warm_up_takes_the_heavy_branch_as_often_as_it_is_told(version):
    deep, golden = warm_up.read(version)
    assert deep.iterations == 3
    assert deep.inputs[0].array().max() > heavy.THRESHOLD
    assert golden.expected is not None
