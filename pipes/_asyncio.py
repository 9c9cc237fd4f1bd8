"""`PipeQueue`: the queue for asyncio.

A waiter is only ever told to look again; the message is taken, or written, by the waiter itself in one step
without an `await`. So a cancelled `get` has taken nothing, and a cancelled `put` has put nothing.
"""

from __future__ import annotations

import asyncio
import os
import select
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, ClassVar, Self

from ._codec import encode
from ._errors import QueueClosedError
from ._fifo import Fifo
from ._frames import message_frame
from ._simple import (
    LONGEST_PAUSE_S,
    NOTHING,
    SHORTEST_PAUSE_S,
    SimplePipeQueue,
    checked_count,
    checked_timeout,
    deadline_after,
)

__all__ = ["PipeQueue"]


_DISMISS_PATIENCE_S = 0.05


class PipeQueue(SimplePipeQueue):
    """A queue of messages between processes over a POSIX named pipe, for asyncio.

    The arguments, the messages and the promises are those of `SimplePipeQueue`; `put`, `get`, `put_many`,
    `get_many` and `drain` are coroutines, and empty and full are `asyncio.QueueEmpty` and
    `asyncio.QueueFull`. It may be made and opened where no event loop runs yet. `async for` yields messages
    until the queue is closed.

    Cancelling a coroutine never loses a message and never puts half of one. A message over 4 KiB passes
    through a file, which is written and read without leaving the event loop.
    """

    _Empty: ClassVar[type[Exception]] = asyncio.QueueEmpty
    _Full: ClassVar[type[Exception]] = asyncio.QueueFull

    def __init__(
        self,
        path: str | os.PathLike[str],
        history: bool = True,
        *,
        capacity: int | None = None,
        mode: int = 0o600,
    ) -> None:
        super().__init__(path, history, capacity=capacity, mode=mode)
        self._waiting: dict[tuple[asyncio.AbstractEventLoop, int], _Waiters] = {}

    def _forked(self) -> None:
        super()._forked()
        # The parent's waiters, on the parent's event loop: its watch is not ours to end.
        self._waiting = {}

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        try:
            return await self.get()
        except QueueClosedError:
            raise StopAsyncIteration from None

    def close(self) -> None:
        """Close the queue, as `SimplePipeQueue.close` does; coroutines that wait get a `QueueClosedError`.

        May be called from a callback, a coroutine, or another thread than the event loop's.
        """
        fifo = self._fifo
        if fifo is not None:
            with fifo.lock:
                self._closed = True
                waiting = list(self._waiting.items())
            for key, waiters in waiting:
                waiters.dismiss(fifo.closed_error())
                # Not before: another thread's `close()` must not close the descriptor while it is watched.
                with fifo.lock:
                    if self._waiting.get(key) is waiters:
                        del self._waiting[key]
        super().close()

    async def put(self, msg: object, timeout: float | None = None) -> None:  # type: ignore[override]
        """Put a message, waiting for room up to `timeout` seconds, or as long as it takes.

        Raises `asyncio.QueueFull` when the time is up, and otherwise as `put_nowait`: in each case nothing
        was put.
        """
        deadline = deadline_after(checked_timeout(timeout))
        body = encode(msg)
        fifo = self._opened()
        frame = message_frame(body)
        if frame is not None:
            await self._send_soon(fifo, frame, deadline)
            return
        if timeout == 0 and self.full():
            self._raise_full(fifo)
        with self._long_frame(fifo, body) as claim:
            await self._send_soon(fifo, claim, deadline)

    async def get(self, timeout: float | None = None) -> Any:
        """Take the next message, waiting for one up to `timeout` seconds, or as long as it takes.

        Raises `asyncio.QueueEmpty` when the time is up, `QueueClosedError` when the queue is closed
        meanwhile.
        """
        deadline = deadline_after(checked_timeout(timeout))
        while True:
            fifo = self._opened()
            message = self._take(fifo)
            if message is not NOTHING:
                return message
            if not await self._ready(fifo, select.POLLIN, deadline):
                self._raise_empty()

    async def put_many(self, msgs: Iterable[object], timeout: float | None = None) -> None:  # type: ignore[override]
        """Put all of `msgs`, in their order, waiting for room up to `timeout` seconds in all.

        Otherwise as `SimplePipeQueue.put_many`: `asyncio.QueueFull`, too, has the attribute `count`.
        """
        deadline = deadline_after(checked_timeout(timeout))
        fifo = self._opened()
        count = 0
        for packet, body, messages in self._packets_of(msgs):
            try:
                if packet is not None:
                    await self._send_soon(fifo, packet, deadline)
                else:
                    with self._long_frame(fifo, body) as claim:
                        await self._send_soon(fifo, claim, deadline)
            except (asyncio.QueueFull, QueueClosedError, OSError) as error:
                raise self._partly(error, count) from None
            count += messages

    async def get_many(self, n: int, timeout: float | None = None) -> list[Any]:  # type: ignore[override]
        """Take up to `n` messages: wait for the first as `get` does, then take what is there without waiting."""
        n = checked_count(n)
        if not n:
            return []
        # Before the first is taken: who closes the queue behind that does not lose it.
        fifo = self._opened()
        return self._take_many(fifo, n, await self.get(timeout))

    async def drain(self, timeout: float | None = None) -> None:  # type: ignore[override]
        """Wait until nothing is unread, up to `timeout` seconds, or as long as it takes.

        Raises `TimeoutError` when the time is up, `QueueClosedError` when the queue is closed meanwhile.
        """
        deadline = deadline_after(checked_timeout(timeout))
        pause = SHORTEST_PAUSE_S
        while not self.empty():
            if deadline is not None and time.monotonic() >= deadline:
                self._raise_undrained(timeout)
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    async def _send_soon(self, fifo: Fifo, frame: bytes, deadline: float | None) -> None:
        while not self._send(fifo, frame):
            if not await self._ready(fifo, select.POLLOUT, deadline):
                self._raise_full(fifo)

    async def _ready(self, fifo: Fifo, event: int, deadline: float | None) -> bool:
        """Wait until the pipe may be readable or writable; return False when it was not until `deadline`."""
        if deadline is not None and time.monotonic() >= deadline:
            return False
        loop = asyncio.get_running_loop()
        with fifo.lock:
            if self._closed or fifo.fd < 0:
                raise fifo.closed_error()
            key = (loop, event)
            waiters = self._waiting.get(key)
            if waiters is None:
                waiters = self._waiting[key] = _Waiters(loop, fifo, event)
            future = waiters.add()
        timer = None
        try:
            if deadline is not None:
                timer = loop.call_later(max(0.0, deadline - time.monotonic()), _settle, future, False)
            return await future
        finally:
            if timer is not None:
                timer.cancel()
            with fifo.lock:
                if waiters.remove(future) and self._waiting.get(key) is waiters:
                    del self._waiting[key]


