"""The built-in queue's class for asyncio. It has a file of its own: others need not import asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any, NamedTuple

from monkeywrench.pipes import PipeQueue

from .pipes import SimplePipeQueueAdapter


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
