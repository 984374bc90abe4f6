"""How images become tensors: what a version says in ``image.yaml``, and what a stream allows in its options."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from pipeline.errors import InvalidArtefact, InvalidSettings
from pipeline.registry.servable import ServableId
from pipeline.servables import version_file
from pipeline.servables.image.header import FORMATS

FILE: Final = "image.yaml"
MAX_SIDE: Final = 16384
INTERPOLATIONS: Final = ("nearest", "linear", "cubic", "area", "lanczos")
_ALLOWED: Final[Mapping[str, tuple[str, ...]]] = {
    "colour": ("BGR", "RGB", "GRAY"),
    "resize": ("stretch", "crop", "exact"),
    "interpolation": INTERPOLATIONS,
    "layout": ("CHW", "HWC"),
    "datatype": ("FP32", "UINT8"),
}


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the model was trained on; ``width``, ``height`` and ``colour`` have no default.

    ``resize``: ``stretch`` to width and height; ``crop``, which scales the image until its shorter side has
    ``shorter_side`` pixels (by default: until it covers width and height) and cuts out the centre; ``exact``, which
    refuses images of another size. ``mean`` and ``scale``, one number or one per channel in the order of ``colour``:
    each element of 0..255 becomes (element - mean) / scale. ``layout`` is CHW or HWC, ``datatype`` FP32 or UINT8.
    ``exif_orientation``: turn the image upright as its EXIF says.
    """

    width: int = 0
    height: int = 0
    colour: str = ""
    resize: str = "stretch"
    shorter_side: int = 0
    interpolation: str = "linear"
    mean: float | tuple[float, ...] = 0.0
    scale: float | tuple[float, ...] = 1.0
    layout: str = "CHW"
    datatype: str = "FP32"
    exif_orientation: bool = True

    @property
    def channels(self) -> int:
        """How many channels the tensor has."""
        return 1 if self.colour == "GRAY" else 3


class ImageOptions(Recipe, frozen=True, forbid_unknown_fields=True):
    """Options of a stream: any field of the recipe, which then wins over the version's, and the operator's limits.

    ``max_pixels``: an image that claims more is refused before it is decoded. ``formats``: jpeg, png, gif, bmp.
    ``threads``: how many images of a batch are decoded at once; 0 is one per core.
    """

    max_pixels: int = 32_000_000
    formats: tuple[str, ...] = ("jpeg", "png")
    threads: int = 0


def check_limits(id: ServableId, options: ImageOptions) -> None:  # noqa: A002  # TF Serving's word
    """Raise InvalidSettings where a stream's limits are none."""
    where = f"options of {id.name}"
    unknown = sorted(set(options.formats).difference(FORMATS))
    if unknown or not options.formats:
        got = ", ".join(unknown) or "nothing"
        raise InvalidSettings(where, f"formats: {got}, expected some of {', '.join(FORMATS)}")
    if options.max_pixels < 1 or options.threads < 0:
        raise InvalidSettings(where, "max_pixels is 1 or more, threads is 0 or more")


def read(what: str, file: Path, options: Mapping[str, Any]) -> ImageOptions:
    """Return the recipe of a version with what the stream's options say in its place. Reads the file where it is.

    Raises InvalidArtefact, in the name of ``what``, where both together are no recipe.
    """
    tree = version_file.read_mapping(what, file) if file.is_file() else {}
    version_file.convert(what, file.name, tree, Recipe)  # so that a version can not raise the operator's limits
    recipe = version_file.convert(what, file.name, {**tree, **options}, ImageOptions)
    reason = _problem(recipe)
    if reason:
        raise InvalidArtefact(what, f"{reason}; set it in {FILE} or in the options")
    return recipe


def _problem(recipe: Recipe) -> str | None:
    for name, allowed in _ALLOWED.items():
        value = getattr(recipe, name)
        if value not in allowed:
            return f"{name} is {value!r}, expected one of {', '.join(allowed)}"
    for name in ("width", "height"):
        if not 1 <= getattr(recipe, name) <= MAX_SIDE:
            return f"{name} is {getattr(recipe, name)}, expected 1 to {MAX_SIDE} pixels"
    if recipe.shorter_side:
        if recipe.resize != "crop":
            return "shorter_side goes with resize: crop"
        if not max(recipe.width, recipe.height) <= recipe.shorter_side <= MAX_SIDE:
            return f"shorter_side is {recipe.shorter_side}, expected {max(recipe.width, recipe.height)} to {MAX_SIDE}"
    return _problem_of_numbers(recipe)


def _problem_of_numbers(recipe: Recipe) -> str | None:
    for name in ("mean", "scale"):
        value = getattr(recipe, name)
        numbers = value if isinstance(value, tuple) else (value,)
        if len(numbers) not in {1, recipe.channels}:
            return f"{name} has {len(numbers)} numbers, expected 1 or {recipe.channels}"
        if not all(abs(number) < 1e9 for number in numbers) or (name == "scale" and not all(numbers)):
            return f"{name} is {value}, expected numbers{' other than 0' if name == 'scale' else ''}"
    if recipe.datatype == "UINT8" and (recipe.mean, recipe.scale) != (0.0, 1.0):
        return "mean and scale go with datatype: FP32"
    return None
