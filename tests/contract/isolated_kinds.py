"""Kinds whose versions live in child processes, for the suite and its processes to find by name."""

from __future__ import annotations

from pipeline.isolation.adapter import IsolatedAdapter
from pipeline.servables.lookup import LookupAdapter
from pipeline.servables.openvino import OpenVinoAdapter
from pipeline.servables.python import PythonAdapter


def openvino() -> IsolatedAdapter:
    return IsolatedAdapter(OpenVinoAdapter())


def python() -> IsolatedAdapter:
    return IsolatedAdapter(PythonAdapter(), entry_point="pipeline.servables.python:PythonAdapter", processes=2)


def lookup() -> IsolatedAdapter:
    return IsolatedAdapter(LookupAdapter())
