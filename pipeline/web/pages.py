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
Reasons = Callable[[], Mapping[str, str]]


def add_pages(app: faust.App, unready: Reasons, open_circuits: Reasons, versions: Versions, metrics: Metrics) -> None:
    """Add the pages to an app that has not started. Handlers run on the event loop, and only read.

    ``unready`` returns why a route can not answer now, ``open_circuits`` what is to be said of one that is not closed,
    by route.
    """

    async def live(view: Any, _: Any) -> Any:
        return view.json({"live": True})

    async def ready(view: Any, _: Any) -> Any:
        reasons, circuits = dict(unready()), dict(open_circuits())
        page: dict[str, Any] = {"ready": not reasons}
        page |= {name: found for name, found in (("routes", reasons), ("circuits", circuits)) if found}
        return view.json(page, status=503 if reasons else 200)

    async def show_versions(view: Any, _: Any) -> Any:
        return view.json(dict(versions()))

    async def show_metrics(view: Any, _: Any) -> Any:
        return view.text(generate_latest(metrics.registry).decode(), content_type=CONTENT_TYPE_LATEST.partition(";")[0])

    pages = {"/live": live, "/ready": ready, "/v2/health/live": live, "/v2/health/ready": ready}
    pages |= {"/versions": show_versions, "/metrics": show_metrics}
    for path, handler in pages.items():
        app.page(path, name=f"penstock{path.replace('/', '.')}")(handler)
