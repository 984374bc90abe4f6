"""To which size an image is scaled, and what is cut out of it: a pure function."""

from __future__ import annotations

from typing import NamedTuple

from pipeline.servables.image.recipe import Recipe


class Fit(NamedTuple):
    """Scale to ``width`` x ``height``, then cut out the recipe's width and height from ``left`` and ``top`` on."""

    width: int
    height: int
    left: int
    top: int


def fit(recipe: Recipe, width: int, height: int) -> Fit:
    """Return how an image of ``width`` x ``height`` pixels comes to the recipe's size."""
    if recipe.resize != "crop":
        return Fit(recipe.width, recipe.height, 0, 0)
    if recipe.shorter_side:
        factor = recipe.shorter_side / min(width, height)
    else:
        factor = max(recipe.width / width, recipe.height / height)
    scaled = max(recipe.width, round(width * factor)), max(recipe.height, round(height * factor))
    return Fit(*scaled, (scaled[0] - recipe.width) // 2, (scaled[1] - recipe.height) // 2)
