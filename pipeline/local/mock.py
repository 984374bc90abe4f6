"""librdkafka's mock cluster: something like a Kafka, inside this process, at once and without Java."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Self

from confluent_kafka import cimpl

from pipeline.local.errors import LocalBrokerError

if TYPE_CHECKING:
    from types import TracebackType

_PRODUCER = 0  # rd_kafka_type_t; the cluster needs some client to hang on
_NO_ERROR = 0
_TOPIC_EXISTS = 36


class MockKafka:
    """A cluster at ``bootstrap`` that clients of this and of other processes on this machine can use.

    ::

        with MockKafka() as kafka:
            kafka.create_topic("digits.requests", partitions=4)
            Producer({"bootstrap.servers": kafka.bootstrap})

    For demos and fast tests: produce, fetch, consumer groups, idempotent and transactional producers work. What it has
    not: CreateTopics of an admin client (hence ``create_topic``), compaction, offsets of a transaction, a disk.
    A partition keeps about 5 MB and drops what is older; a topic that is named before it was created gets four
    partitions. Everything is gone with ``stop``, or with this process.

    Methods may be called from any thread and do not wait for the network. Failures are LocalBrokerError.
    """

    def __init__(self, brokers: int = 1) -> None:
        """Nothing is started yet."""
        if brokers < 1:
            raise ValueError(f"brokers: expected at least 1, got {brokers}")
        self._brokers = brokers
        self._library: ctypes.CDLL | None = None
        self._client: int | None = None
        self._cluster: int | None = None

    @property
    def bootstrap(self) -> str:
        """Value for ``bootstrap.servers``; LocalBrokerError when it is not running. Changes with each start."""
        library, cluster = self._running()
        return str(library.rd_kafka_mock_cluster_bootstraps(cluster).decode())

    def start(self) -> Self:
        """Start it, ready for clients on return. Nothing happens when it is running."""
        if self._cluster is not None:
            return self
        library = self._library = _library()
        reason = ctypes.create_string_buffer(512)
        # The client only carries the cluster, and would complain at each start that it has no broker.
        settings = library.rd_kafka_conf_new()
        library.rd_kafka_conf_set(settings, b"log_level", b"2", reason, len(reason))
        self._client = library.rd_kafka_new(_PRODUCER, settings, reason, len(reason))
        if not self._client:
            library.rd_kafka_conf_destroy(settings)
            raise LocalBrokerError(f"librdkafka makes no client for a mock cluster: {reason.value.decode()}")
        self._cluster = library.rd_kafka_mock_cluster_new(self._client, self._brokers)
        if not self._cluster:
            self.stop()
            raise LocalBrokerError(f"librdkafka makes no mock cluster of {self._brokers} brokers")
        # By itself it lets a new consumer group wait 3 s for more members.
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 0)
        return self

    def stop(self) -> None:
        """End it; clients see their connections refused. Nothing happens when it is not running."""
        if self._library is None:
            return
        if self._cluster:
            self._library.rd_kafka_mock_cluster_destroy(self._cluster)
        if self._client:
            self._library.rd_kafka_destroy(self._client)
        self._cluster = self._client = None

    def create_topic(self, name: str, partitions: int = 1) -> None:
        """Make an empty topic; LocalBrokerError when the name is taken."""
        library, cluster = self._running()
        code = library.rd_kafka_mock_topic_create(cluster, name.encode(), partitions, self._brokers)
        if code == _TOPIC_EXISTS:
            raise LocalBrokerError(f"topic {name} exists already")
        self._check(code, f"create topic {name} with {partitions} partitions")

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _running(self) -> tuple[ctypes.CDLL, int]:
        if self._library is None or self._cluster is None:
            raise LocalBrokerError("the mock cluster is not running; call start() or use it in a with statement")
        return self._library, self._cluster

    def _check(self, code: int, what: str) -> None:
        if code != _NO_ERROR:
            library, _ = self._running()
            raise LocalBrokerError(f"can not {what}: {library.rd_kafka_err2str(code).decode()}")


def _library() -> ctypes.CDLL:
    """The librdkafka that confluent-kafka has loaded, with the types of what is called here.

    Found through the extension module, whose dependencies the loader searches too: no guess at file names. The mock's
    functions are public in rdkafka_mock.h, and only there: the Python package wraps none of them.
    """
    library = ctypes.CDLL(cimpl.__file__)
    pointer, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int
    for name, result, arguments in (
        ("rd_kafka_new", pointer, [number, pointer, text, ctypes.c_size_t]),
        ("rd_kafka_conf_new", pointer, []),
        ("rd_kafka_conf_set", number, [pointer, text, text, text, ctypes.c_size_t]),
        ("rd_kafka_conf_destroy", None, [pointer]),
        ("rd_kafka_destroy", None, [pointer]),
        ("rd_kafka_err2str", text, [number]),
        ("rd_kafka_mock_cluster_new", pointer, [pointer, number]),
        ("rd_kafka_mock_cluster_destroy", None, [pointer]),
        ("rd_kafka_mock_cluster_bootstraps", text, [pointer]),
        ("rd_kafka_mock_topic_create", number, [pointer, text, number, number]),
        ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, [pointer, ctypes.c_int32]),
    ):
        try:
            function = getattr(library, name)
        except AttributeError:
            raise LocalBrokerError(f"this build of librdkafka has no {name}, hence no mock cluster") from None
        function.restype, function.argtypes = result, arguments
    return library
