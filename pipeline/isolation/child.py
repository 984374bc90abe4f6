"""The child process of one version: ``python -m pipeline.isolation.child DESCRIPTOR PARENT``.

An IsolatedLoader starts it. It loads, answers calls one after the other, unloads, and ends when its worker does.
Nothing that it prints is read as an answer: those go over a socket of their own.
"""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Final

from pipeline import plugins
from pipeline.isolation import failures, packing
from pipeline.isolation.channel import Channel
from pipeline.isolation.messages import Answered, Call, Failed, Load, Loaded, Message, Unload, Unloaded
from pipeline.isolation.segment import Arena, Segment
from pipeline.registry.heap import give_back, keep_large_blocks
from pipeline.registry.load_pool import LoadPool
from pipeline.registry.loader import Loader
from pipeline.registry.servable import Servable, ServableId, describe
from pipeline.servables import kinds
from pipeline.tensors import Array

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG: Final = 1
# Added to what the worker has: of the two, the kernel takes this process when memory runs out.
_OOM_SCORE: Final = 500
_HIGHEST_OOM_SCORE: Final = 1000


def main(descriptor: int, parent: int) -> None:
    """Serve until told to unload, or until the worker is gone; then end at once, whatever threads a model has left."""
    _settle_in(parent)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    status = 0
    with socket.socket(fileno=descriptor) as connected:
        connected.set_inheritable(False)
        try:
            Server(Channel(connected)).run()
        except (EOFError, ConnectionError):
            pass
        except BaseException:
            logger.exception("the process of a version ends")
            status = 1
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


class Server:
    """One version from its load to its unload, on the other end of a channel; all but the load on one thread."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._arena = Arena()
        self._inputs: Segment | None = None
        self._loader: Loader | None = None
        self._servable: Servable | None = None

    def run(self) -> None:
        """Answer until the last question. Raises EOFError or ConnectionError when the worker is gone."""
        while True:
            question, descriptors = self._channel.receive()
            if descriptors:
                self._inputs = Segment.attach(descriptors[0])
            try:
                answer = self._answer(question)
            except (Exception, SystemExit, KeyboardInterrupt) as error:
                if not isinstance(question, Call):
                    logger.exception("%s raised", type(question).__name__.lower())
                answer = Failed(failures.of(error))
            new = self._arena.take_descriptor()
            self._channel.send(answer, new)
            for descriptor in new:
                os.close(descriptor)
            if isinstance(answer, Unloaded) or isinstance(question, Unload):
                return

    def _answer(self, question: Message) -> Message:
        if isinstance(question, Call):
            return Answered(packing.put(self._predict(question), self._arena))
        if isinstance(question, Load):
            return self._load(question)
        if isinstance(question, Unload):
            self._servable = None
            if self._loader is not None:
                self._loader.unload()
            return Unloaded()
        raise TypeError(f"{type(question).__name__} is no question")

    def _load(self, question: Load) -> Loaded:
        keep_large_blocks()
        installed = [EntryPoint(question.kind, question.adapter, plugins.SERVABLES)] if question.adapter else None
        adapter = kinds.load_adapter(question.kind, installed)
        loader = adapter.loader(ServableId(question.name, question.version), Path(question.path), question.options)
        # Another thread is nice, and this one, which answers calls later, is not: there is no way back without a right.
        with LoadPool(1, question.niceness) as pool:
            pool.give_way()
            self._servable = pool.submit(loader.load).result()
            pool.submit(give_back).result()
        self._loader = loader
        return Loaded(describe(self._servable), loader.estimate_bytes())

    def _predict(self, call: Call) -> Mapping[str, Array]:
        if self._servable is None or self._inputs is None:
            raise RuntimeError("a call before the load, or without its inputs")
        return self._servable.predict(call.signature, packing.views(call.inputs, self._inputs.memory))


def _settle_in(parent: int) -> None:
    """Die with the worker, and not with its shell; be what the kernel takes when memory runs out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        with suppress(OSError, ValueError):  # a system may forbid it
            score = Path("/proc/self/oom_score_adj")
            score.write_text(str(min(_HIGHEST_OOM_SCORE, int(score.read_text()) + _OOM_SCORE)))
    if os.getppid() != parent:  # it has died before it could be asked for
        os._exit(1)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
