"""``python -m benchmarks [CASE ...]``: run cases and print the figures."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from benchmarks import plot, report
from benchmarks.cases import (
    backlog,
    burst,
    exactly_once,
    isolation,
    latency,
    loads,
    memory,
    over_redis,
    peers,
    redis_enqueue,
    registry,
    round_trip,
    scaling,
    servables,
    sizes,
    start,
    streams,
    swap,
    throughput,
)
from benchmarks.harness import open_harness
from benchmarks.process import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.harness import Harness


class Case(Protocol):
    """A module of benchmarks.cases that measures."""

    @property
    def NAME(self) -> str:  # noqa: N802  # a constant of its module
        """What its report is called."""
        ...

    @property
    def REQUESTS(self) -> int:  # noqa: N802  # likewise
        """How many requests a round has, unless somebody says otherwise."""
        ...

    @property
    def ROUNDS(self) -> int:  # noqa: N802  # likewise
        """How many rounds there are, unless somebody says otherwise."""
        ...

    @property
    def TARGET(self) -> float:  # noqa: N802  # likewise
        """What its ratio shall be."""
        ...

    def run(self, harness: Harness, rounds: int, requests: int) -> report.Report:
        """Measure all rounds and return the report; raises BenchmarkError."""
        ...


_ALL: Final[tuple[tuple[Case, ...], ...]] = (
    (throughput,),
    (exactly_once,),
    (round_trip,),
    (latency,),
    (burst,),
    (swap,),
    (registry,),
    (servables,),
    (loads,),
    (memory,),
    (isolation,),
    (backlog,),
    (over_redis, redis_enqueue),
    (scaling,),
    (sizes,),
    (streams,),
    (start,),
    (peers,),
)
# By the name that a case has on the command line: what is measured there, each with a report of its own.
CASES: Final = {parts[0].NAME: parts for parts in _ALL}
# Only where their case is named: they install what they compare with.
_ON_DEMAND: Final[tuple[Case, ...]] = (redis_enqueue, peers)


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 when every request of every round had exactly one right answer, whatever the speed.

    1 otherwise, and when a contender has failed.
    """
    parser = _parser()
    options = parser.parse_args(argv)
    unknown = [name for name in options.cases if name not in CASES]
    if unknown:
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(CASES)}")
    named = [case for name in options.cases for case in CASES[name]]
    every = [case for parts in CASES.values() for case in parts if case not in _ON_DEMAND]
    status = 0
    try:
        with open_harness(options.bootstrap, is_pinned=not options.free) as harness:
            for case in named or every:
                print(f"{case.NAME}: {(case.__doc__ or '').splitlines()[0]}", file=sys.stderr)
                made = case.run(harness, options.rounds or case.ROUNDS, options.requests or case.REQUESTS)
                print(json.dumps(made) if options.json else f"{report.text(made)}\n", flush=True)
                if options.plots:
                    print(f"  {plot.write(made, options.plots)}", file=sys.stderr)
                status = max(status, bool(made["faults"] or made["failures"]))
    except BenchmarkError as error:
        print(f"failed: {error}", file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Ours against what one would do instead, or against itself at rest, contenders in turn.",
        epilog="example: python -m benchmarks throughput --rounds 3 --requests 50000",
    )
    parser.add_argument(
        "cases",
        metavar="CASE",
        nargs="*",
        help=f"{', '.join(CASES)}; when none is named all but {' and '.join(case.NAME for case in _ON_DEMAND)}, "
        "which install what they compare with",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a report, one a line")
    parser.add_argument("--plots", metavar="DIR", type=Path, help="also draw each report, as DIR/CASE.svg")
    parser.add_argument("--rounds", type=_positive, help="rounds per contender")
    parser.add_argument(
        "--requests", type=_positive, help="requests per round, warm-up not counted; for swap, those before each"
    )
    parser.add_argument("--bootstrap", help="a Kafka that runs already, instead of a local one")
    parser.add_argument("--free", action="store_true", help="bind nobody to cores")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number} is not at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
