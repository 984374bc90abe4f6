"""Requests of one form, answered by the calls of their plan; one that fails is split until its culprit is alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from pipeline.clock import Clock
from pipeline.errors import DeadlineExceeded, ModelFailed, NotReady, PenstockError
from pipeline.registry.servable import Servable
from pipeline.serving import prediction
from pipeline.serving.form import Form
from pipeline.serving.plan import Call, Member, Part, call_of, divide, plan
from pipeline.tensors import Tensor, join, split

# Calls are given up when so many in a row have cost their processes, and so much time: else a model that hangs on
# everything would hold up its route once for each request.
_LOSSES: Final = 4
_LOST_S: Final = 120.0


class Outcome(msgspec.Struct, frozen=True, gc=False):
    """The answer to one member: ``outputs``, or an ``error``; when its first call began, how long its calls took."""

    outputs: tuple[Tensor, ...]
    error: PenstockError | None
    started_ms: int
    compute_us: int


def compute(servable: Servable, form: Form, members: Sequence[Member], clock: Clock) -> list[Outcome]:
    """Return the outcome of each member, in order. Blocks for as long as the calls take; raises nothing of theirs.

    A call that raises is tried again in halves: k culprits among n requests cost about k log2 n calls, and no neighbour
    its answer. One that cost a process is tried again one by one, and when the last calls have all cost theirs, and
    much time, the rest is answered NotReady. Any other error that is retriable concerns the whole call: all of its
    requests get it, and it is not tried again. The same holds for outputs that can not be cut into those of each
    request; one that can not be written is the culprit's alone. A member whose deadline has passed when a call begins
    is not part of it, nor of a later one, and its outcome is DeadlineExceeded.
    """
    return _Computation(servable, form, members, clock).outcomes()


class _Computation:
    """Keeps what the calls have brought until all of them are made."""

    def __init__(self, servable: Servable, form: Form, members: Sequence[Member], clock: Clock) -> None:
        self._servable = servable
        self._form = form
        self._members = members
        self._has_deadlines = any(member.deadline_ms is not None for member in members)
        self._clock = clock
        self._outcomes: list[Outcome | None] = [None] * len(members)
        # Of members that are more than one call: their inputs by part, and the outcomes of the parts, in order.
        self._inputs: dict[Part, tuple[Tensor, ...]] = {}
        self._partial: dict[int, list[Outcome]] = {}
        self._failed: set[int] = set()
        # How many calls in a row have died or hung, and how long that took.
        self._losses = 0
        self._lost_s = 0.0

    def outcomes(self) -> list[Outcome]:
        calls = plan(self._form, self._members)
        self._split_large(calls)
        for call in calls:
            self._make(call)
        for place, parts in self._partial.items():
            self._outcomes[place] = _joined(self._form.servable, parts)
        return [outcome for outcome in self._outcomes if outcome is not None]

    def _split_large(self, calls: Sequence[Call]) -> None:
        large: dict[int, list[Part]] = {}
        for call in calls:
            for part in dict.fromkeys((call.parts[0], call.parts[-1])):  # those between them are whole
                if part.rows < self._members[part.member].rows:
                    large.setdefault(part.member, []).append(part)
        for place, parts in large.items():
            rows = [part.rows for part in parts]
            columns = [split(tensor.name, tensor.array(), rows) for tensor in self._members[place].inputs]
            self._inputs.update(zip(parts, zip(*columns, strict=True), strict=True))
            self._partial[place] = []

    def _make(self, call: Call) -> None:
        started_ms, started_s = self._clock.unix_ms(), self._clock.monotonic_s()
        parts = self._still_wanted(call.parts, started_ms)
        if not parts:
            return
        if len(parts) < len(call.parts):
            call = call_of(self._form, parts)
        if self._losses >= _LOSSES and self._lost_s >= _LOST_S:
            reason = f"not tried: the last {self._losses} calls died or hung, which took {self._lost_s:.0f} s"
            self._fail(parts, NotReady(self._form.servable, (reason,)), started_ms)
            return
        try:
            outputs = prediction.run(self._servable, self._form, call, self._inputs_of(call))
        except Exception as raised:  # noqa: BLE001  # a servable may raise anything; it becomes the culprit's answer
            error = prediction.as_error(self._form.servable, raised)
            if error.cost_a_process:
                self._losses, self._lost_s = self._losses + 1, self._lost_s + self._clock.monotonic_s() - started_s
            self._divide(call.parts, error, started_ms)
            return
        self._losses, self._lost_s = 0, 0.0
        compute_us = int((self._clock.monotonic_s() - started_s) * 1e6)
        try:
            cut = prediction.cut(self._form, call, outputs)
            outcomes = [Outcome(tensors, None, started_ms, compute_us) for tensors in cut]
        except ModelFailed as error:
            self._fail(call.parts, error, started_ms)
        except Exception as raised:  # noqa: BLE001  # it may return anything, too, such as text that UTF-8 has not
            self._divide(call.parts, prediction.as_error(self._form.servable, raised), started_ms)
        else:
            self._note(call.parts, outcomes)

    def _divide(self, parts: Sequence[Part], error: PenstockError, started_ms: int) -> None:
        smaller = divide(parts, error)
        for some in smaller:
            self._make(call_of(self._form, some))
        if not smaller:
            self._fail(parts, error, started_ms)

    def _still_wanted(self, parts: Sequence[Part], now_ms: int) -> Sequence[Part]:
        """The parts of members that have not failed by another part, and whose time is not over: that fails, too."""
        if self._has_deadlines:
            for part in parts:
                deadline_ms = self._members[part.member].deadline_ms
                if deadline_ms is not None and deadline_ms < now_ms and part.member not in self._failed:
                    self._fail([part], DeadlineExceeded(deadline_ms, now_ms), now_ms)
        return [part for part in parts if part.member not in self._failed] if self._failed else parts

    def _inputs_of(self, call: Call) -> list[tuple[Tensor, ...]]:
        members = self._members
        if not self._partial:
            return [members[part.member].inputs for part in call.parts]
        return [self._inputs.get(part, members[part.member].inputs) for part in call.parts]

    def _fail(self, parts: Sequence[Part], error: PenstockError, started_ms: int) -> None:
        self._failed.update([part.member for part in parts])
        self._note(parts, [Outcome((), error.without_frames(), started_ms, 0)] * len(parts))

    def _note(self, parts: Sequence[Part], outcomes: Sequence[Outcome]) -> None:
        partial, whole = self._partial, self._outcomes
        for part, outcome in zip(parts, outcomes, strict=True):
            if partial and part.member in partial:
                partial[part.member].append(outcome)
            else:
                whole[part.member] = outcome


def _joined(servable: str, parts: Sequence[Outcome]) -> Outcome:
    """Return the outcome of a member from those of its parts: all their rows, or the first error."""
    started_ms, compute_us = parts[0].started_ms, sum(part.compute_us for part in parts)
    error = next((part.error for part in parts if part.error is not None), None)
    if error is None:
        try:
            outputs = tuple([join(column) for column in zip(*[part.outputs for part in parts], strict=True)])
            return Outcome(outputs, None, started_ms, compute_us)
        except ValueError as reason:
            error = ModelFailed(servable, f"its answers to the calls of one large request do not fit: {reason}")
    return Outcome((), error, started_ms, compute_us)
