"""The section ``cluster_serving`` of a route: what its format leaves open; docs/cluster-serving.md."""

from __future__ import annotations

import re
from typing import Final

from pipeline.errors import InvalidSettings
from pipeline.settings.section import Section

FORMAT: Final = "cluster-serving"
# The result of job ``j`` goes to topic ``cluster-serving_j``, or to the key ``cluster-serving_j:<uri>``.
RESULT_PREFIX: Final = "cluster-serving_"
# Of the consumers of a stream: the name that their clients know.
GROUP: Final = "serving"
FAILURES: Final = ("nan", "array")
COLOURS: Final = ("BGR", "RGB", "GRAY")
POST_PROCESSING: Final = re.compile(r"(topN|pickTopN)\(([1-9][0-9]{0,8})\)")


class ClusterServingSettings(Section, frozen=True):
    """How a route with ``format: cluster-serving`` reads images and writes results.

    ``failures``: a request that fails is answered with the text ``NaN`` (``nan``) or with an array of one NaN
    (``array``); empty is what the connector's own client survives. Images that meet an input of numbers are made
    ``image_width`` x ``image_height`` pixels where the input does not fix its size; 0 is their own size.
    ``post_processing`` is ``topN(n)``, ``pickTopN(n)`` or empty.
    """

    failures: str = ""
    image_width: int = 0
    image_height: int = 0
    image_colour: str = "BGR"
    post_processing: str = ""


def check_cluster_serving(it: ClusterServingSettings, place: str, *, has_format: bool) -> None:
    """Raise InvalidSettings for what is out of range, or has no effect."""
    if not has_format:
        if it != ClusterServingSettings():
            raise InvalidSettings(place, f"it has no effect without format: {FORMAT}; set that, too")
        return
    if it.failures not in ("", *FAILURES):
        raise InvalidSettings(f"{place}.failures", f"{it.failures!r} is not {' or '.join(FAILURES)}")
    if it.image_colour not in COLOURS:
        raise InvalidSettings(f"{place}.image_colour", f"{it.image_colour!r} is not {', '.join(COLOURS)}")
    for field in ("image_width", "image_height"):
        if not 0 <= getattr(it, field) <= 16384:
            raise InvalidSettings(f"{place}.{field}", f"expected 0 to 16384 pixels, got {getattr(it, field)}")
    if it.post_processing and not POST_PROCESSING.fullmatch(it.post_processing):
        raise InvalidSettings(f"{place}.post_processing", f"{it.post_processing!r} is not topN(n) or pickTopN(n)")
