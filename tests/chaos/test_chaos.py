"""Everything goes wrong, by a seed, on a Kafka of three nodes; every request is answered as its guarantee says."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from tests.chaos.accounting import Guarantee, faults
from tests.chaos.planner import most_duplicates
from tests.chaos.run import Chaos

SEED = 1
GUARANTEES = tuple(Guarantee)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a line as it happens, whatever pytest captures: a run that hangs has told where."""

    def write(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()

    return write


@pytest.mark.slow
@pytest.mark.parametrize("guarantee", GUARANTEES)
def test_every_request_is_answered_as_its_guarantee_says_whatever_goes_wrong(
    guarantee, cluster, tmp_path, say, minutes, pytestconfig
):
    """``--chaos-seed`` and ``--chaos-minutes``, of all guarantees together; ``make chaos`` is the long form.

    A seed repeats what is sent, what goes wrong and when, not how the threads of eight processes meet.
    """
    seed = pytestconfig.getoption("--chaos-seed")
    seed = SEED if seed is None else seed
    again = f"make chaos SEED={seed} MINUTES={minutes:g} ARGS='-k {guarantee}'"
    say(f"\n{guarantee}, {minutes / len(GUARANTEES):g} min; the same again: {again}")
    outcome = Chaos(cluster, tmp_path, guarantee, seed, 60 * minutes / len(GUARANTEES), say).run()
    say(str(outcome))
    found = faults(outcome.account, guarantee, most_duplicates(outcome.schedule))
    assert not found, "\n".join([*found, "the schedule:", *map(str, outcome.schedule), f"the same again: {again}"])
