"""The ancestor: a fresh, single-threaded interpreter which forks the trial roots, for a client that has threads.

It ends with its client, whoever kills whom and how: the control socket is at end of file then. Before it ends, all
that it started ends, and the directories that were entrusted to it are removed.

The client sends one JSON object a packet, ``{"do": …, "directory": …}``, to ``trial``, ``spawn``, ``prepare``,
``abort``, ``guard`` or ``release``. With a trial and a spawn comes one end of a socket of its own: the root polls it
for the end of the client, and the ancestor sends ``{"status": …}`` there when the root has ended and nothing of it is
left; of one that was aborted with ``"where": […]``, the innermost frames of where it was, outermost first.
"""

# The gate comes before whatever a queue may be built on.
from . import _gate

_gate.install()

import contextlib
import gc
import importlib
import json
import os
import select
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import _nemesis, _root, _stacks, _system
from ._files import QUEUE_DIRECTORY, ROOT_STACK_FILE
from ._wakeup import Wakeup

LONGEST_PACKET = 1 << 16


class _Ancestor:
    def __init__(self, control: socket.socket, wakeup: Wakeup) -> None:
        self._control = control
        self._wakeup = wakeup
        self._roots: dict[int, tuple[str, socket.socket]] = {}
        self._guarded: set[str] = set()
        # Where the roots were that have been aborted.
        self._where: dict[int, list[dict[str, Any]]] = {}

    def serve(self) -> None:
        """Do what the client asks for, until it is gone; then end everything."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wakeup, select.POLLIN)
        try:
            while True:
                for descriptor, _ in poll.poll():
                    if descriptor == self._control.fileno() and not self._receive():
                        return
                self._wakeup.clear()
                self._reap()
        finally:
            self._end_all()

    def _receive(self) -> bool:
        """Carry out one request, and return whether there is still a client."""
        packet, descriptors, _, _ = socket.recv_fds(self._control, LONGEST_PACKET, 1)
        if not packet:
            return False
        request = json.loads(packet)
        directory = request.get("directory", "")
        match request["do"]:
            case "trial":
                self._fork(_root.main, directory, request["path"], socket.socket(fileno=descriptors[0]))
            case "spawn":
                from . import _spawned

                self._fork(_spawned.main, directory, request["path"], socket.socket(fileno=descriptors[0]))
            case "prepare":
                for name in request["modules"]:
                    with contextlib.suppress(ImportError):  # whoever needs it says so
                        importlib.import_module(name)
            case "abort":
                self._abort(directory)
            case "guard":
                self._guarded.add(directory)
            case "release":
                self._guarded.discard(directory)
        return True

    def _fork(
        self, main: Callable[[Path, socket.socket, int], int], directory: str, path: list[str], channel: socket.socket
    ) -> None:
        gc.freeze()
        ancestor = os.getpid()
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.setpgid(0, 0)
                self._control.close()
                for _, other in self._roots.values():
                    other.close()
                self._wakeup.close()
                sys.path[:] = path
                status = main(Path(directory), channel, ancestor)
            finally:
                os._exit(status)
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpgid(pid, pid)  # here as well: whoever comes first
        self._roots[pid] = (directory, channel)

    def _reap(self) -> None:
        ended: list[tuple[socket.socket, dict[str, Any]]] = []
        for pid, (directory, channel) in tuple(self._roots.items()):
            # Seen, but not reaped: as long as the root is a zombie, nobody else gets its number, nor its group's.
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                continue
            _kill_group(pid)
            _, status = os.waitpid(pid, 0)
            del self._roots[pid]
            shutil.rmtree(Path(directory, QUEUE_DIRECTORY), ignore_errors=True)
            ended.append((channel, {"status": os.waitstatus_to_exitcode(status), "where": self._where.pop(pid, [])}))
        # Who else is a child by now is the orphan of a root that was killed; who is one after that, an orphan's own.
        while orphans := set(_system.children()) - self._roots.keys():
            for pid in orphans:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
        for channel, answer in ended:  # told last: nothing of it is left
            with channel, contextlib.suppress(BrokenPipeError, ConnectionResetError):  # nobody waits for it any more
                channel.send(json.dumps(answer).encode())

    def _abort(self, directory: str) -> None:
        for pid, (running, _) in self._roots.items():
            if running == directory:
                told = Path(directory, ROOT_STACK_FILE)  # by a trial's root alone
                stacks = _stacks.of(pid, told) if told.exists() else []
                self._where[pid] = _nemesis.trim(stacks[-1]) if stacks else []
                _kill_group(pid)

    def _end_all(self) -> None:
        directories = self._guarded | {directory for directory, _ in self._roots.values()}
        for pid in self._roots:
            _kill_group(pid)
        _root.end_children()
        for directory in directories:
            shutil.rmtree(directory, ignore_errors=True)


def _kill_group(pid: int) -> None:
    """End a trial root, which this process has not reaped yet, and all of its group."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def main() -> None:
    """Serve the client at the other end of the socket whose descriptor is the first argument."""
    # As where nobody has prepared anything: what this one's starter blocked or ignored would be so in every peer, and a
    # blocked SIGCHLD would tell nobody of their ends. The client decides when this process ends, by the end of file.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    _system.adopt_orphans()
    _stacks.hold()
    with socket.socket(fileno=int(sys.argv[1])) as control, Wakeup(signal.SIGCHLD) as wakeup:
        control.send(b'{"ready": true}')
        _Ancestor(control, wakeup).serve()
