"""The built-in queue. This file is the one place where the harness meets ``monkeywrench.pipes``."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from monkeywrench.pipes import SimplePipeQueue

from ..guarantees import Guarantees
from ._adapter import Adapter


class SimplePipeQueueAdapter(Adapter):
    """``monkeywrench.pipes.SimplePipeQueue``, made by the trial root and opened by path in every peer.

    capacity: the pipe's size in bytes, as the queue takes it.
    """

    guarantees = Guarantees(killed_producer_may_cost=0, killed_consumer_may_cost=1, foreign_bytes=True)

    def __init__(self, capacity: int | None = None) -> None:
        self._capacity = capacity

    def make(self, directory: Path) -> None:
        """Make the FIFO, and hold it open until the end: a FIFO forgets its bytes when its last holder goes."""
        self._path = directory / "queue.fifo"
        self._held = SimplePipeQueue.pipequeue(self._path, history=False, capacity=self._capacity)

    def open(self, role: str) -> SimplePipeQueue:
        """Open the FIFO by its path, as an unrelated process would."""
        return SimplePipeQueue.pipequeue(self._path, capacity=self._capacity)

    def put(self, end: SimplePipeQueue, message: Any) -> None:
        """Put one message."""
        end.put(message)

    def get(self, end: SimplePipeQueue) -> Any:
        """Return one message."""
        return end.get()

    def close(self, end: SimplePipeQueue) -> None:
        """Close this peer's end."""
        end.close()

    def destroy(self) -> None:
        """Close the last end; the FIFO goes with it. What was left unread is the checkers' business."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._held.close()
