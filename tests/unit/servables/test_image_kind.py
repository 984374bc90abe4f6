"""What becomes of an image, and which images never reach the decoder."""

from __future__ import annotations

import random
import struct
import sys
import threading
import zlib

import cv2
import numpy as np
import pytest

from pipeline.codecs.avro_codec import AvroCodec
from pipeline.connector import Record
from pipeline.errors import InvalidArtefact, InvalidInput, InvalidSettings, MissingExtra
from pipeline.records import PredictRequest
from pipeline.registry.servable import ServableId
from pipeline.servables.image import ImageAdapter
from pipeline.serving.dispatcher import Dispatcher
from pipeline.settings import RouteSettings
from pipeline.tensors import from_array
from pipeline.testing.fakes import FakeClock, manager_with

SMALL = {"width": 8, "height": 6, "colour": "RGB"}
CHANCE = np.random.default_rng(0)
PICTURE = cv2.resize(CHANCE.integers(0, 256, (12, 16, 3), dtype=np.uint8), (64, 48))


def encoded(extension, image=PICTURE):
    return cv2.imencode(extension, image)[1].tobytes()


JPEG, PNG = encoded(".jpg"), encoded(".png")


def chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width, height, bits, colour_type, raw, *more):
    """A PNG of the given IHDR, whatever the pixels are."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def damaged_pixels(content):
    """One bit of the compressed pixels is flipped, so that only the decoder can find it."""
    place = content.index(b"IDAT") + 20
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


def with_orientation(jpeg, orientation):
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + bytes([orientation, 0, 0, 0, 0, 0, 0, 0])
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + jpeg[2:]


def images(*contents):
    array = np.empty(len(contents), object)
    array[:] = contents
    return {"image": array}


@pytest.fixture
def prepare(tmp_path, load):
    """The pixels of one image."""

    def prepare(content, **options):
        return load(ImageAdapter(), tmp_path, **{**SMALL, **options}).predict("", images(content))["pixels"][0]

    return prepare


def refusal(call, *arguments, **options):
    with pytest.raises(InvalidInput) as caught:
        call(*arguments, **options)
    return str(caught.value)


# -- what becomes of an image -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("extension", [".jpg", ".png"])
def test_an_image_becomes_what_opencv_makes_of_it_by_hand(prepare, extension):
    content = encoded(extension)
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    by_hand = cv2.resize(decoded, (8, 6), interpolation=cv2.INTER_LINEAR).astype(np.float32)
    np.testing.assert_array_equal(prepare(content, colour="BGR", layout="HWC"), by_hand)
    np.testing.assert_array_equal(prepare(content, colour="BGR"), by_hand.transpose(2, 0, 1))
    np.testing.assert_array_equal(prepare(content), by_hand[:, :, ::-1].transpose(2, 0, 1))
    mean, scale = np.float32([123.675, 116.28, 103.53]), np.float32([58.395, 57.12, 57.375])
    got = prepare(content, layout="HWC", mean=mean.tolist(), scale=scale.tolist())
    np.testing.assert_allclose(got, (by_hand[:, :, ::-1] - mean) / scale, rtol=1e-6)
    np.testing.assert_array_equal(prepare(content, datatype="UINT8", layout="HWC"), by_hand[:, :, ::-1])


def test_a_progressive_image_is_read_as_any_other(prepare):
    content = cv2.imencode(".jpg", PICTURE, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    np.testing.assert_array_equal(prepare(content), prepare(JPEG))


def test_grey_has_one_channel_and_one_mean(prepare):
    decoded = cv2.imdecode(np.frombuffer(JPEG, np.uint8), cv2.IMREAD_GRAYSCALE)
    by_hand = cv2.resize(decoded, (8, 6), interpolation=cv2.INTER_AREA)
    got = prepare(JPEG, colour="GRAY", interpolation="area", mean=10, scale=[2])
    np.testing.assert_array_equal(got, (by_hand[None].astype(np.float32) - 10) / 2)


@pytest.mark.parametrize(("size", "shorter_side", "scaled"), [((64, 48), 12, (16, 12)), ((48, 64), 0, (8, 11))])
def test_a_crop_is_the_centre_of_the_scaled_image(prepare, size, shorter_side, scaled):
    image = cv2.resize(PICTURE, size)
    whole = cv2.resize(image, scaled)
    left, top = (scaled[0] - 8) // 2, (scaled[1] - 6) // 2
    got = prepare(encoded(".png", image), resize="crop", shorter_side=shorter_side, colour="BGR", layout="HWC")
    np.testing.assert_array_equal(got, whole[top : top + 6, left : left + 8])


def test_an_exact_size_is_never_scaled(prepare):
    assert prepare(PNG, resize="exact", width=64, height=48).shape == (3, 48, 64)
    assert "64 x 48 pixels, expected 8 x 6" in refusal(prepare, PNG, resize="exact")


@pytest.mark.parametrize(("orientation", "turned"), [(1, lambda i: i), (3, lambda i: i[::-1, ::-1]), (6, np.rot90)])
def test_exif_turns_the_image_upright_unless_told_not_to(prepare, orientation, turned):
    flat = {"colour": "GRAY", "resize": "exact", "datatype": "UINT8"}
    stored = cv2.imdecode(np.frombuffer(JPEG, np.uint8), cv2.IMREAD_GRAYSCALE)
    upright = np.rot90(stored, -1) if orientation == 6 else turned(stored)
    height, width = upright.shape
    content = with_orientation(JPEG, orientation)
    np.testing.assert_array_equal(prepare(content, **flat, width=width, height=height)[0], upright)
    np.testing.assert_array_equal(prepare(content, **flat, width=64, height=48, exif_orientation=False)[0], stored)


def test_deep_transparent_and_palette_images_are_read_as_eight_bit_colour(prepare):
    exact = {"width": 2, "height": 1, "resize": "exact", "layout": "HWC", "datatype": "UINT8"}
    deep = png(2, 1, 16, 2, b"\0" + struct.pack(">6H", 0xFF00, 0x8000, 0, 0, 0x100, 0x4000))
    assert prepare(deep, **exact).tolist() == [[[255, 128, 0], [0, 1, 64]]]
    transparent = png(2, 1, 8, 6, b"\0" + bytes([9, 8, 7, 0, 6, 5, 4, 128]))
    assert prepare(transparent, **exact).tolist() == [[[9, 8, 7], [6, 5, 4]]]
    palette = png(2, 1, 8, 3, b"\0\1\0", chunk(b"PLTE", bytes([1, 2, 3, 4, 5, 6])), chunk(b"tRNS", b"\0"))
    assert prepare(palette, **exact).tolist() == [[[4, 5, 6], [1, 2, 3]]]
    assert prepare(png(2, 1, 1, 0, b"\0\x40"), **exact).tolist() == [[[0] * 3, [255] * 3]]


@pytest.mark.parametrize("extension", [".gif", ".bmp"])
def test_other_formats_are_read_only_where_they_are_allowed(prepare, extension):
    content, name = encoded(extension), extension[1:]
    assert f"{name.upper()} images are not allowed, only jpeg, png" in refusal(prepare, content)
    assert prepare(content, formats=[name]).shape == (3, 6, 8)


def test_the_signature_says_what_comes_out(tmp_path, load):
    [signature] = load(ImageAdapter(), tmp_path, **SMALL).signatures.values()
    [pixels] = signature.outputs
    assert (pixels.datatype, pixels.shape, pixels.axes) == (
        "FP32",
        (-1, 3, 6, 8),
        ("batch", "channel", "height", "width"),
    )
    [signature] = load(ImageAdapter(), tmp_path, **SMALL, layout="HWC", datatype="UINT8").signatures.values()
    assert (signature.outputs[0].datatype, signature.outputs[0].shape) == ("UINT8", (-1, 6, 8, 3))


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "first bytes, none, are those of no"),
        (b"hello", "first bytes, 68656c6c6f"),
        (JPEG[: len(JPEG) // 2], "damaged, or end too early"),
        (PNG[: len(PNG) // 2], "ends within a chunk: its bytes are damaged, or end too early"),
        (png(1, 1, 8, 2, b"\0\0\0\0", b"\xff\xff\xff\xf0tEXt"), "ends within a chunk"),
        (png(1, 1, 8, 2, b"\0\0\0\0", chunk(b"tEXt", b"") * 70_000), "more than 65536 chunks"),
        (JPEG[:-2], "damaged, or end too early"),
        (JPEG[:-2] + b"\xff\xda\0\0" * 100 + JPEG[-2:], "more than 100 scans"),
        (JPEG[:10], "JPEG image that ends too early"),
        (PNG[:20], "PNG image that ends too early"),
        (b"\xff\xd8\xff\xd9", "without a frame"),
        (b"\xff\xd8\xff\x00\x00\x02" + JPEG[2:], "without a frame"),
        (damaged_pixels(PNG), "damaged, or end too early"),
        (png(50_000, 50_000, 8, 2, b"\0"), "50000 x 50000 pixels, max_pixels is 32000000"),
        (JPEG.replace(struct.pack(">HH", 48, 64), b"\xff\xff\xff\xff"), "65535 x 65535 pixels"),
        (png(0, 5, 8, 2, b"\0"), "of 0 x 5 pixels"),
        (png(1, 1, 8, 2, b"\0\0\0\0", chunk(b"acTL", b"\0" * 8)), "animated"),
        (PNG[:8] + PNG[20:], "first chunk is not IHDR"),
        (PNG[:33], "PNG image that ends too early"),
    ],
)
def test_what_is_no_image_is_refused_with_the_reason(prepare, content, reason):
    assert reason in refusal(prepare, content)


def test_a_bomb_is_refused_before_anything_is_decoded(tmp_path, load, monkeypatch):
    servable = load(ImageAdapter(), tmp_path, **SMALL)
    monkeypatch.setattr(servable._cv2, "imdecode", None)
    assert "max_pixels" in refusal(servable.predict, "", images(PNG, png(50_000, 50_000, 8, 2, b"\0")))


def test_a_strip_that_a_crop_would_blow_up_is_refused(prepare):
    strip = encoded(".png", np.zeros((1, 20_000, 3), np.uint8))
    crop = {"resize": "crop", "width": 64, "height": 64}
    assert "would be scaled to 1280000 x 64" in refusal(prepare, strip, **crop)
    assert prepare(strip, width=64, height=64).shape == (3, 64, 64)


@pytest.mark.parametrize("content", [JPEG, PNG], ids=["jpeg", "png"])
def test_damaged_images_are_decoded_or_refused_and_nothing_else(tmp_path, load, content):
    """The decoder is in this process: one crash, and there is no test run."""
    servable = load(ImageAdapter(), tmp_path, **SMALL, threads=1)
    refused = 0
    for seed in range(300):
        chance = random.Random(seed)
        damaged = bytearray(content[: chance.randrange(len(content))] if seed % 3 == 0 else content)
        for _ in range(seed % 3 * 3):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        try:
            servable.predict("", images(bytes(damaged)))
        except InvalidInput:
            refused += 1
    assert refused >= 100


def test_one_bad_image_fails_its_own_request_and_no_other(tmp_path, load):
    servable = load(ImageAdapter(), tmp_path, **SMALL)
    clock, codec = FakeClock(), AvroCodec()
    manager = manager_with({ServableId("images", 1): servable}, clock)
    route = RouteSettings(servable="images", request_topic="q", result_topic="r")
    it = Dispatcher(route, manager, [codec], clock)
    requests = [PredictRequest(str(n), inputs=(from_array("image", images(JPEG)["image"]),)) for n in range(6)]
    requests[4] = PredictRequest("4", inputs=(from_array("image", images(JPEG, b"no image")["image"]),))
    records = [
        Record(codec.encode_request(one), None, (), "q", 0, n, clock.unix_ms()) for n, one in enumerate(requests)
    ]
    results = [codec.decode_result(answer.value) for answer in it.answer(it.decode(records))]
    assert [result.error.code if result.error else "" for result in results] == [""] * 4 + ["invalid_input", ""]
    assert "tensor 'image', row 1: its first bytes" in results[4].error.message


# -- versions and options ---------------------------------------------------------------------------------------------


def test_a_stream_may_say_otherwise_than_the_version(tmp_path, load):
    (tmp_path / "image.yaml").write_text("width: 4\nheight: 6\ncolour: GRAY\n")
    assert load(ImageAdapter(), tmp_path).predict("", images(PNG))["pixels"].shape == (1, 1, 6, 4)
    assert load(ImageAdapter(), tmp_path, width=8).predict("", images(PNG))["pixels"].shape == (1, 1, 6, 8)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("max_pixels: 1000000000000", "unknown field `max_pixels`"),
        ("formats: [gif]", "unknown field `formats`"),
        ("threads: 1000", "unknown field `threads`"),
        ("width: 100000", "width is 100000, expected 1 to 16384"),
        ("height: 0", "height is 0"),
        ("colour: CMYK", "colour is 'CMYK', expected one of BGR, RGB, GRAY"),
        ("resize: crop\nshorter_side: 7", "shorter_side is 7, expected 8 to"),
        ("shorter_side: 9", "goes with resize: crop"),
        ("mean: [1, 2]", "mean has 2 numbers, expected 1 or 3"),
        ("scale: [1, 0, 1]", "numbers other than 0"),
        ("mean: .nan", "mean is nan"),
        ("datatype: UINT8\nscale: 255", "go with datatype: FP32"),
        ("- 1", "holds no names with values"),
        ("a: &a 1\nb: *a", "aliases"),
        ("a: [", "not YAML"),
        ("[" * 5000, "not YAML"),
        ("#" * 70_000, "more than 65536 bytes"),
        ("when: 2020-13-45", "not YAML"),
    ],
)
def test_what_is_no_recipe_is_refused_with_the_reason(tmp_path, text, reason):
    (tmp_path / "image.yaml").write_text(text)
    limits = {"max_pixels": 100}
    given = {name: value for name, value in {**SMALL, **limits}.items() if f"{name}:" not in text}
    with pytest.raises(InvalidArtefact, match=reason.replace("[", r"\[")):
        ImageAdapter().loader(ServableId("m", 1), tmp_path, given).load()


def test_a_recipe_without_size_or_colour_is_refused(tmp_path):
    for missing in SMALL:
        options = {name: value for name, value in SMALL.items() if name != missing}
        with pytest.raises(InvalidArtefact, match=f"{missing} is .* set it in image.yaml or in the options"):
            ImageAdapter().loader(ServableId("m", 1), tmp_path, options).load()


@pytest.mark.parametrize("options", [{"formats": ["tiff"]}, {"formats": []}, {"max_pixels": 0}, {"threads": -1}])
def test_limits_that_are_none_are_refused_before_anything_is_read(tmp_path, options):
    with pytest.raises(InvalidSettings, match="options of m"):
        ImageAdapter().loader(ServableId("m", 1), tmp_path / "missing", {**SMALL, **options})


def test_without_opencv_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtra, match=r"penstock-serving\[images\]"):
        ImageAdapter().loader(ServableId("m", 1), tmp_path, SMALL).load()


def test_its_threads_end_with_its_unload(tmp_path):
    before = set(threading.enumerate())
    loader = ImageAdapter().loader(ServableId("m", 1), tmp_path, {**SMALL, "threads": 3})
    assert loader.load().predict("", images(*[JPEG] * 9))["pixels"].shape == (9, 3, 6, 8)
    assert len(set(threading.enumerate()) - before) == 3
    loader.unload()
    assert not set(threading.enumerate()) - before
