"""The built-in queue. This file is the one place where the harness meets ``monkeywrench.pipes``."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from monkeywrench.pipes import PipeQueue, SimplePipeQueue

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


class _Awaited(NamedTuple):
    """An end whose calls are coroutines, and what runs them."""

    queue: PipeQueue
    runner: asyncio.Runner


class PipeQueueAdapter(SimplePipeQueueAdapter):
    """``monkeywrench.pipes.PipeQueue``: the same, each peer with an event loop of its own.

    roles: who uses the asyncio class; the others use ``SimplePipeQueue`` on the same FIFO.
    """

    def __init__(
        self,
        capacity: int | None = None,
        *,
        history: bool = False,
        roles: Collection[str] = ("producer", "consumer"),
    ) -> None:
        super().__init__(capacity, history=history)
        self._roles = roles

    def open(self, role: str) -> Any:
        """Open the FIFO by its path, as an unrelated process would."""
        if role not in self._roles:
            return super().open(role)
        return _Awaited(PipeQueue.pipequeue(self._path, capacity=self._capacity), asyncio.Runner())

    def put(self, end: Any, message: Any) -> None:
        """Put one message."""
        if not isinstance(end, _Awaited):
            return super().put(end, message)
        return end.runner.run(end.queue.put(message))

    def get(self, end: Any) -> Any:
        """Return one message."""
        return end.runner.run(end.queue.get()) if isinstance(end, _Awaited) else super().get(end)

    def close(self, end: Any) -> None:
        """Close this peer's end, and its event loop."""
        if not isinstance(end, _Awaited):
            return super().close(end)
        end.queue.close()
        return end.runner.close()
