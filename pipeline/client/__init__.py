"""The Python client: requests go into a topic, answers come back, by the ancestor's verbs.

::

    with InputQueue("digits", bootstrap="localhost:9092") as requests:
        scores = requests.predict({"pixels": images}, timeout=2)        # ndarray, or a dict where outputs are several

    with InputQueue("digits") as requests, OutputQueue("digits") as results:
        requests.enqueue("image-1", pixels=images)
        scores = results.query("image-1", timeout=2)

The queues of one process share one connection per route and client id: one producer, one consumer, one thread. It lives
as long as one of its queues does, and the results that nobody has taken go with it: open the OutputQueue before the
InputQueue is closed. The asyncio twins share it too.
"""

from pipeline.client.async_input_queue import AsyncInputQueue
from pipeline.client.async_output_queue import AsyncOutputQueue
from pipeline.client.input_queue import InputQueue
from pipeline.client.output_queue import OutputQueue
from pipeline.client.queue import QueueOptions
from pipeline.client.request import RequestOptions
from pipeline.client.values import Value
from pipeline.errors import ConnectorError, PenstockError, RemoteError, TimedOut

__all__ = [
    "AsyncInputQueue",
    "AsyncOutputQueue",
    "ConnectorError",
    "InputQueue",
    "OutputQueue",
    "PenstockError",
    "QueueOptions",
    "RemoteError",
    "RequestOptions",
    "TimedOut",
    "Value",
]
