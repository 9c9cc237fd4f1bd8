"""The nemesis of what comes from outside a peer: faults that go by the clock, or wait until their peer is blocked; and
who was stopped goes on. It runs in the parent of the peers.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from . import _eventlog as log
from . import _gate, _system
from .faults import Fault, Scene
from .triggers import Blocked, Elapsed, Ended

_BETWEEN_LOOKS_S = 0.02


class _Peer(NamedTuple):
    pid: int
    name: str
    events: log.Recorder


class Outside:
    """The faults of one trial that come from outside.

    faults: all of the plan.
    notes: where strikes are recorded, before they strike.
    scene: where a fault strikes that befalls the peer with a pid.
    """

    def __init__(self, faults: Sequence[Fault], notes: log.Recorder, scene: Callable[[int], Scene]) -> None:
        self._faults = faults
        self._notes = notes
        self._scene = scene
        self._peers: dict[int, _Peer] = {}
        self._scheduled: set[int] = set()
        self._due: dict[int, float] = {}
        self._looks: dict[int, tuple[float, str]] = {}
        self._ends: set[int] = set()
        self._resumes: dict[int, float] = {}
        self._pauses = {fault.peer for fault in faults if fault.pause_s is not None and not fault.at.by_clock}

    def started(self, pid: int, name: str, events: log.Recorder) -> None:
        """Take note of a peer that has been started."""
        self._peers[pid] = _Peer(pid, name, events)

    def ended(self, pid: int) -> None:
        """Take note that a peer has ended, and was reaped: its pid is nobody's."""
        name = self._peers.pop(pid).name
        self._resumes.pop(pid, None)
        for index in self._in_turn(range(len(self._faults))):
            at = self._faults[index].at
            if isinstance(at, Ended) and at.peer == name and index not in self._ends:
                self._ends.add(index)
                self._strike(index, "the peer had ended by then")

    def begin(self) -> None:
        """Count from now on, for the faults of those who were started since the last time."""
        now = time.monotonic()
        for index, fault in enumerate(self._faults):
            if index in self._scheduled or self._peer(fault.peer) is None:
                continue
            self._scheduled.add(index)
            if isinstance(fault.at, Elapsed):
                self._due[index] = now + fault.at.seconds
            if isinstance(fault.at, Blocked):
                self._looks[index] = 0, ""

    def wait_s(self, longest_s: float) -> float:
        """Return for how many seconds nothing is to be done here."""
        moments = [*self._due.values(), *self._resumes.values()]
        return max(0, min([longest_s, *(moment - time.monotonic() for moment in moments)]))

    def act(self) -> bool:
        """Do what is due; return whether anybody stands still because of it."""
        now = time.monotonic()
        for index in sorted(self._in_turn(self._due), key=self._due.__getitem__):
            if self._due[index] <= now:
                del self._due[index]
                self._strike(index, "the peer had ended by then")
        for index in self._in_turn(self._looks):
            self._look(index)
        for pid, peer in self._peers.items():
            if peer.name in self._pauses and pid not in self._resumes and _system.stopped(pid):
                self._resumes[pid] = time.monotonic() + (self._faults[peer.events.last_fault()].pause_s or 0)
        for pid, moment in tuple(self._resumes.items()):
            if moment <= time.monotonic():
                del self._resumes[pid]
                os.kill(pid, signal.SIGCONT)
        return bool(self._resumes)

    def tell_what_did_not_strike(self) -> None:
        """Record why, for each fault whose moment never came."""
        for index in self._due:
            self._missed(index, "the peer had ended by then")
        for index in self._looks:
            self._missed(index, "nobody saw the peer blocked")
        for index, fault in enumerate(self._faults):
            if isinstance(fault.at, Ended) and index not in self._ends:
                self._missed(index, f"{fault.at.peer} did not end before its peer did")

    def _in_turn(self, indices: Iterable[int]) -> list[int]:
        """Return the indices of faults in the order in which those strike that do so at one moment."""
        return sorted(indices, key=lambda index: self._faults[index].turn)

    def _look(self, index: int) -> None:
        """Strike if the peer is blocked: it sleeps, and nothing has changed since the last look at it."""
        moment, before = self._looks[index]
        peer = self._peer(self._faults[index].peer)
        if peer is None or time.monotonic() - moment < _BETWEEN_LOOKS_S:
            return
        used = _system.asleep(peer.pid)
        now = f"{used} {peer.events.whole()}"
        self._looks[index] = time.monotonic(), now
        if used and now == before:
            del self._looks[index]
            self._strike(index, "nobody saw the peer blocked")

    def _strike(self, index: int, why_not: str) -> None:
        """Apply a fault, and take note of where that found its peer."""
        fault = self._faults[index]
        peer = self._peer(fault.peer)
        if peer is None:
            self._missed(index, why_not)
            return
        if (late := fault.too_late(self._scene(peer.pid))) is not None:
            self._missed(index, late)
            return
        # Stopped first: what is noted of where it is, is where the fault strikes it.
        os.kill(peer.pid, signal.SIGSTOP)
        found = os.waitid(os.P_PID, peer.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if found is None or found.si_code != os.CLD_STOPPED:  # it was ending, which no signal stops
            self._missed(index, "the peer had ended by then")
            return
        count, number, done = peer.events.last_call()
        call = {"call": {"n": count, "name": _gate.name_of(number), "done": done}} if count else {}
        self._notes.note(f="strike", process=peer.name, fault=index, posix=fault.posix, **call)
        fault.strike(self._scene(peer.pid))
        if fault.pause_s is not None:
            # It may be paused already: the later end holds.
            moment = time.monotonic() + fault.pause_s
            self._resumes[peer.pid] = max(moment, self._resumes.get(peer.pid, moment))
        elif peer.pid not in self._resumes:
            os.kill(peer.pid, signal.SIGCONT)

    def _missed(self, index: int, why: str) -> None:
        self._notes.note(f="missed", process=self._faults[index].peer, fault=index, why=why)

    def _peer(self, name: str) -> _Peer | None:
        return next((peer for peer in self._peers.values() if peer.name == name), None)
