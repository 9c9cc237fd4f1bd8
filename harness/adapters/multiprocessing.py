"""The queues of the standard library's ``multiprocessing``."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

from ..guarantees import Guarantees
from ._adapter import Adapter


class QueueAdapter(Adapter):
    """``multiprocessing.Queue``, inherited by the peers.

    Its documentation warns that killing a process which uses it may corrupt it, and a thread of the producer's own
    hands
    the messages on: a killed producer takes any number of them with it.
    """

    guarantees = Guarantees(killed_producer_may_cost=None, killed_consumer_may_cost=1)

    def make(self, directory: Path) -> None:
        """Make the queue, for processes that are forked."""
        self._queue = multiprocessing.get_context("fork").Queue()

    def put(self, end: None, message: Any) -> None:
        """Put one message."""
        self._queue.put(message)

    def get(self, end: None) -> Any:
        """Return one message."""
        return self._queue.get()

    def close(self, end: None) -> None:
        """Close this peer's end, and wait until its thread has handed everything on."""
        self._queue.close()
        self._queue.join_thread()

    def destroy(self) -> None:
        """Close the last end."""
        self._queue.close()
