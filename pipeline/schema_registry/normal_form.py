"""Schemas of others, rewritten so that only what decides about bytes is left. Pure.

As Avro's parsing canonical form, and beyond it the names are brought into our namespace: classes that a build tool
generates lie in a namespace of their own, with attributes of their own, and write the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import avro.errors
import avro.schema

from pipeline.codecs import schemas
from pipeline.codecs.confluent import WriterSchema

_PRIMITIVES: Final = frozenset(("null", "boolean", "int", "long", "float", "double", "bytes", "string"))


def writer_schema(text: str, references: Sequence[str] = ()) -> WriterSchema:
    """Return the schema of a text in normal form; ``references`` are the texts that define what it names.

    Raises ValueError for what is no Avro schema.
    """
    try:
        others: dict[str, Any] = {}
        for reference in references:
            tree = json.loads(reference)
            others[_short(tree["name"])] = tree
        tree = normal(json.loads(text), others, set())
        if isinstance(tree, dict):
            tree = {**tree, "namespace": "penstock"}
        schema = avro.schema.parse(json.dumps(tree))
    except (avro.errors.AvroException, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no Avro schema: {type(error).__name__}: {error}") from error
    return WriterSchema(schemas.prefix_of(schema), schema)


def is_ours(text: str, record: str) -> bool:
    """Return whether a schema writes the bytes that our schema of ``record`` writes."""
    try:
        return writer_schema(text).prefix == schemas.prefix(record)
    except ValueError:
        return False


def normal(tree: Any, others: Mapping[str, Any], defined: set[str]) -> Any:
    """Return a schema with nothing but types, names, fields and sizes; ``others`` defines names by their short form."""
    if isinstance(tree, list):
        return [normal(branch, others, defined) for branch in tree]
    if isinstance(tree, str):
        name = tree if tree in _PRIMITIVES else _short(tree)
        return normal(others[name], others, defined) if name not in defined and name in others else name
    kind = tree["type"]
    if kind in ("array", "map"):
        items = "items" if kind == "array" else "values"
        return {"type": kind, items: normal(tree[items], others, defined)}
    if kind not in ("record", "error", "enum", "fixed"):
        return normal(kind, others, defined)  # a primitive type, or a name, with attributes
    return _named(kind, tree, others, defined)


def _named(kind: str, tree: Mapping[str, Any], others: Mapping[str, Any], defined: set[str]) -> Any:
    name = _short(tree["name"])
    defined.add(name)
    if kind in ("enum", "fixed"):
        what = "symbols" if kind == "enum" else "size"
        return {"name": name, "type": kind, what: tree[what]}
    fields = [{"name": field["name"], "type": normal(field["type"], others, defined)} for field in tree["fields"]]
    return {"name": name, "type": kind, "fields": fields}


def _short(name: str) -> str:
    return name.rpartition(".")[2]
