"""Between a load and AVAILABLE: a version that does not answer as it should is unloaded again, and never served."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from pipeline.errors import WarmUpFailed
from pipeline.records import WarmUp
from pipeline.registry.loader import Loader
from pipeline.registry.servable import Servable, ServableId
from pipeline.serving.form import form_of
from pipeline.settings import BatchingSettings, WarmUpSettings
from pipeline.warm_up import file
from pipeline.warm_up.run import AS_DECLARED, Verdict, run

logger = logging.getLogger(__name__)


def load(
    loader: Loader,
    id_: ServableId,
    path: Path,
    settings: WarmUpSettings,
    batching: BatchingSettings = AS_DECLARED,
) -> Servable:
    """Return what ``loader`` loads from ``path`` after it has answered the requests of the version's warm-up file.

    On the load pool; takes as long as the load and the requests do. Raises what the loader raises; InvalidSettings
    where ``batching`` does not fit a signature; WarmUpFailed and GoldenMismatch, which no further try would heal, so
    neither is retriable; OSError where the file can not be read now. Whatever it raises, nothing is left loaded, as
    Loader.load promises.
    """
    records = file.read(path)
    check_required(id_, records, settings)
    servable = loader.load()
    try:
        for name in servable.signatures:
            form_of(str(id_), servable, name, batching)
        for verdict in run(id_, servable, records, batching):
            _judge(id_, verdict, settings)
    except BaseException:
        _unload(loader, id_)
        raise
    if records:
        golden = sum(record.expected is not None for record in records)
        logger.info("%s has answered %d warm-up requests, %d of them golden", id_, len(records), golden)
    return servable


def check_required(id_: ServableId, records: Sequence[WarmUp], settings: WarmUpSettings) -> None:
    """Raise WarmUpFailed where the stream's versions must have a golden request, and this one has none."""
    if settings.required and not any(record.expected is not None for record in records):
        reason = "it has no golden request, which warm_up.required of its stream demands"
        raise WarmUpFailed(str(id_), f"{reason}; write one with `penstock warm-up write`")


def is_fatal(verdict: Verdict, settings: WarmUpSettings) -> bool:
    """Whether a record fails its version: golden ones do when anything goes wrong, the others by the settings."""
    return verdict.error is not None and (verdict.is_golden or settings.on_error != "ignore")


def _judge(id_: ServableId, verdict: Verdict, settings: WarmUpSettings) -> None:
    if verdict.error is None:
        return
    if is_fatal(verdict, settings):
        raise verdict.error
    logger.warning("%s goes on, as warm_up.on_error says: %s", id_, verdict.error)


def _unload(loader: Loader, id_: ServableId) -> None:
    """Unload; a failure is logged, since the reason why the version failed is the one to show."""
    try:
        loader.unload()
    except Exception:
        logger.exception("%s: its unload raised after a failed warm-up", id_)
