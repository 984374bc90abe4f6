"""Lookup tables: a CSV, Avro or Parquet file is a servable, its keys the inputs, its other columns the outputs."""

from pipeline.servables.lookup.adapter import LookupAdapter

__all__ = ["LookupAdapter"]
