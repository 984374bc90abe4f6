"""A batch between its answers and the commit of its transaction, and the attempts to send it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future

from confluent_kafka import KafkaError, Message
from msgspec import structs

from connectors.kafka.delivery import Delivery, Item, Outbox, Report
from connectors.kafka.offsets import Taken
from connectors.kafka.transaction_errors import is_of_transaction
from pipeline.connector import Answer, Record, Refuse
from pipeline.errors import PenstockError


class SentBatch:
    """What one poll took, with its answers. Kept until its transaction is committed, for another attempt."""

    def __init__(self, taken: Taken, records: Sequence[Record], answers: Sequence[Answer], refuse: Refuse) -> None:
        self.taken, self.records, self.answers, self.refuse = taken, list(records), list(answers), refuse
        self.future: Future[None] = Future()
        self.size_bytes = sum(len(answer.value) for answer in answers)
        self.refused: set[int] = set()  # the positions of error results that stand for another answer
        self.bare: set[int] = set()  # the positions of dead letters that go without their value
        self.alone: set[Item] = set()  # what has to go out in requests of its own

    def keep(self, live: Taken) -> None:
        """Leave out the records of all other partitions: they have another owner, who answers them."""
        keys = {partition for partition, _ in live}
        kept = [place for place, record in enumerate(self.records) if (record.topic, record.partition) in keys]
        self.records = [self.records[place] for place in kept]
        self.answers = [self.answers[place] for place in kept]
        self.refused = {kept.index(place) for place in self.refused if place in kept}
        self.bare = {kept.index(place) for place in self.bare if place in kept}
        self.alone = {Item(kept.index(place), *what) for place, *what in self.alone if place in kept}
        self.taken = live

    def done(self) -> None:
        """Say that the broker has every answer, or that another member gives them."""
        if not self.future.done():
            self.future.set_result(None)

    def fail(self, error: PenstockError) -> None:
        """Say that the broker will not have them."""
        if not self.future.done():
            self.future.set_exception(error)


class Attempt(Delivery):
    """One attempt to send a batch.

    What is refused at once is replaced at once. What fails after it was queued takes the whole transaction with it,
    whatever the reason: it is put right in the batch, for the next attempt.
    """

    def __init__(
        self, outbox: Outbox, batch: SentBatch, on_failed: Callable[[PenstockError], None], flush: Callable[[], None]
    ) -> None:
        """``flush`` blocks until everything that was produced has been reported."""
        super().__init__(outbox, batch.records, batch.answers, batch.refuse, batch.done, on_failed)
        self._refused, self.alone, self.bare = batch.refused, batch.alone, batch.bare
        self._answers, self._flush = batch.answers, flush
        self.has_failed = False

    def send_item(self, item: Item, report: Report) -> None:
        """See Delivery."""
        if item in self.alone:
            self._flush()
        super().send_item(item, report)
        if item in self.alone:
            self._flush()

    def take_report(self, item: Item | None, error: KafkaError | None, message: Message) -> None:
        """See Delivery."""
        self.has_failed = self.has_failed or error is not None
        super().take_report(item, error, message)

    def send_alone(self, item: Item) -> None:
        """See Delivery: with the next attempt."""

    def failed(self, error: KafkaError, item: Item | None, place: str) -> None:
        """See Delivery."""
        if is_of_transaction(error):
            self.has_failed = True
        else:
            super().failed(error, item, place)

    def replace(self, position: int, answer: Answer) -> None:
        """See Delivery."""
        # The dead letter that belongs to the first answer goes with the next attempt as well.
        letter = self._answers[position].dead_letter
        self._answers[position] = answer if letter is None else structs.replace(answer, dead_letter=letter)
        if not self.has_failed:
            super().replace(position, answer)

    def send_bare(self, position: int) -> None:
        """See Delivery."""
        if not self.has_failed:
            super().send_bare(position)
