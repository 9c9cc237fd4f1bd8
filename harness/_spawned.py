"""A function of the user's as a peer: its root, and the process that it runs in. Forked by the ancestor.

As with a trial, whoever dies, all below it dies; what the function starts and leaves behind ends with its root. On the
channel the client tells what to do, one JSON object a packet, and is told what happens:

===========================================  =====================================================================
``{"do": "signal", "number": 9}``            send it a signal
``{"do": "stack"}``                          ``{"stack": [frames]}``: where its main thread is
``{"do": "blocked"}``                        ``{"blocked": true}``, once it is seen asleep twice, without a change
                                             ``{"pid": 42}``, ``{"ready": true}``, ``{"ended": exit status}``
===========================================  =====================================================================
"""

from __future__ import annotations

import json
import os
import pickle
import select
import signal
import socket
import time
import traceback
from pathlib import Path
from typing import Any

import cloudpickle

from . import _eventlog as log
from . import _forked, _gate, _nemesis, _stacks, _system, faults
from ._files import LOG_SUFFIX, NEMESIS_SUFFIX, ROOT_OUTPUT_FILE, STACK_SUFFIX
from ._loading import loading
from ._nemesis import Nemesis
from ._outside import Outside
from ._root import Orphaned, Parent, adopt_surroundings, end_children, orphaned
from ._wakeup import Wakeup
from .faults import Fault, Scene

FUNCTION_FILE, SETTINGS_FILE, RESULT_FILE = "function.pickle", "settings.json", "result.pickle"
OUTPUT_FILE = "output"
CRASHED = 70
# What this root calls itself among the peer's files: no peer can be called so.
_ROOT = "~root"
_TICK_S = 0.05
_CAPACITY = 1 << 16
_LONGEST_PACKET = 1 << 16

_channel: socket.socket | None = None


def ready() -> None:
    """Tell whoever spawned this process that it is ready. Does nothing in a process that was not spawned."""
    if _channel is not None:
        _gate.real.write(_channel.fileno(), b'{"ready": true}')


def main(directory: Path, channel: socket.socket, ancestor: int) -> int:
    """Run the function in *directory*, and return the exit status of this process, its root."""
    signal.signal(signal.SIGHUP, orphaned)
    try:
        _system.die_with_parent(ancestor, signal.SIGHUP)
        _system.adopt_orphans()
        _system.redirect(directory / ROOT_OUTPUT_FILE)
        adopt_surroundings(directory)
        settings = json.loads((directory / SETTINGS_FILE).read_text())
        planned = tuple(faults.from_json(fields) for fields in settings["faults"])
        with Wakeup(signal.SIGCHLD) as wakeup:
            _Root(directory, channel, wakeup, settings["name"], planned, settings["seed"]).run()
    except Orphaned:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        return 1
    except BaseException:  # the client shows it
        _system.say(traceback.format_exc())
        return 1
    finally:
        end_children()
    return 0


