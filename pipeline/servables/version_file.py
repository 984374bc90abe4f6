"""A small YAML file that a version brings with it: bounded, checked against a struct, and never more than data."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec
import yaml

from pipeline.errors import InvalidArtefact

MAX_BYTES: Final = 64 << 10

Content = TypeVar("Content", bound=msgspec.Struct)


class _Loader(yaml.SafeLoader):
    """YAML without anchors: ten lines of aliases to aliases can stand for a billion elements."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # the stubs leave it out
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not allowed", mark)
        return super().compose_node(parent, index)


def read_mapping(what: str, file: Path) -> dict[str, Any]:
    """Return the mapping that a YAML file holds; an empty file is an empty one. Reads at most ``MAX_BYTES``.

    Raises InvalidArtefact in the name of ``what`` for anything else, OSError where the file can not be read.
    """
    with file.open("rb") as stream:
        content = stream.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise InvalidArtefact(what, f"{file.name} has more than {MAX_BYTES} bytes")
    try:
        tree = yaml.load(content.decode(), _Loader)  # noqa: S506  # a safe loader that refuses more
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidArtefact(what, f"{file.name} is not YAML: {' '.join(str(error).split())[:300]}") from error
    except (TypeError, KeyError, AttributeError, IndexError) as error:
        # What PyYAML itself stumbles over, a tag without its value for instance.
        raise InvalidArtefact(what, f"{file.name} is not YAML: {type(error).__name__}: {error}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict) or not all(isinstance(key, str) for key in tree):
        raise InvalidArtefact(what, f"{file.name} holds no names with values")
    return tree


def read(what: str, file: Path, kind_of_content: type[Content]) -> Content:
    """Return what ``read_mapping`` does as a struct; InvalidArtefact names the place that does not fit."""
    return convert(what, file.name, read_mapping(what, file), kind_of_content)


def convert(what: str, file_name: str, tree: dict[str, Any], kind_of_content: type[Content]) -> Content:
    """Return a mapping that was read as a struct; raises InvalidArtefact."""
    try:
        return msgspec.convert(tree, kind_of_content)
    except msgspec.ValidationError as error:
        raise InvalidArtefact(what, f"{file_name}: {error}") from error
