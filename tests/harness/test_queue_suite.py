"""The built-in queue passes the whole catalogue that other queues are offered."""

from monkeywrench.harness import QueueSuite
from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter


class TestSimplePipeQueue(QueueSuite):
    adapter = SimplePipeQueueAdapter()
