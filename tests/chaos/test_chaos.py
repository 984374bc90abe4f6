"""Everything goes wrong, by a seed, on a Kafka of three nodes; every request is answered as its guarantee says."""

from __future__ import annotations

import pytest

from tests.chaos.accounting import Guarantee, faults
from tests.chaos.run import Chaos

SEED = 1


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("guarantee", [Guarantee.AT_LEAST_ONCE])
def test_every_request_is_answered_as_guaranteed_whatever_goes_wrong(guarantee, cluster, tmp_path, capsys, pytestconfig):
    seed = int(pytestconfig.getoption("--chaos-seed") or SEED)
    def say(line):
        with capsys.disabled():
            print(line, flush=True)
    say("")
    outcome = Chaos(cluster, tmp_path, guarantee, seed, 60, say).run()
    a = outcome.account
    say(str(a)[:3000])
    say(str(outcome.took_s))
    assert not faults(a, guarantee, 5000)
