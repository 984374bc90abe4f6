"""One child process, seen from the worker: started, loaded, asked, ended."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import IO, Final

import numpy as np

from pipeline.errors import LoadFailed, ModelFailed, PenstockError, PredictTimedOut, ServableDied
from pipeline.isolation import failures, packing
from pipeline.isolation.channel import Channel
from pipeline.isolation.messages import Answered, Call, Failed, Load, Loaded, Message, Unload, Unloaded
from pipeline.isolation.segment import Arena, Segment
from pipeline.isolation.spawner import Spawner
from pipeline.registry import memory
from pipeline.tensors import Array

logger = logging.getLogger(__name__)

REPLACED: Final = "it is being replaced"
# How long a process whose socket is closed, or that has been told to, may take to end before it is killed.
_END_S: Final = 5.0
_UNLOAD_S: Final = 30.0
_LINE_BYTES: Final = 2000


class Process:
    """A child process with a version in it.

    ``load`` once, then any number of calls: ``begin`` and ``finish``, in turns, by one thread at a time. ServableDied
    and PredictTimedOut, and nothing else, say that the process is gone. ``kill`` and ``is_alive`` are for any thread.
    What it prints goes to the log; ``on_end`` is called once when it has ended, on a thread of its own.
    """

    def __init__(self, name: str, spawner: Spawner, on_end: Callable[[Process], None]) -> None:
        """Start it, which takes some milliseconds; raises OSError."""
        self._name = name
        self._channel, theirs = Channel.pair()
        try:
            with theirs:
                self._popen = spawner.start(theirs)
        except BaseException:
            self._channel.close()
            raise
        self._arena = Arena()
        self._outputs: Segment | None = None
        self._on_end = on_end
        threading.Thread(target=self._watch, name=f"penstock-child-{self._popen.pid}", daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process id, also after its end."""
        return self._popen.pid

    @property
    def is_alive(self) -> bool:
        """Whether it runs; False as soon as the system knows."""
        return self._popen.poll() is None

    @property
    def end(self) -> str:
        """How it has ended, in words; that it runs where it does."""
        status = self._popen.poll()
        return "it runs" if status is None else f"it {how(status)}"

    @property
    def resident_bytes(self) -> int | None:
        """What it has resident now, None where the system does not say."""
        return memory.resident_bytes(self.pid)

    def load(self, question: Load) -> Loaded:
        """Have it load; blocks for as long as that takes.

        Raises what the load raised in the child, LoadFailed where the child died of it, or was killed meanwhile.
        """
        try:
            self._channel.send(question)
            answer = self._receive(None)
            if isinstance(answer, Loaded):
                return answer
        except (EOFError, ConnectionError):
            raise LoadFailed(self._name, f"its process {self._end()} while it loaded") from None
        except ValueError as error:
            raise LoadFailed(self._name, f"its process sent no answer when it was to load: {error}") from error
        if isinstance(answer, Failed):
            raise failures.raised(answer.failure, lambda text: LoadFailed(self._name, text))
        raise LoadFailed(self._name, f"its process answered a load with {type(answer).__name__}")

    def begin(self, signature: str, inputs: Mapping[str, Array]) -> None:
        """Copy the inputs over and have it compute; does not wait for that. Raises TypeError, OSError, ServableDied."""
        question = Call(signature, packing.put(inputs, self._arena))
        new = self._arena.take_descriptor()
        try:
            self._channel.send(question, new, _END_S)
        except (ConnectionError, TimeoutError):
            raise self._died() from None
        finally:
            for descriptor in new:
                os.close(descriptor)

    def finish(self, deadline_s: float, timeout_s: float) -> dict[str, Array]:
        """Return what it has computed since ``begin``: copies. ``deadline_s`` is of ``time.monotonic``.

        Raises what the servable raised (what is no error of ours as ModelFailed), PredictTimedOut, after which it has
        been killed, or ServableDied.
        """
        try:
            answer = self._receive(max(0.0, deadline_s - time.monotonic()))
            if not isinstance(answer, Failed):
                return self._outputs_of(answer)
        except TimeoutError:
            self.kill()
            raise PredictTimedOut(self._name, timeout_s, f"so its process was killed; {REPLACED}") from None
        except EOFError:
            raise self._died() from None
        except ValueError as error:
            self.kill()
            raise ServableDied(self._name, f"sent what is no answer ({error}), and was killed", REPLACED) from error
        raise failures.raised(answer.failure, lambda text: ModelFailed(self._name, text))

    def unload(self) -> None:
        """Have it unload and end; raises what the unload raised. It is gone afterwards, whatever happens. Blocks."""
        try:
            self._channel.send(Unload(), timeout_s=_END_S)
            answer = self._receive(_UNLOAD_S)
        except (EOFError, ConnectionError, TimeoutError, ValueError) as error:
            logger.warning("%s: process %d did not unload in good order: %r", self._name, self.pid, error)
            answer = Unloaded()
        finally:
            self._end()
        if isinstance(answer, Failed):
            raise failures.raised(answer.failure, lambda text: LoadFailed(self._name, text))

    def kill(self) -> None:
        """End it now, with what it has started, and wait until it is gone. Idempotent."""
        with suppress(ProcessLookupError, PermissionError):
            if self.is_alive:
                os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()
        self._let_go()

    def _receive(self, timeout_s: float | None) -> Message:
        answer, descriptors = self._channel.receive(timeout_s, lambda: self.is_alive)
        for extra in descriptors[1:]:
            os.close(extra)
        if descriptors:
            self._outputs = Segment.attach(descriptors[0])
        return answer

    def _outputs_of(self, answer: Message) -> dict[str, Array]:
        if not isinstance(answer, Answered) or self._outputs is None:
            raise ValueError(f"{type(answer).__name__} without a segment")
        found = packing.views(answer.outputs, self._outputs.memory)
        return {name: array if array.dtype == object else np.array(array) for name, array in found.items()}

    def _died(self) -> PenstockError:
        return ServableDied(self._name, self._end(), REPLACED)

    def _end(self) -> str:
        """Wait for its end, bring it about where it does not come, and say what it was."""
        self._channel.close()
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(_END_S)
            self._let_go()
            return how(self._popen.returncode)
        self.kill()
        return "went silent and was killed"

    def _let_go(self) -> None:
        self._channel.close()
        self._arena.close()
        self._outputs = None

    def _watch(self) -> None:
        """Pass on to the log what it prints, until its end; then say so."""
        output: IO[bytes] | None = self._popen.stdout
        assert output is not None, "it was started with a pipe"
        with output, suppress(ValueError):
            while line := output.readline(_LINE_BYTES):
                logger.info("%s [%d] %s", self._name, self.pid, line.decode(errors="replace").rstrip())
        self._popen.wait()
        self._on_end(self)


def how(status: int) -> str:
    """Return how a process ended, in words: by a signal where its exit status is negative."""
    if status >= 0:
        return f"ended by itself with exit status {status}"
    try:
        name = signal.Signals(-status).name
    except ValueError:
        name = f"signal {-status}"
    return f"was ended by {name}" + (" (as the kernel does when memory runs out)" if name == "SIGKILL" else "")
