"""The client's side of the ancestor: start it once a process, and have it run trials."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from . import _loading
from ._errors import HarnessError
from ._files import SURROUNDINGS_FILE
from .ledger import frame

_START_S = 60.0
_INTERRUPT_S = 3.0
_TICK_S = 0.1
_LONGEST_PACKET = 1 << 16

# What a temporary directory's name begins with; its owner's pid follows, so that whoever finds it can tell.
OWNED = "monkeywrench-"
# What the fresh interpreter runs. It finds modules where this process finds them; the last two arguments tell whoever
# finds it whose it is, and where that puts its files.
_MAIN = "import sys, json; sys.path[:] = json.loads(sys.argv[2]); import monkeywrench.harness._ancestor as a; a.main()"


class Ancestor:
    """An ancestor of this process's own. Any thread may use it, also while others wait for their trials."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inherited = _surroundings()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with _numbered_from_3(theirs) as theirs:
            owner, place = str(os.getpid()), tempfile.gettempdir()
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", _MAIN, str(theirs.fileno()), json.dumps(_path()), owner, place],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=None if _is_inherited(2) else subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C at the terminal is for the client to handle
            )
        try:
            self.receive(self._socket, time.monotonic() + _START_S, "its start")
        except BaseException:
            self.close()
            raise

    @property
    def alive(self) -> bool:
        """Whether the ancestor still runs."""
        return self.process.poll() is None

    def guard(self, directory: Path) -> None:
        """Have *directory* removed if this process ends without a ``release``, however it ends."""
        self._send(do="guard", directory=str(directory))

    def release(self, directory: Path) -> None:
        """Take a directory back that ``guard`` entrusted."""
        self._send(do="release", directory=str(directory))

    def run(
        self, directory: Path, timeout_s: float, progress: Callable[[], None] | None, places: Sequence[str] = ()
    ) -> int:
        """Run the trial whose plan is in *directory* to its end, and return its root's exit status.

        progress: called about ten times a second.
        places: as for ``start``.

        Whatever interrupts this (Ctrl-C, a time-out of pytest's), the trial ends first; if its root had to be killed,
        since it was stuck in what the adapter makes the queue with, a note of the error says where. Raises HarnessError
        if the ancestor is gone, or the trial does not end in time.
        """
        with self.start("trial", directory, places) as channel:
            try:
                return int(self._ended(channel, directory, time.monotonic() + timeout_s, progress)["status"])
            except BaseException as error:
                with contextlib.suppress(HarnessError, BrokenPipeError, ConnectionResetError):  # it is gone already
                    where = self._end(channel, directory)
                    if where:
                        error.add_note(f"The trial's root, which makes the queue, was killed in {where}")
                raise

    def _end(self, channel: socket.socket, directory: Path) -> str:
        """End a trial, which may tell first where everybody is. Return where its root was, if that had to be killed."""
        channel.send(b'{"do": "interrupt"}')
        try:
            self._ended(channel, directory, time.monotonic() + _INTERRUPT_S, None)
            return ""
        except HarnessError:
            self.abort(directory)
            answer = self._ended(channel, directory, time.monotonic() + _START_S, None)
            return ", called from ".join(frame(place) for place in reversed(answer["where"]))

    def start(self, do: str, directory: Path, places: Sequence[str] = ()) -> socket.socket:
        """Have a root forked which does what *directory* says, and return the channel to it.

        It has the environment and the working directory that this process has now. It finds modules where this process
        does, and then in these *places*.
        """
        now, before = _surroundings(), self._inherited
        if now != before:
            (directory / SURROUNDINGS_FILE).write_text(json.dumps(now.since(before)))
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            with theirs:
                self._send(theirs, do=do, directory=str(directory), path=[*_path(), *places])
        except BaseException:
            mine.close()
            raise
        return mine

    def prepare(self, modules: Sequence[str]) -> None:
        """Have modules imported once, and not again in everything that is forked from now on."""
        self._send(do="prepare", modules=modules)

    def abort(self, directory: Path) -> None:
        """Kill the root that was started for *directory*, and all of its group."""
        self._send(do="abort", directory=str(directory))

    def _ended(
        self, channel: socket.socket, directory: Path, end: float, progress: Callable[[], None] | None
    ) -> dict[str, Any]:
        return self.receive(channel, end, f"the end of the trial in {directory}", progress)

    def _send(self, channel: socket.socket | None = None, **request: Any) -> None:
        descriptors = [] if channel is None else [channel.fileno()]
        try:
            with self._lock:
                socket.send_fds(self._socket, [json.dumps(request).encode()], descriptors)
        except OSError as error:
            raise HarnessError(f"the ancestor (pid {self.process.pid}) is gone: {error}") from error

    def receive(
        self, channel: socket.socket, end: float, what: str, progress: Callable[[], None] | None = None
    ) -> dict[str, Any]:
        """Return the next packet on a channel. Raises HarnessError when *end* comes first, or the other end closes."""
        poll = select.poll()
        poll.register(channel, select.POLLIN)
        while not poll.poll(_TICK_S * 1000):
            if progress is not None:
                progress()
            if time.monotonic() > end:
                raise HarnessError(f"waited in vain for {what}")
        packet = _next(channel)
        if not packet:
            raise HarnessError(f"the ancestor (pid {self.process.pid}) ended while it was awaited for {what}")
        answer: dict[str, Any] = json.loads(packet)
        return answer

    def close(self) -> None:
        """End the ancestor, and all that it started. Returns when it has ended."""
        self._socket.close()
        try:
            self.process.wait(_START_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def forget(self) -> None:
        """In a fork's child: let go of what is the parent's."""
        self._socket.close()
        self.process.returncode = 0  # not this process's child, and nothing to warn about


def _next(channel: socket.socket) -> bytes:
    """Return the next packet on a channel, or nothing at its end. If the other end has not read all that it was sent,
    the system says that first, once, and has kept what came from there.
    """
    try:
        return channel.recv(_LONGEST_PACKET)
    except ConnectionResetError:
        return channel.recv(_LONGEST_PACKET)


def is_readable(channel: socket.socket, within_s: float = 0) -> bool:
    """Whether there is a packet on the channel, or its end, or will be within so many seconds."""
    poll = select.poll()
    poll.register(channel, select.POLLIN)
    return bool(poll.poll(within_s * 1000))


def _numbered_from_3(theirs: socket.socket) -> socket.socket:
    """Return the same socket by a number that is no standard stream's, as it may have where one of those is closed."""
    import fcntl  # where there are no named pipes, there may be none

    with theirs:
        return socket.socket(fileno=fcntl.fcntl(theirs, fcntl.F_DUPFD_CLOEXEC, 3))


def _is_inherited(descriptor: int) -> bool:
    try:
        return os.get_inheritable(descriptor)
    except OSError:  # it is closed
        return False


class _Surroundings(NamedTuple):
    """What a child would inherit that a test may change."""

    environment: dict[str, str]
    directory: str | None

    def since(self, before: _Surroundings) -> dict[str, Any]:
        """Return what has changed: variables that are there now, those that are gone, and the directory."""
        changed = dict(self.environment.items() - before.environment.items())
        gone = sorted(before.environment.keys() - self.environment.keys())
        return {"changed": changed, "gone": gone, "directory": self.directory}


def _surroundings() -> _Surroundings:
    with contextlib.suppress(OSError):  # it has been removed, say
        return _Surroundings(dict(os.environ), os.getcwd())
    return _Surroundings(dict(os.environ), None)


def _path() -> list[str]:
    """Return where this process finds modules, wherever another one stands. An entry that is no path is a finder's."""
    return [os.path.abspath(entry) if os.path.exists(entry or ".") else entry for entry in sys.path]


_ancestor: Ancestor | None = None
_guarded: set[Path] = set()
_starting = threading.Lock()


def ancestor() -> Ancestor:
    """Return this process's ancestor; start one if there is none, or if the last one was killed."""
    global _ancestor
    _loading.check()
    with _starting:
        if _ancestor is not None and not _ancestor.alive:
            _ancestor.close()
            _ancestor = None
        if _ancestor is None:
            _ancestor = Ancestor()
            for directory in _guarded:
                _ancestor.guard(directory)
        return _ancestor


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """Make a temporary directory, and remove it afterwards, also if this process is killed in the middle."""
    path = Path(tempfile.gettempdir()).absolute() / f"{OWNED}{os.getpid()}-{os.urandom(6).hex()}"
    # Entrusted first, made then: there is no moment at which it is there and nobody would remove it.
    ancestor().guard(path)
    _guarded.add(path)
    try:
        path.mkdir(mode=0o700)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        _guarded.discard(path)
        if _ancestor is not None and _ancestor.alive:
            with contextlib.suppress(HarnessError):  # killed just now: it guards nothing any more
                _ancestor.release(path)


def close() -> None:
    """End this process's ancestor, if it has one."""
    global _ancestor
    with _starting:
        if _ancestor is not None:
            _ancestor.close()
        _ancestor = None


def _forked() -> None:
    global _ancestor, _starting
    _starting = threading.Lock()
    _guarded.clear()
    if _ancestor is not None:
        _ancestor.forget()
    _ancestor = None


atexit.register(close)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
