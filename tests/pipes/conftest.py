"""What the tests of the queue share: a path that is watched, children that never outlive a test."""

from __future__ import annotations

import os
import select
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from monkeywrench.pipes import SimplePipeQueue, _fifo

PATIENCE_S = 30.0
"""How long a test waits for what must happen. Never how long something is given to happen by itself."""


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait until `condition` holds; fail with `what` if it never does."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.002)


def descriptors() -> set[str]:
    """Return the open descriptors of this process, without the one that lists them."""
    return {name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")}


def blocked(pid: int, tid: int | None = None) -> bool:
    """Say whether a thread of a process sleeps in the kernel, in `poll` where the kernel tells."""
    task = f"/proc/{pid}/task/{tid or pid}"
    with open(f"{task}/wchan") as wchan:
        where = wchan.read()
    if where not in ("", "0"):
        return "poll" in where
    with open(f"{task}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] == "S"


class Child:
    """A forked process that runs one function. `told()` waits for what it says with `say`."""

    def __init__(self, function: Callable[[Child], None]) -> None:
        self._reader, self._writer = os.pipe()
        self.status: int | None = None
        with warnings.catch_warnings():
            # xdist's workers have a second thread; the child uses nothing that it could hold.
            warnings.simplefilter("ignore", DeprecationWarning)
            self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.close(self._reader)
                function(self)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        os.close(self._writer)

    def say(self, word: str) -> None:
        """In the child: tell the parent."""
        os.write(self._writer, word.encode() + b"\n")

    def told(self) -> str:
        """In the parent: the next word, or "" when the child has ended."""
        word = b""
        while not word.endswith(b"\n"):
            piece = os.read(self._reader, 1)
            if not piece:
                break
            word += piece
        return word.decode().rstrip("\n")

    def wait(self) -> int:
        """Wait until the child has ended and return how: its exit status, or minus the signal."""
        if self.status is None:
            pidfd = os.pidfd_open(self.pid)
            ended, _, _ = select.select([pidfd], [], [], PATIENCE_S)
            os.close(pidfd)
            if not ended:
                os.kill(self.pid, signal.SIGKILL)
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            if not ended:
                pytest.fail("a child did not end")
        return self.status

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Send a signal, and wait for the end."""
        if self.status is None:
            os.kill(self.pid, number)
        return self.wait()

    def discard(self) -> None:
        """Leave nothing of it behind."""
        self.kill()
        os.close(self._reader)


@pytest.fixture
def fork() -> Iterator[Callable[[Callable[[Child], None]], Child]]:
    """Start children; each is ended and reaped when the test is over."""
    children: list[Child] = []

    def start(function: Callable[[Child], None]) -> Child:
        child = Child(function)
        children.append(child)
        return child

    yield start
    for child in children:
        child.discard()


@pytest.fixture
def deep(tmp_path: Path) -> None:
    """For a test that has several messages in a pipe at once: skip it where this user's pipes hold one or two."""
    with SimplePipeQueue(tmp_path / "depth", history=False) as pq:
        if pq.capacity < 65536:
            pytest.skip(f"this user's quota leaves pipes of {pq.capacity} bytes")


@pytest.fixture(params=["linux", "portable"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Run the test twice: with what Linux has, and as on a POSIX system without it."""
    if request.param == "portable":
        monkeypatch.setenv(_fifo.PORTABLE_VARIABLE, "1")
    return str(request.param)


@pytest.fixture
def path(system: str, tmp_path: Path) -> Iterator[str]:
    """A path for a FIFO, of which nothing may be left but the FIFO itself."""
    directory = tmp_path / "queue"
    directory.mkdir()
    yield str(directory / "fifo")
    assert set(os.listdir(directory)) <= {"fifo"}


@pytest.fixture(autouse=True)
def _leaves_nothing() -> Iterator[None]:
    """No test may leave a descriptor or a thread."""
    before, threads = descriptors(), threading.active_count()
    yield
    assert descriptors() <= before
    assert threading.active_count() <= threads
