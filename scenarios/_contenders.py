"""The queues that the benchmark times beside each other, each as its users would call it.

Not the harness's adapters: what those add to a call would be measured too.
"""

from __future__ import annotations

import contextlib
import importlib
import multiprocessing
import os
import queue
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class End:
    """One process's end of a queue: its calls, bound once. ``None`` for what the queue does not have."""

    put: Callable[[Any], Any]
    get: Callable[[], Any]
    put_many: Callable[[Any], Any] | None = None
    get_many: Callable[[int], Any] | None = None
    close: Callable[[], Any] = lambda: None


class Contender(ABC):
    """A queue in the benchmark: made in one process, opened in each of its forks.

    needs: the module that has to be installed.
    raw: whether it hands over bytes as they are, which no queue can outdo.
    many: whether several processes may share an end.
    """

    name: ClassVar[str]
    needs: ClassVar[str] = "multiprocessing"
    raw: ClassVar[bool] = False
    many: ClassVar[bool] = True

    @classmethod
    def missing(cls) -> str | None:
        """Return why it cannot be timed here, or ``None`` if it can."""
        try:
            importlib.import_module(cls.needs)
        except ImportError:
            return f"{cls.needs} is not installed"
        return None

    @abstractmethod
    def make(self) -> contextlib.AbstractContextManager[Callable[[], End]]:
        """Make the queue; the context's value opens an end of it, in any fork. The context's end removes it."""


class Pipes(Contender):
    """The built-in queue."""

    name = "pipes.SimplePipeQueue"
    needs = "monkeywrench.pipes"

    @contextlib.contextmanager
    def make(self) -> Iterator[Callable[[], End]]:
        """Make a FIFO in a directory of its own."""
        from monkeywrench.pipes import SimplePipeQueue

        def end() -> End:
            opened = SimplePipeQueue.pipequeue(path)
            return End(opened.put, opened.get, opened.put_many, opened.get_many, opened.close)

        with tempfile.TemporaryDirectory(prefix=f"monkeywrench-{os.getpid()}-") as directory:
            path = os.path.join(directory, "bench.fifo")
            with SimplePipeQueue(path, history=False):
                yield end


class _Multiprocessing(Contender):
    kind: ClassVar[str]

    @contextlib.contextmanager
    def make(self) -> Iterator[Callable[[], End]]:
        """Make the queue, for forks."""
        made = getattr(multiprocessing.get_context("fork"), self.kind)()
        yield lambda: End(made.put, made.get)


class Queue(_Multiprocessing):
    """``multiprocessing.Queue``. A thread of the producer's own hands the messages on."""

    name = "multiprocessing.Queue"
    kind = "Queue"

    @contextlib.contextmanager
    def make(self) -> Iterator[Callable[[], End]]:
        """Make the queue, for forks."""

        def close() -> None:
            made.close()
            made.join_thread()

        made = multiprocessing.get_context("fork").Queue()
        yield lambda: End(made.put, made.get, close=close)


class SimpleQueue(_Multiprocessing):
    """``multiprocessing.SimpleQueue``: what the others are compared with."""

    name = "multiprocessing.SimpleQueue"
    kind = "SimpleQueue"


class Pipe(Contender):
    """``multiprocessing.Pipe``, from one process to one other; it has no locks."""

    name = "multiprocessing.Pipe"
    many = False

    @contextlib.contextmanager
    def make(self) -> Iterator[Callable[[], End]]:
        """Make a one-way pipe."""
        reader, writer = multiprocessing.Pipe(duplex=False)
        yield lambda: End(writer.send, reader.recv)


class FasterFifo(Contender):
    """``faster_fifo.Queue``: a ring in shared memory, under one lock."""

    name = "faster-fifo"
    needs = "faster_fifo"
    ring_bytes = 16 << 20

    @contextlib.contextmanager
    def make(self) -> Iterator[Callable[[], End]]:
        """Make the ring."""
        module = importlib.import_module("faster_fifo")
        made = module.Queue(max_size_bytes=self.ring_bytes)

        def get_many(count: int) -> Any:
            with contextlib.suppress(queue.Empty):
                return made.get_many(timeout=60, max_messages_to_get=count)
            return []

        yield lambda: End(
            lambda message: made.put(message, timeout=60),
            lambda: made.get(timeout=60),
            lambda messages: made.put_many(messages, timeout=60),
            get_many,
        )
        made.close()


class RawFifo(Contender):
    """``os.write`` and ``os.read`` on a FIFO: the limit, and no queue at all."""

    name = "raw FIFO"
    needs = "fcntl"
    raw = True
    many = False

    @contextlib.contextmanager
    def make(self) -> Iterator[Callable[[], End]]:
        """Make a FIFO of 1 MiB, if that is allowed."""
        import fcntl

        def end() -> End:
            descriptor = os.open(path, os.O_RDWR)

            def put(data: bytes) -> None:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]

            def get_all(size: int) -> None:
                while size:
                    size -= len(os.read(descriptor, size))

            def get() -> None:
                get_all(len(self.sample))

            return End(put, get, close=lambda: os.close(descriptor))

        with tempfile.TemporaryDirectory(prefix=f"monkeywrench-{os.getpid()}-") as directory:
            path = os.path.join(directory, "bench.fifo")
            os.mkfifo(path)
            held = os.open(path, os.O_RDWR)
            with contextlib.suppress(OSError):
                fcntl.fcntl(held, fcntl.F_SETPIPE_SZ, 1 << 20)
            yield end
            os.close(held)

    # How long each message is: the reader of bare bytes has to know.
    sample: bytes = b""


# The one list of contenders, in the order of the table; the second is what all are compared with.
CONTENDERS: tuple[type[Contender], ...] = (Pipes, SimpleQueue, Queue, Pipe, FasterFifo, RawFifo)
BASELINE = SimpleQueue.name
