"""The queues of the standard library's ``multiprocessing``."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any

from ..guarantees import Guarantees
from ._adapter import Adapter


class QueueAdapter(Adapter):
    """``multiprocessing.Queue``, inherited by the peers.

    Its documentation warns that killing a process which uses it may corrupt it. A thread of the producer's own hands
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


class SimpleQueueAdapter(Adapter):
    """``multiprocessing.SimpleQueue``, inherited by the peers: a pipe, and a lock at each of its ends."""

    guarantees = Guarantees(gate=("read", "write", "close"))

    def make(self, directory: Path) -> None:
        """Make the queue, for processes that are forked."""
        self._queue = multiprocessing.get_context("fork").SimpleQueue()

    def put(self, end: None, message: Any) -> None:
        """Put one message."""
        self._queue.put(message)

    def get(self, end: None) -> Any:
        """Return one message."""
        return self._queue.get()

    def destroy(self) -> None:
        """Close both ends."""
        self._queue.close()


class PipeAdapter(Adapter):
    """``multiprocessing.Pipe``, inherited by the peers: one way, from one process to one other.

    Its documentation warns that data may become corrupted if two processes use the same end at the same time.
    """

    guarantees = Guarantees(most_producers=1, most_consumers=1, gate=("read", "write", "close"))

    def make(self, directory: Path) -> None:
        """Make the pipe."""
        self._reader, self._writer = multiprocessing.Pipe(duplex=False)

    def put(self, end: None, message: Any) -> None:
        """Send one message."""
        self._writer.send(message)

    def get(self, end: None) -> Any:
        """Receive one message."""
        return self._reader.recv()

    def destroy(self) -> None:
        """Close both ends."""
        self._reader.close()
        self._writer.close()
