"""Who strikes: in every peer with a fault, it counts what the triggers count and applies the faults there.

Jepsen's word for the part which does. It runs inside the peer, so that a place in the program is that place.
"""

from __future__ import annotations

import linecache
import os
import select
import stat
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from types import FrameType
from typing import Any

from . import _gate
from ._eventlog import Recorder
from .faults import Fault
from .triggers import Call, Messages

_HARNESS = os.path.dirname(os.path.abspath(__file__)) + os.sep
MOST_FRAMES = 6


class Nemesis:
    """The faults of one peer.

    faults: each with its index in the plan.
    recorder: where strikes are recorded, before they strike.
    watched: where to leave word of each call, for a fault that goes by the clock and comes from outside.
    """

    def __init__(
        self, peer: str, faults: Sequence[tuple[int, Fault]], recorder: Recorder, watched: Recorder | None = None
    ) -> None:
        self._peer = peer
        self._recorder = recorder
        self._lock = threading.Lock()
        self._by_message = {fault.at.n: (index, fault) for index, fault in faults if isinstance(fault.at, Messages)}
        self._by_call = {
            (fault.at.kind, fault.at.n): (index, fault) for index, fault in faults if isinstance(fault.at, Call)
        }
        self._kinds = {kind for kind, _ in self._by_call}
        self._passed: Counter[str] = Counter()
        self._inside: str | None = None
        self._ended = 0
        self._watched = watched
        self._calls = 0

    def begins(self, operation: str) -> None:
        """Take note that the peer begins an operation, such as ``put 3``."""
        self._inside = operation
        self._calls = 0
        if self._watched is not None:
            self._watched.clear_call()

    def ended(self, number: int) -> None:
        """Strike if a fault is planned after the peer's message *number*, counted from 1, which is through."""
        self._inside = None
        self._ended = number
        planned = self._by_message.get(number)
        if planned is not None:
            self._strike(*planned)

    def tell_what_did_not_strike(self) -> None:
        """Record how far the peer came, for each fault whose place it never reached. It has ended its work."""
        for n, (index, _) in self._by_message.items():
            if n > self._ended:
                self._recorder.note(f="missed", process=self._peer, fault=index, why=f"it had {self._ended} messages")
        for (kind, n), (index, _) in self._by_call.items():
            if n > self._passed[kind]:
                why = f"the gate saw it make {self._passed[kind]} {kind}s (by os.{kind}, or a socket's methods)"
                self._recorder.note(f="missed", process=self._peer, fault=index, why=why)

    def __call__(self, passage: _gate.Passage, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Make a call of the peer's, or a part of it, and strike where it is planned. The gate's warden."""
        if self._watched is None:
            return self._pass(passage, args, kwargs)
        self._calls += 1
        self._watched.leave_call(self._calls, passage.number, done=False)
        try:
            return self._pass(passage, args, kwargs)
        finally:
            self._watched.leave_call(self._calls, passage.number, done=True)

    def _pass(self, passage: _gate.Passage, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        kind = passage.kind
        if kind not in self._kinds:
            return passage.real(*args, **kwargs)
        with self._lock:
            planned = self._by_call.get((kind, self._passed[kind] + 1))
        if planned is None:
            result = passage.real(*args, **kwargs)
            self._count(kind, result)
            return result
        index, fault = planned
        assert isinstance(fault.at, Call)
        if fault.at.after:
            result = passage.real(*args, **kwargs)
            if self._count(kind, result):
                self._strike(index, fault)
            return result
        if not fault.at.byte:
            with self._lock:
                del self._by_call[kind, fault.at.n]
            self._strike(index, fault)
            result = passage.real(*args, **kwargs)
            self._count(kind, result)
            return result
        return self._cut(index, fault, passage, args, kwargs)

    def _cut(
        self, index: int, fault: Fault, passage: _gate.Passage, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Let so many bytes of the call through, and strike."""
        assert isinstance(fault.at, Call)
        at, kept = passage.data, fault.at.byte or 0
        if at is None or len(args) <= at:
            return self._missed(index, f"{passage.name} cannot be cut", passage, args, kwargs)
        # A write has its data there, a read its size.
        data = args[at] if isinstance(args[at], int) else memoryview(args[at]).cast("B")
        size = data if isinstance(data, int) else len(data)
        if size <= kept:
            return self._missed(index, f"that {passage.kind} had {size} bytes only", passage, args, kwargs)
        posix = passage.kind == "read" or not _whole_or_not(args[0], size)
        part = kept if isinstance(data, int) else data[:kept]
        result = passage.real(*args[:at], part, *args[at + 1 :], **kwargs)
        if self._count(passage.kind, result):
            self._strike(index, fault, posix=posix)
        return result

    def _missed(
        self, index: int, why: str, passage: _gate.Passage, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Make the call as it is, and record why the fault did not strike there."""
        result = passage.real(*args, **kwargs)
        if self._count(passage.kind, result):
            self._recorder.note(f="missed", process=self._peer, fault=index, why=why)
        return result

    def _count(self, kind: str, result: Any) -> bool:
        """Count a call if it transferred something, and return whether it did."""
        moved = len(result) if isinstance(result, (bytes, tuple)) else 1 if result is None else int(result)
        if moved <= 0:
            return False
        with self._lock:
            self._passed[kind] += 1
        return True

    def _strike(self, index: int, fault: Fault, *, posix: bool = True) -> None:
        self._recorder.note(
            f="strike",
            process=self._peer,
            fault=index,
            inside=self._inside,
            posix=posix,
            stack=own_frames(sys._getframe()),
        )
        fault.strike(os.getpid())


def own_frames(frame: FrameType | None) -> list[dict[str, Any]]:
    """Return the innermost frames that are not the harness's own, outermost first."""
    found: list[dict[str, Any]] = []
    while frame is not None:
        code = frame.f_code
        found.append(place(code.co_filename, frame.f_lineno, code.co_name))
        frame = frame.f_back
    return trim(found[::-1])


def place(file: str, line: int, function: str) -> dict[str, Any]:
    """Return one frame of a stack, with its line of source where that can be found."""
    return {"file": file, "line": line, "function": function, "code": linecache.getline(file, line).strip()}


def trim(stack: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the innermost few frames of a stack, without the harness's own and its adapters'."""
    return [frame for frame in stack if not frame["file"].startswith((_HARNESS, "<string>"))][-MOST_FRAMES:]


def _whole_or_not(target: Any, size: int) -> bool:
    """Whether POSIX promises that a write of *size* bytes there is all or nothing: a pipe's or FIFO's, to PIPE_BUF."""
    return isinstance(target, int) and size <= select.PIPE_BUF and stat.S_ISFIFO(_gate.real.fstat(target).st_mode)
