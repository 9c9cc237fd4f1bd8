"""The built-in queue. Here and in ``pipes_asyncio`` are the places where the harness meets ``monkeywrench.pipes``."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from monkeywrench.pipes import SimplePipeQueue

from ..guarantees import Guarantees
from ._adapter import Adapter


class SimplePipeQueueAdapter(Adapter):
    """``monkeywrench.pipes.SimplePipeQueue``, made by the trial root and opened by path in every peer.

    capacity, history: as the queue takes them.
    """

    guarantees = Guarantees(killed_producer_may_cost=0, killed_consumer_may_cost=1, foreign_bytes=True)

    def __init__(self, capacity: int | None = None, *, history: bool = False) -> None:
        self._capacity = capacity
        self._history = history

    def fifo(self, directory: Path) -> Path:
        """Return where the FIFO is."""
        return directory / "queue.fifo"

    def make(self, directory: Path) -> None:
        """Make the FIFO, and hold it open until the end: a FIFO forgets its bytes when its last holder goes."""
        self._path = self.fifo(directory)
        self._held = SimplePipeQueue.pipequeue(self._path, history=self._history, capacity=self._capacity)

    def open(self, role: str) -> Any:
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
        if self._history:
            # What is reused is not removed by the queue, but by whoever knows that nobody needs it any more.
            self._path.unlink(missing_ok=True)
