"""The queues of ``turberfield.utils.pipes``, which ``monkeywrench.pipes`` took its names from."""

from __future__ import annotations

import asyncio
import types
from pathlib import Path
from typing import Any, NamedTuple

from ..guarantees import KEPT_TYPES, Guarantees
from ._adapter import Adapter

if hasattr(asyncio, "coroutine"):  # before Python 3.11, or somebody has put it back
    from turberfield.utils import pipes
else:
    asyncio.coroutine = types.coroutine  # type: ignore[attr-defined]
    try:
        from turberfield.utils import pipes
    finally:
        del asyncio.coroutine  # type: ignore[attr-defined]


class SimplePipeQueueAdapter(Adapter):
    """``turberfield.utils.pipes.SimplePipeQueue``, opened by its path in every peer.

    Its documentation says that ``get`` waits while the queue is empty. It does not: it raises ``SyntaxError``.
    """

    guarantees = Guarantees(
        types=tuple(name for name in KEPT_TYPES if name != "frozenset"), most_consumers=1, any_pace=False, gate=()
    )

    def fifo(self, directory: Path) -> Path:
        """Return where the FIFO is."""
        return directory / "queue.fifo"

    def make(self, directory: Path) -> None:
        """Make the FIFO, and hold it open until the end."""
        self._path = str(self.fifo(directory))
        self._held = pipes.SimplePipeQueue.pipequeue(self._path, history=False)

    def open(self, role: str) -> Any:
        """Open the FIFO by its path."""
        return pipes.SimplePipeQueue.pipequeue(self._path)

    def put(self, end: Any, message: Any) -> None:
        """Put one message."""
        end.put_nowait(message)

    def get(self, end: Any) -> Any:
        """Return one message."""
        return end.get()

    def close(self, end: Any) -> None:
        """Close this peer's end."""
        end.close()

    def destroy(self) -> None:
        """Close the last end; the FIFO goes with it."""
        self._held.__exit__(None, None, None)


class _Awaited(NamedTuple):
    """An end whose calls are coroutines, and what runs them."""

    queue: Any
    runner: asyncio.Runner


class PipeQueueAdapter(SimplePipeQueueAdapter):
    """``turberfield.utils.pipes.PipeQueue``: the same for asyncio.

    It takes one line out of its buffer each time that something comes in; what came together with another line waits.
    """

    def open(self, role: str) -> Any:
        """Open the FIFO by its path, inside an event loop: it asks for the one that runs."""

        async def opened() -> Any:
            return pipes.PipeQueue.pipequeue(self._path)

        runner = asyncio.Runner()
        return _Awaited(runner.run(opened()), runner)

    def put(self, end: _Awaited, message: Any) -> None:
        """Put one message."""

        async def put() -> None:
            await end.queue.put(message)

        end.runner.run(put())

    def get(self, end: _Awaited) -> Any:
        """Return one message."""

        async def get() -> Any:
            return await end.queue.get()

        return end.runner.run(get())

    def close(self, end: _Awaited) -> None:
        """Close this peer's end, and its event loop."""

        async def close() -> None:
            end.queue.close()

        end.runner.run(close())
        end.runner.close()
