"""Peers: how fast one worker empties a backlog, against everything else that one would put behind Kafka for it.

The same work for all: the small MLP on OpenVINO with one thread, single-row requests in Avro, at-least-once, each peer
with its best settings and in an environment of its own. MLServer speaks the JSON of the Open Inference Protocol alone
and takes no part in a group, so ours is measured on those records as well. Slow peers get fewer requests: the rate is
what counts, and everybody works off a backlog from the first record counted to the last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from benchmarks import backlog, environment, machine, model, report, wire
from benchmarks.backlog import Backlog
from benchmarks.contenders import hand_written, penstock
from benchmarks.contenders.peer import Peer
from benchmarks.figures import each
from benchmarks.harness import alternate
from benchmarks.place import PARTITIONS
from benchmarks.process import BenchmarkError

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.backlog import Measured
    from benchmarks.harness import Harness
    from benchmarks.place import Place

NAME: Final = "peers"
REQUESTS: Final = 200_000
ROUNDS: Final = 3
TARGET: Final = 1.0
_LEAST: Final = 110


@dataclass(frozen=True)
class Ours:
    """Our worker on the records of one wire."""

    NAME: str
    DESCRIPTION: str
    wire: str
    share: float = 1.0
    is_groupless: bool = False
    is_unread: bool = False

    def command(self, place: Place) -> list[str | Path]:
        """Write ``penstock.yaml`` and return the command."""
        return penstock.command(place)


OURS: Final = Ours(penstock.NAME, penstock.DESCRIPTION, wire.AVRO)
OURS_JSON: Final = Ours("penstock-v2-json", f"{penstock.DESCRIPTION}; requests in V2 JSON", wire.V2_JSON, 0.5)
_BATCHES: Final = {"batch_size": hand_written.BATCH_SIZE}
PEERS: Final = (
    Peer("expert", hand_written.DESCRIPTION, "hand_written", "hand_written", 1.0, TARGET, settings=_BATCHES),
    Peer(
        "expert-cavro",
        "the same loop with cavro, the fastest Avro library",
        "hand_written",
        "hand_written",
        1.0,
        codec="cavro",
        settings=_BATCHES,
    ),
    Peer(
        "naive",
        "the same loop as a beginner writes it: one record, one flush, one commit",
        "hand_written",
        "hand_written",
        0.01,
        settings={"batch_size": 1},
    ),
    Peer(
        "quix",
        "Quix Streams, a function per record, checkpoints of 1 s",
        "quix",
        "quix",
        0.25,
        1.5,
        settings={"commit_interval_s": 1.0, "commit_every": 0},
    ),
    Peer(
        "quix-sink",
        "Quix Streams, a sink that answers the batch of each checkpoint, 8000 records",
        "quix",
        "quix",
        0.5,
        1.5,
        settings={"commit_interval_s": 1.0, "commit_every": 8000},
    ),
    Peer(
        "faststream",
        "FastStream on confluent-kafka, batches, acknowledged after they are published",
        "faststream",
        "faststream",
        0.1,
        settings={"batch_size": 1000},
    ),
    Peer(
        "faust-take",
        "Faust agent on aiokafka, take of 1000, sent by its producer",
        "faust",
        "faust",
        0.05,
        10.0,
        guarantee="at-least-once as far as Faust goes",
        settings={"batch_size": 1000},
    ),
    Peer(
        "faust-event",
        "Faust agent on aiokafka, one event at a time",
        "faust",
        "faust",
        0.05,
        10.0,
        guarantee="at-least-once as far as Faust goes",
        settings={"batch_size": 1},
    ),
    Peer(
        "mlserver",
        "MLServer's Kafka server, in process, batches of 32",
        "mlserver",
        "mlserver",
        0.05,
        20.0,
        guarantee="none: it commits nothing",
        wire=wire.V2_JSON,
        is_groupless=True,
        settings={"batch_size": 32, "batch_time_s": 0.005},
        ports=3,
    ),
    Peer(
        "expert-v2-json",
        "the expert's loop with msgspec; requests in V2 JSON",
        "hand_written",
        "hand_written",
        0.5,
        wire=wire.V2_JSON,
        codec="v2-json",
        settings=_BATCHES,
    ),
    # What nobody who reads requests can reach: a ratio above it is impossible here, whoever answers.
    Peer(
        "unread",
        "the expert's loop without its work: the same bytes to everybody",
        "unread",
        "hand_written",
        1.0,
        is_unread=True,
        settings=_BATCHES,
    ),
    Peer(
        "unread-v2-json",
        "the same on requests in V2 JSON",
        "unread",
        "hand_written",
        0.5,
        wire=wire.V2_JSON,
        is_unread=True,
        codec="v2-json",
        settings=_BATCHES,
    ),
)
# The first two are those of the target: ours, and the best that one would write by hand.
_ALL: Final[tuple[Ours | Peer, ...]] = (OURS, *PEERS, OURS_JSON)


def run(harness: Harness, rounds: int, requests: int) -> report.Report:
    """Set up what is not there yet, measure all rounds and return the report; raises BenchmarkError.

    A contender that can not be set up, dies or hangs has failed: it is not measured again, and the others go on.
    """
    failures = _set_up()
    backlog.rehearse(harness, OURS, requests)

    def attempt(one: Ours | Peer) -> Measured | None:
        if one.NAME in failures:
            return None
        try:
            return _measure(harness, one, requests)
        except BenchmarkError as error:
            failures[one.NAME] = str(error)
            return None

    attempts = alternate(_ALL, rounds, attempt, _show)
    measured = {
        name: [one for one in several if one is not None and name not in failures] for name, several in attempts.items()
    }
    return report.make(
        case=NAME,
        measure="answers while a backlog is emptied; the ratio is to the loop that an expert writes by hand",
        unit="records/s",
        target=TARGET,
        better="higher",
        rounds=each(measured, lambda one: one.records_per_s),
        versus=[
            *(report.Versus(_ours_for(peer).NAME, peer.NAME, peer.target) for peer in PEERS[1:]),
            # Who has a target on another wire, each on its best; no target, for they do not read the same bytes.
            *(report.Versus(OURS.NAME, peer.NAME) for peer in PEERS if peer.target and peer.wire != OURS.wire),
            *(
                report.Versus(limit.NAME, peer.NAME)
                for limit in PEERS
                for peer in PEERS
                if limit.is_unread and peer.target and peer.wire == limit.wire
            ),
        ],
        others={
            "CPU microseconds a record": each(measured, lambda one: one.cpu_us),
            "peak memory, MiB": each(measured, lambda one: one.peak_rss_mib),
        },
        descriptions={one.NAME: one.DESCRIPTION for one in _ALL},
        accounts=each(measured, lambda one: one.account),
        failures=failures,
        settings=_settings(measured, requests),
        machine=machine.describe(harness.broker, str(harness.cores)),
    )


def count_for(one: Ours | Peer, requests: int) -> int:
    """Return how many requests a contender gets, warm-up included, when ours gets ``requests``."""
    return max(_LEAST, int(1.1 * requests * one.share))


def _set_up() -> dict[str, str]:
    """Set up every environment; return why not, for each peer of one that can not be."""
    failures: dict[str, str] = {}
    for name in sorted({peer.environment for peer in PEERS}):
        try:
            environment.set_up(name)
        except BenchmarkError as error:
            failures |= {peer.NAME: str(error) for peer in PEERS if peer.environment == name}
    return failures


def _show(_: object, one: Measured | None) -> str:
    if one is None:
        return "   failed"
    return f"{one.records_per_s:>9,.0f} records/s  {one.cpu_us:>7.1f} CPU us a record"


def _measure(harness: Harness, one: Ours | Peer, requests: int) -> Measured:
    asked = Backlog(count_for(one, requests), wire=one.wire, is_unread=one.is_unread)
    return (backlog.measure_groupless if one.is_groupless else backlog.measure)(harness, one, asked)


def _ours_for(peer: Peer) -> Ours:
    return OURS if peer.wire == OURS.wire else OURS_JSON


def _settings(measured: dict[str, list[Measured]], requests: int) -> dict[str, Any]:
    return {
        "requests": {one.NAME: count_for(one, requests) for one in _ALL},
        "warm_up": "the first eleventh of these",
        "partitions": PARTITIONS,
        "model": model.DESCRIPTION,
        "openvino": model.OPENVINO,
        "guarantee": {peer.NAME: peer.guarantee for peer in PEERS},
        "wire": {one.NAME: one.wire for one in _ALL},
        "peer_settings": {peer.NAME: dict(peer.settings) for peer in PEERS},
        "peer_versions": {name: environment.versions(name) for name in sorted({peer.environment for peer in PEERS})},
        "request_bytes": {name: several[-1].request_bytes for name, several in measured.items() if several},
        "result_bytes": {name: several[-1].result_bytes for name, several in measured.items() if several},
        "clock": backlog.CLOCK,
    }
