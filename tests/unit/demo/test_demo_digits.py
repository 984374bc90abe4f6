from __future__ import annotations

import numpy as np
import openvino as ov
import pytest

from pipeline.demo import digits


@pytest.fixture(scope="module")
def parts():
    return digits.split()


@pytest.fixture(scope="module")
def models(parts):
    train, _ = parts
    return {"linear": digits.train_linear(train), "net": digits.train_net(train)}


def test_no_image_is_in_both_parts_and_none_is_left_out(parts):
    train, test = parts
    assert not set(train.ids) & set(test.ids)
    assert set(train.ids) | set(test.ids) == set(range(1797))


def test_no_picture_of_the_test_part_was_learnt_under_another_number(parts):
    train, test = parts
    learnt = {image.tobytes() for image in train.images}
    assert not [image for image in test.images if image.tobytes() in learnt]


def test_every_digit_has_its_share_in_both_parts(parts):
    train, test = parts
    shares = [np.bincount(part.labels, minlength=10) / len(part.labels) for part in parts]
    np.testing.assert_allclose(*shares, atol=0.005)
    assert len(test.labels) == pytest.approx(0.4 * 1797, abs=1)
    assert train.images.dtype == np.float32
    assert (train.images.min(), train.images.max()) == (0.0, 1.0)


def test_the_split_is_the_same_every_time(parts):
    np.testing.assert_array_equal(parts[1].ids, digits.split()[1].ids)


def test_the_net_is_better_than_the_linear_model_on_images_that_neither_has_seen(parts, models):
    _, test = parts
    linear = models["linear"].score(test.images, test.labels)
    net = models["net"].score(test.images, test.labels)
    assert 0.9 < linear < net - 0.01


def test_the_linear_model_is_linear_and_the_net_has_a_hidden_layer(models):
    assert [layer.weights.shape for layer in digits.layers_of(models["linear"])] == [(64, 10)]
    assert [layer.weights.shape for layer in digits.layers_of(models["net"])] == [(64, 128), (128, 10)]


@pytest.mark.parametrize("name", ["linear", "net"])
def test_what_is_exported_answers_as_scikit_learn_does(name, parts, models, tmp_path):
    digits.export(digits.layers_of(models[name]), tmp_path / "1")
    # Some processors compute in bfloat16 unless they are told not to.
    compiled = ov.Core().compile_model(tmp_path / "1" / "model.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    _, test = parts
    probabilities = compiled({digits.INPUT: test.images})[digits.OUTPUT]
    np.testing.assert_allclose(probabilities, models[name].predict_proba(test.images), atol=1e-5)


def test_the_corrupt_version_looks_like_a_version_and_is_none(tmp_path):
    digits.export_corrupt(tmp_path / "3")
    assert (tmp_path / "3" / "model.xml").stat().st_size > 0
    with pytest.raises(RuntimeError):
        ov.Core().read_model(tmp_path / "3" / "model.xml")


def test_the_image_that_is_kept_is_one_row_of_float32(parts, tmp_path):
    digits.save_image(parts[1], tmp_path / "image.npy")
    image = np.load(tmp_path / "image.npy")
    assert (image.dtype, image.shape) == (np.float32, (1, 64))