class _Root:
    def __init__(
        self,
        directory: Path,
        channel: socket.socket,
        wakeup: Wakeup,
        name: str,
        planned: tuple[Fault, ...],
        seed: int,
    ) -> None:
        self._directory = directory
        self._channel = channel
        self._wakeup = wakeup
        self._name = name
        self._planned = planned
        self._seed = seed
        self._notes = log.Recorder(str(directory / f"{_ROOT}{NEMESIS_SUFFIX}"), _CAPACITY)
        self._events = log.Recorder(str(directory / f"{name}{LOG_SUFFIX}"), _CAPACITY)
        self._outside = Outside(planned, self._notes, lambda pid: Scene(pid, None, directory))
        self._before: str | None = None
        self._looked = 0.0

    def run(self) -> None:
        """Start it, do what the client says, and tell when it has ended, and how."""
        root = os.getpid()
        pid = os.fork()
        if pid == 0:
            status = CRASHED
            try:
                signal.signal(signal.SIGHUP, signal.SIG_DFL)
                self._wakeup.close()
                status = self._peer(root)
            finally:
                os._exit(status)
        self._outside.started(pid, self._name, self._events)
        self._outside.begin()
        self._tell(pid=pid)
        poll = select.poll()
        poll.register(self._channel, select.POLLIN)
        poll.register(self._wakeup, select.POLLIN)
        parent = Parent()
        while True:
            parent.check()
            for descriptor, _ in poll.poll(self._outside.wait_s(_TICK_S) * 1000):
                if descriptor == self._channel.fileno():
                    self._obey(pid)
            self._wakeup.clear()
            reaped, status = os.waitpid(pid, os.WNOHANG)
            if reaped:
                self._outside.ended(pid)
                self._outside.tell_what_did_not_strike()
                self._tell(ended=os.waitstatus_to_exitcode(status))
                return
            self._outside.act()
            self._look(pid)

    def _obey(self, pid: int) -> None:
        packet = self._channel.recv(_LONGEST_PACKET)
        if not packet:
            raise Orphaned
        request = json.loads(packet)
        match request["do"]:
            case "signal":
                os.kill(pid, request["number"])
            case "stack":
                stacks = _stacks.of(pid, self._directory / f"{self._name}{STACK_SUFFIX}")
                self._tell(stack=_nemesis.trim(stacks[-1]) if stacks else [])
            case "blocked":
                self._before = ""

    def _look(self, pid: int) -> None:
        """Tell that it is blocked, if that is asked: it sleeps, and has used no time since the last look."""
        if self._before is None or time.monotonic() - self._looked < _TICK_S / 2:
            return
        used = _system.asleep(pid)
        self._looked = time.monotonic()
        if used and used == self._before:
            self._before = None
            self._tell(blocked=True)
        else:
            self._before = used

    def _tell(self, **what: Any) -> None:
        try:
            self._channel.send(json.dumps(what).encode())
        except (BrokenPipeError, ConnectionResetError):
            raise Orphaned from None

    def _peer(self, root: int) -> int:
        """Run the function, in the process that is made for it; return its exit status."""
        global _channel
        _system.die_with_parent(root)
        _system.redirect(self._directory / OUTPUT_FILE)
        _system.interruptible()
        _stacks.tell(self._directory / f"{self._name}{STACK_SUFFIX}")
        _channel = self._channel
        notes = log.Recorder(str(self._directory / f"{self._name}{NEMESIS_SUFFIX}"), _CAPACITY)
        nemesis = Nemesis(
            self._name,
            list(enumerate(self._planned)),
            notes,
            Scene(os.getpid(), None, self._directory),
            self._events,
            seed=self._seed,
            watched=True,
        )
        _forked.begin(self._events, notes)
        try:
            with loading():
                function, args, kwargs = pickle.loads((self._directory / FUNCTION_FILE).read_bytes())
            _gate.set_warden(nemesis)
            nemesis.starts()
            nemesis.begins("run", 1)
            try:
                result = function(*args, **kwargs)
            finally:
                _gate.set_warden(None)
            _forked.end()
            nemesis.ended(1)
            nemesis.tell_what_did_not_strike()
            (self._directory / RESULT_FILE).write_bytes(_packed(result))
        except SystemExit as error:
            return _status_of(error)
        except BaseException as error:  # whatever it raises is told
            _system.say("".join(traceback.format_exception(_stacks.without_harness(error))))
            return CRASHED
        finally:
            _system.flush()
        return 0


def _packed(result: Any) -> bytes:
    try:
        packed: bytes = cloudpickle.dumps(result)
    except Exception as error:  # whatever the pickling of somebody else's object raises
        raise TypeError(f"what it returned, {result!r:.200}, cannot travel back: {error}") from None
    return packed


def _status_of(end: SystemExit) -> int:
    """Return the exit status of a program that ends so; a code that is none is printed, as Python does."""
    if end.code is None or isinstance(end.code, int):
        return (end.code or 0) & 0xFF
    _system.say(f"{end.code}\n")
    return 1
