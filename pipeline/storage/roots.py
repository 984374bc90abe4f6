"""The border that no path may cross: a version lies below one of the storage roots of this worker, or is refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from pipeline.errors import PathRefused


def check_inside(path: str, roots: Sequence[str | Path]) -> Path:
    """Return the real path, with every link and ``..`` resolved; raise PathRefused unless it lies in one of the roots.

    A root itself counts as inside; roots that are URIs hold no path. The path need not exist. Reads the file system, so
    not for an event loop. What the links point to may change afterwards: this guards against records and directories
    that name what they should not, not against somebody who can write to the storage while it is being read.
    """
    if is_uri(path):
        raise PathRefused(path, "a directory of this machine is expected here, not a URI")
    try:
        real = Path(path).resolve()
        is_inside = any(real.is_relative_to(Path(root).resolve()) for root in roots if not is_uri(str(root)))
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links, a NUL, a name that is too long
        raise PathRefused(repr(path), f"it can not be resolved: {error}") from error
    if not is_inside:
        raise PathRefused(path, f"it is {real}, outside the storage roots ({_names(roots)}); see worker.storage_roots")
    return real


def check_uri_inside(uri: str, roots: Sequence[str | Path]) -> str:
    """Return the URI in its one spelling; raise PathRefused unless it lies in one of the roots that are URIs.

    Pure: nothing is asked of the store.
    """
    plain = normal_uri(uri)
    inside = [root for root in map(str, roots) if is_uri(root) and f"{plain}/".startswith(f"{normal_uri(root)}/")]
    if not inside:
        raise PathRefused(uri, f"it is outside the storage roots ({_names(roots)}); see worker.storage_roots")
    return plain


def is_uri(path: str) -> bool:
    """Whether a path names an object store rather than a directory."""
    return "://" in path


def normal_uri(uri: str) -> str:
    """Return a URI in its one spelling; raise PathRefused where it has none that is safe to compare.

    Refused: ``..`` and empty segments, plain or percent-encoded; a chain of file systems (``::``); a query or fragment;
    control characters and backslashes.
    """
    scheme, _, rest = uri.partition("://")
    plain = rest.rstrip("/")
    text = unquote(plain)
    if not scheme.isascii() or not scheme.replace("+", "").replace("-", "").isalnum():
        raise PathRefused(repr(uri), f"{scheme!r} is not the scheme of one file system")
    if "::" in text or any(character in text for character in "?#\\") or not text.isprintable():
        raise PathRefused(repr(uri), "a URI of a version has no '::', '?', '#', backslash or control character")
    if any(part in ("", ".", "..") for part in text.lstrip("/").split("/")):
        raise PathRefused(repr(uri), "a URI of a version has no empty, '.' or '..' segment")
    return f"{scheme.lower()}://{plain}"


def _names(roots: Sequence[str | Path]) -> str:
    return ", ".join(str(root) for root in roots) or "none"
