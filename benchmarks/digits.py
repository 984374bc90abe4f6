"""What the trees of the case ``loads`` are trained on: scikit-learn's images of handwritten digits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from benchmarks.model import Floats

TREES: Final = 500


def table() -> tuple[Floats, Any]:
    """Return the images, float32 [1797, 64], and the digit of each, int64 [1797]."""
    from sklearn.datasets import load_digits  # noqa: PLC0415  # its users alone pay for it

    images, labels = load_digits(return_X_y=True)
    return images.astype("float32"), labels
