"""The codecs that are installed, found by entry point ``penstock.codecs``."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint

from pipeline import plugins
from pipeline.codecs.codec import Codec
from pipeline.codecs.guarded import Guarded
from pipeline.errors import PluginError


def load_codec(name: str, installed: Iterable[EntryPoint] | None = None) -> Codec:
    """Return a new codec of this name, from the installed plugins unless others are given; raises PluginError."""
    make = plugins.find(plugins.CODECS, name, installed)
    try:
        codec = Guarded(name, make())
    except Exception as error:
        reason = f"{make!r} can not be made: {type(error).__name__}: {error}"
        raise PluginError(plugins.CODECS, name, reason) from error
    content_type = codec.content_type
    if content_type != content_type.partition(";")[0].strip().lower() or not content_type:
        reason = f"its content type is {content_type!r}, expected one in small letters and without parameters"
        raise PluginError(plugins.CODECS, name, reason)
    return codec


def load_codecs(installed: Iterable[EntryPoint] | None = None) -> dict[str, Codec]:
    """Return a new codec of each plugin, by name and in the order of names.

    Raises PluginError, for two of one content type as well: which of them reads a record would be chance.
    """
    codecs = {name: load_codec(name, installed) for name in plugins.names(plugins.CODECS, installed)}
    names: dict[str, str] = {}
    for name, codec in codecs.items():
        other = names.setdefault(codec.content_type, name)
        if other != name:
            reason = f"its content type {codec.content_type!r} is that of {other!r}, too; uninstall one of them"
            raise PluginError(plugins.CODECS, name, reason)
    return codecs
