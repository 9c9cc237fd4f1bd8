"""Peers that do what they are told, one command at a time. Runs in a process that ``spawn`` has started.

The stage makes the queue, and forks the peers. Its channel, and that of every peer, is a socket of packets, each a
pickle: a command, a tuple that begins with its name, and its answer. A peer's own channel is at end of file when the
peer has ended.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import shutil
import signal
import socket
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from . import _forked, _gate, _stacks, _system
from ._files import QUEUE_DIRECTORY, STACK_SUFFIX
from ._loading import loading
from .adapters import Adapter

CRASHED = 70
LONGEST = 1 << 20
_SOCKET = "stage.socket"


class Fuse:
    """The warden of one operation: the process is killed before its *n*-th system call, if there are as many."""

    def __init__(self, n: int) -> None:
        self._left = n

    def __call__(self, passage: _gate.Passage, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Make a call, or die."""
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return passage.real(*args, **kwargs)


def send(channel: socket.socket, what: Any) -> None:
    """Send one packet."""
    data = pickle.dumps(what)
    if len(data) > LONGEST:
        raise ValueError(f"{len(data)} bytes: a message of at most {LONGEST} bytes can be handed to a peer")
    channel.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LONGEST)
    channel.send(data)


@contextlib.contextmanager
def address_in(directory: Path) -> Iterator[str]:
    """Yield the address of the stage's socket in a directory: short, whatever that is called. It may have 107 bytes."""
    held = os.open(directory, getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{held}/{_SOCKET}" if os.path.isdir("/proc/self/fd") else str(directory / _SOCKET)
    finally:
        os.close(held)


def serve(adapter: bytes, places: Sequence[str], directory: Path) -> None:
    """Make the queue, and do what whoever listens in the directory says, until it is gone or says that it is over.

    places: in which modules are looked for last.
    """
    _gate.set_warden(None)
    sys.path += places
    _system.adopt_orphans()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as channel:
        with address_in(directory) as address:
            channel.connect(address)
        with loading():
            (queue,) = pickle.loads(adapter)
        _Stage(queue, directory, channel).serve()


class _Stage:
    def __init__(self, adapter: Adapter, directory: Path, channel: socket.socket) -> None:
        self._adapter = adapter
        self._directory = directory
        self._queue = directory / QUEUE_DIRECTORY
        self._channel = channel

    def serve(self) -> None:
        self._queue.mkdir()
        send(self._channel, self._tried(self._adapter.make, self._queue))
        while packet := self._channel.recv(LONGEST):
            match pickle.loads(packet):
                case ("start", name):
                    self._start(name)
                case ("signal", pid, number):
                    os.kill(pid, number)
                    if number == signal.SIGSTOP:
                        os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
                    send(self._channel, None)
                case ("reap", pid):
                    send(self._channel, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
                case ("asleep", pid):
                    send(self._channel, _system.asleep(pid))
                case ("stack", pid, name):
                    send(self._channel, _stacks.of(pid, self._directory / f"{name}{STACK_SUFFIX}")[-1:])
                case ("destroy",):
                    send(self._channel, self._destroyed())

    def _destroyed(self) -> tuple[str | None, list[str]]:
        """Destroy the queue; return what that raised, and what is left of it."""
        trouble = self._tried(self._adapter.destroy)
        left = [f"process {pid} ({name})" for pid in _system.children() if (name := _system.command_line(pid))]
        left += [f"file {path.relative_to(self._queue)}" for path in sorted(self._queue.rglob("*"))]
        shutil.rmtree(self._queue)
        return trouble, left

    @staticmethod
    def _tried(function: Any, *args: Any) -> str | None:
        try:
            function(*args)
        except Exception as error:  # whatever a queue raises is told
            return "".join(traceback.format_exception(_stacks.without_harness(error)))
        return None

    def _start(self, name: str) -> None:
        """Fork a peer, and hand its channel out."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        stage = os.getpid()
        pid = os.fork()
        if pid == 0:
            status = CRASHED
            try:
                _system.die_with_parent(stage)
                self._channel.close()
                ours.close()
                _stacks.tell(self._directory / f"{name}{STACK_SUFFIX}")
                _forked.begin()
                status = _Peer(self._adapter, theirs, name).obey()
            finally:
                _system.flush()
                os._exit(status)
        theirs.close()
        socket.send_fds(self._channel, [pickle.dumps(pid)], [ours.fileno()])
        ours.close()


class _Peer:
    """One peer. Each answer is ``(what it returned, None)`` or ``(None, traceback)``, after which the peer ends."""

    def __init__(self, adapter: Adapter, channel: socket.socket, name: str) -> None:
        self._adapter = adapter
        self._channel = channel
        self._role = name.partition("-")[0]
        self._end: Any = None
        self._before: dict[int, str] = {}

    def obey(self) -> int:
        while packet := self._channel.recv(LONGEST):
            what, *args = pickle.loads(packet)
            try:
                answer = self._do(what, *args)
                _forked.end()
            except BaseException as error:  # whatever a queue raises ends the peer, and is told
                _gate.set_warden(None)
                _forked.end(error)
                text = "".join(traceback.format_exception(_stacks.without_harness(error)))
                send(self._channel, (None, text))
                return CRASHED
            send(self._channel, (answer, None))
            if what == "close":
                return 0
        return 0

    def _do(self, what: str, killed_at: int = 0, message: Any = None) -> Any:
        if what == "reopen":
            self._do("close")
            what = "open"
        if what == "open" and not self._before:
            self._before = _system.descriptors()
        if killed_at:
            _gate.set_warden(Fuse(killed_at))
        result = None
        match what:
            case "open":
                self._end = self._adapter.open(self._role)
            case "put":
                self._adapter.put(self._end, message)
            case "get":
                result = self._adapter.get(self._end)
            case "close":
                self._adapter.close(self._end)
                self._end = None
        _gate.set_warden(None)
        return self._left() if what == "close" else result

    def _left(self) -> list[str]:
        """Return what is still open or alive although the queue is closed."""
        threads = _system.lasting_threads()
        now = _system.descriptors({*self._before, *_system.descriptors_of_library()})
        return [f"descriptor {number} ({what})" for number, what in now.items()] + [
            f"thread {name}" for name in threads
        ]
