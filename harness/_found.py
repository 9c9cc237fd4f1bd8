"""What a queue finds in its place when it is made, if the plan has put something there."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from . import _eventlog as log
from . import _nemesis, _stacks, _system
from ._files import STACK_SUFFIX
from .adapters import Adapter
from .faults import Stale
from .faults.stale import PLACES, TORN, looks_like
from .plan import Plan
from .workload import Workload

MAKER = "maker"
"""Who tries to make the queue while something is in its place."""
_STACKS = f"{MAKER}{STACK_SUFFIX}"


class Found:
    """What a queue finds in its place, if the plan has put something there."""

    def __init__(self, plan: Plan, adapter: Adapter, queue: Path) -> None:
        self._plan = plan
        self._adapter = adapter
        self._queue = queue
        self._fault = next((fault for fault in plan.faults if isinstance(fault, Stale)), None)
        self._path = adapter.fifo(queue) or queue
        self._held: int | None = None
        self._seen: Any = None

    def meet(self, notes: log.Recorder, directory: Path) -> None:
        """Put it there, and have a process try to make the queue. If that is refused, take the thing away again."""
        if self._fault is None:
            return
        index = self._plan.faults.index(self._fault)
        half = self._half_a_message(directory) if self._fault.thing == TORN else b""
        if isinstance(half, str):
            notes.note(f="missed", process=self._fault.peer, fault=index, why=half, impossible=True)
            return
        self._held = self._fault.plant(self._path)
        if half:
            self._held = os.open(self._path, os.O_RDWR | os.O_NONBLOCK)
            os.write(self._held, half)
        self._seen = looks_like(self._path)
        notes.note(f="strike", process=self._fault.peer, fault=index, inside="make", posix=self._fault.posix)
        outcome = _attempt(self._adapter, self._fault.place(self._queue), directory, self._plan.patience_s)
        if outcome is None and self._fault.thing not in PLACES:
            return
        for note in outcome or ():
            notes.note(process=MAKER, **note)
        self.leave(notes)
        self._clear()

    def _clear(self) -> None:
        """Have an empty directory for the queue, whatever was there."""
        if self._queue.exists():
            self._queue.chmod(0o700)
            shutil.rmtree(self._queue)
        self._queue.mkdir()

    def _half_a_message(self, directory: Path) -> bytes | str:
        """Return the first half of what the queue writes for a message, in a run of its own, which is then killed.

        If there is none, return why, as a text.
        """
        with _process(directory, lambda: _put_one(self._adapter, self._queue)) as (_, reader):
            said = _wait(reader, self._plan.patience_s)
            frame = self._unread() if said == b"put" else b""
        self._clear()
        if len(frame) > 1:
            return frame[: len(frame) // 2]
        if said == b"put":
            return "nothing of a message that was put stayed in the FIFO"
        return "a put alone hangs" if said is None else f"a put alone fails: {said.decode(errors='replace')}"

    def _unread(self) -> bytes:
        """Return what is in the FIFO."""
        held = os.open(self._path, os.O_RDWR | os.O_NONBLOCK)
        try:
            return os.read(held, 1 << 16)
        except BlockingIOError:
            return b""
        finally:
            os.close(held)

    def leave(self, notes: log.Recorder) -> None:
        """Take note of a thing that the queue has changed and had no right to; remove what is the harness's own."""
        if self._fault is None or self._seen is None:
            return
        if self._fault.must_stay and looks_like(self._path) != self._seen:
            notes.note(f="changed", process=MAKER, what=str(self._fault))
        if self._held is not None:
            os.close(self._held)
        if self._queue.exists():
            self._queue.chmod(0o700)
        (self._queue / "target").unlink(missing_ok=True)
        # Not Path.exists: its follow_symlinks is of Python 3.12.
        if os.path.lexists(self._path) and self._path.lstat().st_ino == self._seen[0][0]:
            shutil.rmtree(self._path) if self._path.is_dir() else self._path.unlink()
        self._seen = self._held = None


def _attempt(adapter: Adapter, queue: Path, directory: Path, patience_s: float) -> list[dict[str, Any]] | None:
    """Make the queue in a process of its own, which may hang, and which has no more rights than anybody. Return what to
    note of that, or None if it was made.
    """
    with _process(directory, lambda: json.dumps(_made(adapter, queue)).encode()) as (pid, reader):
        said = _wait(reader, patience_s)
        if said is not None:
            outcome: list[dict[str, Any]] | None = json.loads(said) if said else [{"f": "exit", "code": 1}]
            return outcome
        seen = _stacks.of(pid, directory / _STACKS)
        stack = _nemesis.trim(seen[-1]) if seen else []
        return [{"f": "stuck", "seconds": patience_s, "inside": "make", "stack": stack}]


@contextlib.contextmanager
def _process(directory: Path, work: Callable[[], bytes]) -> Iterator[tuple[int, int]]:
    """Run *work* in a fork without privileges; yield its pid, and what to read its result from. It is killed at last:
    it does not end before, so that what it holds open it holds until then.
    """
    reader, writer = os.pipe()
    root = os.getpid()
    pid = os.fork()
    if pid == 0:
        try:
            _system.die_with_parent(root)
            os.close(reader)
            (directory / _STACKS).unlink(missing_ok=True)
            _stacks.tell(directory / _STACKS)
            _system.give_up_privileges()
            os.write(writer, work())
            os.close(writer)
            signal.pause()
        finally:
            os._exit(1)
    os.close(writer)
    try:
        yield pid, reader
    finally:
        os.close(reader)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _wait(reader: int, patience_s: float) -> bytes | None:
    """Return what comes, nothing at end of file; None if nothing comes for so long."""
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    return os.read(reader, 1 << 16) if poll.poll(patience_s * 1000) else None


def _put_one(adapter: Adapter, queue: Path) -> bytes:
    try:
        adapter.make(queue)
        adapter.put(adapter.open("producer"), Workload(0, types=adapter.guarantees.types).message(0, 0))
    except Exception as error:  # whatever a queue raises is told
        return f"{type(error).__name__}: {error}".encode()
    return b"put"


def _made(adapter: Adapter, queue: Path) -> list[dict[str, Any]] | None:
    try:
        adapter.make(queue)
    except OSError as error:
        return [{"f": "refused", "error": f"{type(error).__name__}: {error}"}]
    except BaseException as error:  # whatever else a queue raises is told
        return [{"f": "exit", "code": 1, "error": "".join(traceback.format_exception(error))[-(1 << 14) :]}]
    return None
