"""Who hears of a circuit: the log once, the metrics, and the worker's signs of life."""

from __future__ import annotations

import logging

from pipeline.clock import Clock
from pipeline.metrics import Metrics
from pipeline.reporting import Reporter
from pipeline.serving.circuit import Circuit, Standing, State
from pipeline.settings import RouteSettings

log = logging.getLogger(__name__)


def circuit_of(name: str, route: RouteSettings, clock: Clock, metrics: Metrics, reporter: Reporter) -> Circuit:
    """Return the circuit of a route, closed. What changes is said on the thread that changes it, without waiting."""
    metrics.circuit(name, State.CLOSED)
    was_told = False

    def changed(standing: Standing) -> None:
        nonlocal was_told
        metrics.circuit(name, standing.state)
        reporter.remark(route.servable, f"route {name}", text(name, route, standing))
        if standing.state is State.CLOSED:
            log.info("route %s: its circuit is closed, requests are computed", name)
        elif not was_told:
            log.error("%s; %s", text(name, route, standing), _next_step(route.servable))
        was_told = standing.state is not State.CLOSED

    return Circuit(route.circuit, clock, changed)


def text(name: str, route: RouteSettings, standing: Standing) -> str:
    """Return where a circuit stands, for people; empty where it is closed."""
    if standing.state is State.CLOSED:
        return ""
    done = "takes no requests" if route.circuit.action == "stop" else f"sends requests to {route.dead_letter_topic}"
    return (
        f"route {name} {done}: its circuit is {standing.state.replace('_', '-')}, since {standing.failed_batches} "
        f"batches in a row failed, the last with {standing.last_error}; tried every {route.circuit.retry_after_s:g} s"
    )


def _next_step(servable: str) -> str:
    return (
        f"look at what the model needs, or bring back the version before with: penstock versions rollback {servable} "
        "(a version that becomes available closes the circuit at once)"
    )
