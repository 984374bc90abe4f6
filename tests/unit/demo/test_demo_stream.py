from __future__ import annotations

import time

import numpy as np

from pipeline.demo.digits import INPUT, Part
from pipeline.demo.report import Received
from pipeline.demo.stream import Live, Pace, Sender


def part(rows: int) -> Part:
    numbers = np.arange(rows)
    return Part(np.repeat(numbers[:, None], 64, 1).astype(np.float32), numbers % 10, numbers)


def test_every_image_is_sent_once_before_any_is_sent_again():
    seen: list[float] = []
    sender = Sender(part(7), lambda _id, tensors: seen.append(float(tensors[INPUT][0, 0])))
    ids = [sender.send() for _ in range(14)]
    assert sorted(seen[:7]) == list(range(7))
    assert seen[:7] == seen[7:]
    assert len(set(ids)) == 14


def test_the_label_that_is_noted_is_the_sent_images():
    images: dict[str, np.ndarray] = {}
    sender = Sender(part(20), lambda id_, tensors: images.update({id_: tensors[INPUT]}))
    for _ in range(20):
        id_ = sender.send()
        assert images[id_].shape == (1, 64)
        assert sender.sent[id_].label == int(images[id_][0, 0]) % 10


def test_the_pace_is_kept_on_average():
    pace = Pace(2000)
    start = time.monotonic()
    for _ in range(201):
        pace.wait()
    # Requests may go out a few milliseconds before they are due; a busy machine may be late.
    assert time.monotonic() - start > 0.095


def test_live_figures_count_what_has_come_since_the_last_look():
    sender = Sender(part(10), lambda _id, _tensors: None)
    ids = [sender.send() for _ in range(3)]
    labels = [sender.sent[id_].label for id_ in ids]
    at_s = time.monotonic()
    received = [Received(ids[0], at_s, 1, labels[0]), Received(ids[1], at_s, 1, (labels[1] + 1) % 10)]
    live = Live(sender.sent)
    live.update(received)
    live.update(received)
    received += [Received(ids[2], at_s, 2, labels[2]), Received("somebody else's", at_s, 2, 0)]
    received.append(Received(ids[0], at_s, 2, error="model_error: it raised"))
    live.update(received)
    assert (live.answered[1], live.right[1]) == (2, 1)
    assert (live.answered[2], live.right[2]) == (1, 1)
    assert len(live.recent_ms[1]) == 2
