"""Warm-up and golden requests: what a version answers before it is available.

::

    from pipeline import warm_up

    warm_up.write("models/digits/2", [
        warm_up.request({"pixels": images}, expected={"scores": scores}, description="one of each digit"),
        warm_up.request({"pixels": images[:1]}, batch_sizes=(8, 64)),
    ])

docs/warm-up.md describes the file and the rules.
"""

from pipeline.warm_up.file import FILE_NAME, read, request, write

__all__ = ["FILE_NAME", "read", "request", "write"]
