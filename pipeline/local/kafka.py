"""A real Kafka on this machine: one node, or three for failover, in KRaft mode, without Docker."""

from __future__ import annotations

import base64
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from pipeline.local.jars import class_path
from pipeline.local.kafka_node import KafkaNode
from pipeline.local.ports import free_ports
from pipeline.local.server import LocalServer

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

# The binding makes Kafka's log lines come out; without it they are dropped in silence.
_COORDINATES = ("org.apache.kafka:kafka_2.13:4.1.1", "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3")
_MAX_NODES = 3
_POLL_INTERVAL_S = 0.05


class LocalKafka(LocalServer):
    """Kafka 4.1 at ``bootstrap``, on free ports of 127.0.0.1, gone when this process is gone.

    ::

        with LocalKafka() as kafka:
            Producer({"bootstrap.servers": kafka.bootstrap})

    The addresses and the data stay the same across ``stop``, ``kill``, ``start`` and ``restart``. Data is in
    ``data_dir``, which is kept, or in a temporary folder, which goes with the object. Naming a topic does not make it:
    use an admin client. Every method blocks and may be called from any thread, one at a time. Failures are
    LocalBrokerError, and leave nothing running.
    """

    def __init__(
        self,
        data_dir: Path | None = None,
        *,
        nodes: int = 1,
        port: int | None = None,
        advertised_ports: Sequence[int] | None = None,
        properties: Mapping[str, str] | None = None,
        listeners: Mapping[str, str] | None = None,
        start_timeout_s: float = 60.0,
    ) -> None:
        """Nothing is started or fetched yet.

        Args:
            data_dir: Where the data, settings and logs are; kept. Default: a temporary folder.
            nodes: 1 to 3; each is broker and controller. With 3, one may be killed without loss.
            port: The first node's, instead of a free one.
            advertised_ports: Where everybody is told to connect, other nodes too, instead of the nodes' own ``ports``:
                one for each node, of proxies that the caller runs, before ``start`` and for as long as it is up.
            properties: Server properties on top of, or instead of, those that this class sets.
            listeners: More listeners of each node, by name, with their protocols: ``{"TLS": "SSL"}``. What else they
                need (``listener.name.tls.ssl...``) stands in ``properties``; ``bootstrap`` stays without a password.
            start_timeout_s: How long a start may take, once the jars are there.
        """
        if not 1 <= nodes <= _MAX_NODES:
            raise ValueError(f"nodes: expected 1 to {_MAX_NODES}, got {nodes}")
        super().__init__(data_dir, "penstock-kafka-")
        self._properties = dict(properties or {})
        self._listeners = dict(listeners or {})
        self._start_timeout_s = start_timeout_s
        ports = free_ports((2 + len(self._listeners)) * nodes)
        self._ports, self._controller_ports = ports[:nodes], ports[nodes : 2 * nodes]
        more = [ports[start : start + nodes] for start in range(2 * nodes, len(ports), nodes)]
        self._more_ports = dict(zip(self._listeners, more, strict=True))
        if port is not None:
            self._ports[0] = port
        if advertised_ports is not None and len(advertised_ports) != nodes:
            raise ValueError(f"advertised_ports: expected {nodes}, one for each node, got {len(advertised_ports)}")
        self._advertised_ports = self._ports if advertised_ports is None else list(advertised_ports)
        self._nodes: tuple[KafkaNode, ...] = ()

    @property
    def bootstrap(self) -> str:
        """Value for ``bootstrap.servers``; the same for the life of this object, whether it runs or not."""
        return ",".join(f"127.0.0.1:{port}" for port in self._advertised_ports)

    @property
    def ports(self) -> tuple[int, ...]:
        """Where the nodes listen, in their order."""
        return tuple(self._ports)

    def address(self, listener: str) -> str:
        """Value for ``bootstrap.servers`` at one of ``listeners``; KeyError where there is none of that name."""
        return ",".join(f"127.0.0.1:{port}" for port in self._more_ports[listener])

    @property
    def log_path(self) -> Path:
        """The first node's log; warnings and errors."""
        return self._node_folder(1) / "kafka.log"

    @property
    def nodes(self) -> tuple[KafkaNode, ...]:
        """The nodes, to kill and start one by one; empty before the first start."""
        return self._nodes

    def start(self) -> Self:
        """Start every node that is not running and return when all of them take requests.

        Two to six seconds, by machine; three more after ``kill``, until the killed broker's session is over. The first
        time ever, it fetches 43 MB of jars.
        """
        if not self._nodes:
            jars = class_path(*_COORDINATES)
            self._nodes = tuple(
                KafkaNode(number, self._node_folder(number), port, jars, self._settings(number))
                for number, port in enumerate(self._ports, start=1)
            )
        try:
            # Side by side: a first start runs two Java programs per node.
            with ThreadPoolExecutor(len(self._nodes)) as threads:
                list(threads.map(lambda node: node.start(cluster_id(self._folder)), self._nodes))
            self._wait(time.monotonic() + self._start_timeout_s)
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> None:
        """Shut down in good order. The data stays for the next ``start``."""
        if self._nodes:
            # All at once: a node on its own waits for a majority that will not come.
            with ThreadPoolExecutor(len(self._nodes)) as threads:
                list(threads.map(KafkaNode.stop, self._nodes))

    def kill(self) -> None:
        """End every node as a power cut would (SIGKILL). The data stays for the next ``start``."""
        for node in self._nodes:
            node.kill()

    def _node_folder(self, number: int) -> Path:
        return self._folder / f"node-{number}"

    def _settings(self, number: int) -> dict[str, str]:
        nodes = len(self._ports)
        voters = ",".join(f"{n}@127.0.0.1:{port}" for n, port in enumerate(self._controller_ports, start=1))
        port, controller_port = self._ports[number - 1], self._controller_ports[number - 1]
        protocols = {"PLAINTEXT": "PLAINTEXT", **self._listeners, "CONTROLLER": "PLAINTEXT"}
        more = {name: ports[number - 1] for name, ports in self._more_ports.items()}
        bound = _listeners({"PLAINTEXT": port, **more})
        advertised = _listeners({"PLAINTEXT": self._advertised_ports[number - 1], **more})
        # A lost node must not stop three; one node has nobody to copy to.
        copies, in_sync = str(nodes), str(2 if nodes > 2 else 1)
        return {
            "process.roles": "broker,controller",
            "controller.quorum.voters": voters,
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
            "listeners": f"{bound},CONTROLLER://127.0.0.1:{controller_port}",
            "advertised.listeners": advertised,
            "auto.create.topics.enable": "false",
            "default.replication.factor": copies,
            "min.insync.replicas": in_sync,
            "offsets.topic.replication.factor": copies,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": in_sync,
            "share.coordinator.state.topic.replication.factor": copies,
            "share.coordinator.state.topic.min.isr": in_sync,
            # Fewer files to open: the first consumer and the first transaction wait for all of these partitions.
            "offsets.topic.num.partitions": "4",
            "transaction.state.log.num.partitions": "4",
            # A broker that was killed may register again only when its old session is over; nine seconds by default.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
            # The transaction of a worker that was killed ends when its timeout is over, not up to ten seconds later.
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
            # A group of one starts at once.
            "group.initial.rebalance.delay.ms": "0",
            # A quarter of the small heap would go to the cleaner otherwise.
            "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
            **self._properties,
        }

    def _wait(self, deadline: float) -> None:
        """Return when every node accepts connections and they have found each other; topics can be made then."""
        # Not logged: refused connections are what is expected until then.
        admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 200})
        while not (all(node.accepts_connections() for node in self._nodes) and self._is_complete(admin)):
            if time.monotonic() > deadline:
                late = next((node for node in self._nodes if not node.accepts_connections()), self._nodes[0])
                raise late.failure(f"has not joined a cluster of {len(self._nodes)} in {self._start_timeout_s} s")
            time.sleep(_POLL_INTERVAL_S)
        # The first question about a group makes the offsets topic. A consumer that asks it waits three seconds after.
        with suppress(KafkaException, TimeoutError):
            admin.describe_consumer_groups(["none"])["none"].result(10)

    def _is_complete(self, admin: AdminClient) -> bool:
        try:
            cluster = admin.list_topics(timeout=1.0)
        except KafkaException:
            return False
        # Somebody else's Kafka may have taken the port first; then ours is about to end, and to say so.
        return str(cluster.cluster_id) == cluster_id(self._folder) and len(cluster.brokers) == len(self._nodes)


def _listeners(ports: Mapping[str, int]) -> str:
    return ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())


def cluster_id(folder: Path) -> str:
    """22 characters of URL-safe base64; the same for one folder, different for two.

    Never starts with a dash, which Kafka's storage tool would take for an option: the first byte is 0.
    """
    digest = uuid.uuid5(uuid.NAMESPACE_URL, folder.resolve().as_uri()).bytes
    return base64.urlsafe_b64encode(b"\0" + digest[1:])[:22].decode()
