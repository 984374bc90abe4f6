"""``python -m benchmarks [CASE ...]``: run cases and print the figures."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import plot, report
from benchmarks.cases import (
    exactly_once,
    isolation,
    large_backlog,
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
    start,
    streams,
    swap,
    throughput,
)
from benchmarks.harness import open_harness
from benchmarks.process import BenchmarkError

if TYPE_CHECKING:
    from collections.abc import Sequence

CASES: Final = {
    case.NAME: case
    for case in (
        throughput,
        exactly_once,
        round_trip,
        latency,
        swap,
        registry,
        servables,
        loads,
        memory,
        isolation,
        large_backlog,
        over_redis,
        redis_enqueue,
        scaling,
        streams,
        start,
        peers,
    )
}
# Run when they are named: they install what they compare with.
_ON_DEMAND: Final = (redis_enqueue.NAME, peers.NAME)


def main(argv: Sequence[str] | None = None) -> int:
    """Return the exit status: 0 when every request of every round had exactly one right answer, whatever the speed."""
    parser = _parser()
    options = parser.parse_args(argv)
    unknown = [name for name in options.cases if name not in CASES]
    if unknown:
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(CASES)}")
    status = 0
    try:
        with open_harness(options.bootstrap, is_pinned=not options.free) as harness:
            for name in options.cases or [name for name in CASES if name not in _ON_DEMAND]:
                case = CASES[name]
                print(f"{name}: {(case.__doc__ or '').splitlines()[0]}", file=sys.stderr)
                made = case.run(harness, options.rounds or case.ROUNDS, options.requests or case.REQUESTS)
                print(json.dumps(made) if options.json else f"{report.text(made)}\n", flush=True)
                if options.plots:
                    print(f"  {plot.write(made, options.plots)}", file=sys.stderr)
                status = max(status, bool(made["faults"]))
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
        help=f"{', '.join(CASES)}; all but {', '.join(_ON_DEMAND)} when none is named",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object a case, one a line")
    parser.add_argument("--plots", metavar="DIR", type=Path, help="also draw each case, as DIR/CASE.svg")
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
