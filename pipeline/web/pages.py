"""Health, versions and metrics of one worker over HTTP.

``/live`` and ``/ready`` are also where the Open Inference Protocol has them, below ``/v2/health/``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import faust
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from pipeline.metrics import Metrics

Versions = Callable[[], Mapping[str, Any]]
Circuits = Callable[[], Mapping[str, str]]


def add_pages(
    app: faust.App, is_ready: Callable[[], bool], open_circuits: Circuits, versions: Versions, metrics: Metrics
) -> None:
    """Add the pages to an app that has not started. Handlers run on the event loop, and only read."""

    async def live(view: Any, _: Any) -> Any:
        return view.json({"live": True})

    async def ready(view: Any, _: Any) -> Any:
        answer = is_ready()
        circuits = open_circuits()
        page: dict[str, Any] = {"ready": answer, "circuits": dict(circuits)} if circuits else {"ready": answer}
        return view.json(page, status=200 if answer else 503)

    async def show_versions(view: Any, _: Any) -> Any:
        return view.json(dict(versions()))

    async def show_metrics(view: Any, _: Any) -> Any:
        return view.text(generate_latest(metrics.registry).decode(), content_type=CONTENT_TYPE_LATEST.partition(";")[0])

    pages = {"/live": live, "/ready": ready, "/v2/health/live": live, "/v2/health/ready": ready}
    pages |= {"/versions": show_versions, "/metrics": show_metrics}
    for path, handler in pages.items():
        app.page(path, name=f"penstock{path.replace('/', '.')}")(handler)