class _Waiters:
    """The coroutines of one event loop that wait for one event, and the loop's watch on the pipe for them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fifo: Fifo, event: int) -> None:
        self._loop = loop
        self._fd = fifo.fd
        self._lock = fifo.lock
        self._futures: deque[asyncio.Future[bool]] = deque()
        self._watch: Callable[..., object] = loop.add_reader if event == select.POLLIN else loop.add_writer
        self._unwatch: Callable[[int], object] = loop.remove_reader if event == select.POLLIN else loop.remove_writer
        self._watching = False

    def add(self) -> asyncio.Future[bool]:
        future: asyncio.Future[bool] = self._loop.create_future()
        self._futures.append(future)
        if not self._watching:
            self._watch(self._fd, self._look)
            self._watching = True
        return future

    def remove(self, future: asyncio.Future[bool]) -> bool:
        """Forget a waiter; return whether none is left. The watch ends with the last."""
        if future in self._futures:
            self._futures.remove(future)
        if not self._futures:
            self._stop()
        return not self._futures

    def _look(self) -> None:
        """The pipe is ready: the one who waits longest may look. If it leaves anything, the loop calls again."""
        while self._futures:
            if _settle(self._futures.popleft(), True):
                break
        if not self._futures:
            self._stop()

    def _stop(self) -> None:
        # Under the lock: who finds that the watch has ended goes on to close the descriptor.
        with self._lock:
            if self._watching:
                self._watching = False
                if not self._loop.is_closed():
                    self._unwatch(self._fd)

    def dismiss(self, error: QueueClosedError) -> None:
        """Wake everybody with `error`, and end the watch before the descriptor is closed."""
        if self._loop.is_closed():
            return
        try:
            here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            here = not self._loop.is_running()
        if here:
            self._dismiss(error)
            return
        # Another thread's loop: it must let go of the descriptor itself, and we wait until it has.
        done = threading.Event()
        try:
            self._loop.call_soon_threadsafe(self._dismiss, error, done)
        except RuntimeError:
            return  # it was closed just now, and watches nothing any more
        while not done.wait(_DISMISS_PATIENCE_S):
            if not self._loop.is_running():
                self._dismiss(error)
                return

    def _dismiss(self, error: QueueClosedError, done: threading.Event | None = None) -> None:
        with self._lock:
            self._stop()
            while self._futures:
                future = self._futures.popleft()
                if not future.done():
                    future.set_exception(error)
        if done is not None:
            done.set()


def _settle(future: asyncio.Future[bool], result: bool) -> bool:
    """Give a waiter its answer, unless it was cancelled or has one; say whether it was given."""
    if future.done():
        return False
    future.set_result(result)
    return True
