"""The composition root: ``create_app(settings)`` puts a worker together.

``app`` is what ``faust -A pipeline.app worker`` runs. Importing this module does nothing: ``app`` is made from
``penstock.yaml`` and the environment when it is first asked for.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import socket
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import faust
from faust.app.base import BootStrategy

from pipeline import plugins
from pipeline.agents import RequestChannel, Route
from pipeline.circuits import circuit_of
from pipeline.clock import SystemClock
from pipeline.codecs.installed import load_codecs
from pipeline.host import Registry, WorkerService
from pipeline.metrics import Metrics
from pipeline.schema_registry.of_worker import WorkerSchemas
from pipeline.serving.dispatcher import Dispatcher
from pipeline.settings import Settings
from pipeline.settings_file import SettingsFile
from pipeline.web.address import check_address
from pipeline.web.pages import add_pages

if TYPE_CHECKING:
    app: PenstockApp

log = logging.getLogger(__name__)

_NAME: Final = "penstock"
# How long threads may take to end when everything else has ended.
_END_S: Final = 5.0


class HostStrategy(BootStrategy):
    """Faust hosts, and librdkafka moves the records: none of Faust's own Kafka is started."""

    enable_kafka = False


class PenstockApp(faust.App):
    """A Faust app that hosts agents on channels."""

    BootStrategy = HostStrategy
    is_whole_process = False

    async def on_stop(self) -> None:
        """See faust.App. Where the process is this app's alone, it ends soon, even where a thread hangs.

        In a model or in storage; the interpreter would wait for it.
        """
        try:
            await super().on_stop()
        finally:
            if self.is_whole_process:
                threading.Thread(target=_end_in_time, name="penstock-end", daemon=True).start()


def create_app(
    settings: Settings, *, is_watching: bool | None = None, settings_file: SettingsFile | None = None
) -> PenstockApp:
    """Return the Faust app of one worker: an agent for each route, the registry, and the pages.

    Nothing is started and nothing is connected. ``is_watching`` overrides ``watch.in_worker``. While the worker runs,
    changed servables are taken from ``settings_file``. Raises PluginError, and MissingExtra or ConnectorError where
    the client of the schema registry can not be made.
    """
    application = PenstockApp(
        _NAME,
        broker=f"kafka://{settings.bootstrap.partition(',')[0]}",
        store="memory://",
        env_prefix="PENSTOCK_FAUST_",  # else un-prefixed names such as WEB_PORT and TIMEZONE would count
        web_host=settings.worker.web_host,
        web_bind=settings.worker.web_host,
        web_port=settings.worker.web_port,
        datadir=Path(tempfile.gettempdir()) / f"penstock-{os.getuid()}",
        topic_allow_declare=False,
        topic_disable_leader=True,
        agent_supervisor="mode.supervisors.CrashingSupervisor",
    )
    clock = SystemClock()
    worker_id = settings.worker.id or f"{socket.gethostname()}-{settings.worker.web_port}"
    registry, metrics = Registry(settings, worker_id, clock), Metrics()
    metrics.tell_of_worker(worker_id, registry.versions)
    others = [codec for name, codec in load_codecs().items() if name != "avro"]  # each route has one of its own
    # A route computes on one thread at a time.
    pool = ThreadPoolExecutor(max(1, len(settings.routes)), "penstock-compute")
    schemas = WorkerSchemas(settings.schema_registry, clock, pool)
    routes: dict[str, tuple[Route, RequestChannel]] = {}
    for name, route_settings in settings.routes.items():
        connector = plugins.find(plugins.CONNECTORS, route_settings.connector).from_settings(
            route_settings, settings, f"{_NAME}-{worker_id}-{name}"
        )
        avro, is_prepared = schemas.route(route_settings)
        codecs = [avro, *others]
        dispatcher = Dispatcher(
            route_settings, registry.manager, codecs, clock, registry.batching_of, schemas.fetch, metrics.predicted
        )
        circuit = circuit_of(name, route_settings, clock, metrics, registry.reporter)
        route = Route(name, route_settings, connector, dispatcher, pool, metrics, circuit, is_prepared)
        routes[name] = (route, _add_agent(application, route))
    watching = settings.watch.in_worker if is_watching is None else is_watching
    service = WorkerService(application, settings, registry, routes, is_watching=watching, settings_file=settings_file)
    application.add_dependency(service)
    add_pages(application, lambda: service.unready, lambda: service.open_circuits, registry.versions, metrics)

    @application.on_before_shutdown.connect
    async def drain(*_: Any, **__: Any) -> None:
        await service.drain()
        schemas.close()
        pool.shutdown(wait=False, cancel_futures=True)

    return application


def run_worker(
    settings_file: SettingsFile, *, log_level: str = "INFO", with_web: bool = True, is_watching: bool | None = None
) -> int:
    """Run a worker until SIGTERM or SIGINT.

    Return its exit status, non-zero after a crash. Call it on the main thread. A crash of native code, a model's or a
    client's, leaves the stacks of all threads on standard error. Raises InvalidSettings where the port of its pages is
    another's.
    """
    faulthandler.enable()
    if with_web:
        check_address(settings_file.current.worker)
    application = create_app(settings_file.current, is_watching=is_watching, settings_file=settings_file)
    application.conf.web_enabled = with_web
    application.is_whole_process = True
    worker = faust.Worker(application, loglevel=log_level, redirect_stdouts=False)
    try:
        worker.execute_from_commandline()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1


def _end_in_time() -> None:
    time.sleep(_END_S)
    log.error("the process ends with status 1: %g s after everything else there are threads at work:", _END_S)
    faulthandler.dump_traceback()
    os._exit(1)


def _add_agent(application: faust.App, route: Route) -> RequestChannel:
    channel = RequestChannel(application, topic_name=route.settings.request_topic)

    async def answer(stream: Any) -> None:  # faust.Stream of batches
        await route.answer(stream)

    answer.__doc__ = f"Answer {route.settings.request_topic} with {route.settings.servable}."
    application.agent(channel, name=f"{_NAME}.{route.name}")(answer)
    return channel


def __getattr__(name: str) -> PenstockApp:
    if name == "app":
        file = SettingsFile(environ=os.environ)
        made = create_app(file.current, settings_file=file)
        made.is_whole_process = True
        globals()["app"] = made
        return made
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
