"""Link: a client's way to one broker, and the choice of it. The contract of what stands behind a Connection."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn, Protocol

if TYPE_CHECKING:
    from pipeline.client.address import Address
    from pipeline.client.hand_out import Mark, Read
    from pipeline.client.outgoing import Outgoing
    from pipeline.client.reply_table import Outcome, ReplyTable
    from pipeline.client.wire import Wire


class Sender(Protocol):
    """Sends requests; any thread may call any method.

    A request that the broker does not take is put into the reply table where somebody waits for its answer; the others
    are counted, and the next ``offer`` or ``flush`` raises for them.
    """

    def offer(self, request: Outgoing) -> bool:
        """Take a request without waiting; False where too many wait already.

        Raises ConnectorError for one that is too large, and for earlier requests that failed.
        """
        ...

    def send(self, request: Outgoing, timeout_s: float) -> None:
        """Take a request; where too many wait, wait as well, ``timeout_s`` at most. Raises as ``offer`` does."""
        ...

    def raise_full(self, timeout_s: float) -> NoReturn:
        """Raise the ConnectorError of a broker that has taken nothing for ``timeout_s``."""
        ...

    def poll(self) -> None:
        """Do what has become due; does not wait."""
        ...

    def flush(self, timeout_s: float) -> None:
        """Return when the broker has taken everything sent before; ConnectorError where it does not, or did not."""
        ...


class Link(Protocol):
    """One way to the broker, with a thread that puts what is heard into the reply table."""

    @property
    def sender(self) -> Sender:
        """What sends requests. After ``open``."""
        ...

    @property
    def trouble(self) -> object:
        """What the broker complained about last: as text the end of a sentence, empty where there is no trouble."""
        ...

    def open(self, timeout_s: float) -> Sequence[tuple[str, bytes]]:
        """Connect; return the headers of a request that bring its answer here. Every later answer is heard.

        ConnectorError when it does not succeed in ``timeout_s``, or for settings that are none; nothing is left behind
        then, and it may be called again.
        """
        ...

    def check(self, timeout_s: float) -> None:
        """Raise ConnectorError where requests can not be sent. After ``open``."""
        ...

    @property
    def has_store(self) -> bool:
        """Whether results of anybody may lie at the broker by their ids."""
        ...

    def stored(self, id_: str, *, is_kept: bool) -> Outcome | None:
        """Return the result that lies at the broker for an id, None where there is none; it goes unless ``is_kept``.

        One that can not be read stays. Blocks; raises ConnectorError. Any thread.
        """
        ...

    def stop(self) -> None:
        """Deliver what was sent and end, soon; does not wait, takes no lock, may be called from anywhere."""
        ...

    def join(self, timeout_s: float) -> None:
        """Wait until it has ended, after ``stop``; ``timeout_s`` at most."""
        ...

    def close(self, timeout_s: float) -> None:
        """End, without delivering; waits for ``timeout_s`` at most. Whoever waits for an answer hears of it."""
        ...


class GroupReader(Protocol):
    """Results of any client, shared among the members of a group. One call at a time, from any thread."""

    def read(self, timeout_s: float, done: Sequence[Mark] = ()) -> Sequence[Read]:
        """Acknowledge what is ``done``, then return what is there, 500 at most.

        Waits ``timeout_s`` for the first. At-least-once: what was not acknowledged is read again when its reader has
        died or closed. Raises SchemaUnavailable where the schema of the first one can not be had: it stays for a later
        call. Asking a schema registry may take longer than ``timeout_s``.
        """
        ...

    def close(self, timeout_s: float, done: Sequence[Mark] = ()) -> None:
        """Acknowledge what is ``done``, and leave the group; ``timeout_s`` and a half at most."""
        ...


def link_of(address: Address, table: ReplyTable, wire: Wire) -> Link:
    """Return the link to the broker at an address. Connects nothing."""
    if address.redis is not None:
        from pipeline.client.redis.link import RedisLink  # noqa: PLC0415  # one broker's client is enough

        return RedisLink(address, address.redis, table, wire)
    from pipeline.client.kafka.link import KafkaLink  # noqa: PLC0415  # as above

    return KafkaLink(address, table, wire)


def group_reader_of(address: Address, group: str, client_id: str, timeout_s: float) -> GroupReader:
    """Return a member of a group whose broker answered in time; raises ConnectorError."""
    if address.redis is not None:
        from pipeline.client.redis.group_reader import RedisGroupReader  # noqa: PLC0415  # as above

        return RedisGroupReader.opened(address, address.redis, group, client_id, timeout_s)
    from pipeline.client.kafka.group_reader import KafkaGroupReader  # noqa: PLC0415  # as above

    return KafkaGroupReader.opened(address, group, client_id, timeout_s)
