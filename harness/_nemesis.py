"""Who strikes: in every peer with a fault, it counts what the triggers count and applies the faults there.

Jepsen's word for the part which does. It runs inside the peer, so that a place in the program is that place.
"""

from __future__ import annotations

import linecache
import os
import select
import socket
import stat
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any
from zlib import crc32

from . import _gate
from ._eventlog import Recorder
from .faults import Fault, Scene
from .triggers import AFTER, ANY, BEFORE, Message, Place, Start

_HARNESS = os.path.dirname(os.path.abspath(__file__)) + os.sep
_ADAPTERS = os.path.join(_HARNESS, "adapters", "")
MOST_FRAMES = 6
_TRANSFERS = ("read", "write")


@dataclass(frozen=True, slots=True)
class _Planned:
    """A fault that is to strike at a call: its index in the plan, and after how many bytes (or BEFORE, or AFTER)."""

    index: int
    fault: Fault
    offset: int = BEFORE

    @property
    def order(self) -> tuple[float, int]:
        """By what those of one call are sorted: the first to strike comes first."""
        return float("inf") if self.offset == AFTER else self.offset, self.fault.turn


class Nemesis:
    """The faults of one peer.

    faults: each with its index in the plan.
    recorder: where strikes are recorded, before they strike.
    scene: where they strike.
    events: the peer's own, where word is left for the trial root.
    seed: draws what is drawn.
    watched: whether to leave word of each call, for a fault that comes from outside.
    """

    def __init__(
        self,
        peer: str,
        faults: Sequence[tuple[int, Fault]],
        recorder: Recorder,
        scene: Scene,
        events: Recorder,
        seed: int = 0,
        watched: bool = False,
    ) -> None:
        self._peer = peer
        self._recorder = recorder
        self._scene = scene
        self._events = events
        self._watched = watched
        self._lock = threading.Lock()
        self._armed = {index: fault for index, fault in faults if not fault.at.by_clock}
        self._seeds = {index: f"{seed} {peer} {index}" for index in self._armed}
        self._kinds = {fault.at.call_kind for fault in self._armed.values()} - {None}
        self._census = any(fault.counts for _, fault in faults)
        if self._census:
            self._kinds.add(ANY)
        self._struck: dict[int, Fault] = {}
        # Of each fault that fails a call, how many of those calls have failed no operation yet.
        self._unfelt: Counter[int] = Counter()
        # Where a repeating fault struck last: a call that is tried again is the same place. (A call that was to be cut,
        # and transferred nothing, was not struck: it is when it is tried again.)
        self._last: dict[int, int] = {}
        self._why: dict[int, str] = {}
        # How often a fault has waited for its place to come again, as another had the call fail there; and which one.
        self._waited: Counter[int] = Counter()
        self._waited_for: dict[int, Fault] = {}
        self._passed: Counter[str] = Counter()
        # Whether a close(2) of the last operation's has failed.
        self.has_failed_to_close = False
        self._inside: str | None = None
        self._message = 0
        self._in_message: Counter[str] = Counter()
        self._ended = 0
        self._calls = 0
        self._striking: int | None = None
        self._spared = False

    def starts(self) -> None:
        """Strike with what comes before the peer opens the queue."""
        self._strike_all(lambda _, fault: isinstance(fault.at, Start))

    def begins(self, operation: str, message: int = 0) -> None:
        """Take note that the peer begins an operation, such as ``put 3``, with its message of this number, from 1."""
        self._inside = operation
        self._message = message
        self._in_message.clear()
        self._calls = 0
        self.has_failed_to_close = False
        if self._watched:
            self._events.clear_call()

    def ended(self, number: int) -> None:
        """Strike if a fault is planned after the peer's message *number*, counted from 1, which is through."""
        self._inside = None
        self._message = 0
        self._ended = number
        self._strike_all(lambda index, fault: fault.at.after_message(number, self._seeds[index]))

    def excuses(self, error: BaseException) -> bool:
        """Whether an operation may fail with this error because of a fault that struck; it is lifted then.

        So is every other that may be why: one that stays would have the operation fail of it for ever. A call that
        failed excuses one operation: a queue that cannot be used ever after is broken.
        """
        excusing = self._excusing(error)
        for index in excusing:
            with self._lock:
                self._unfelt[index] -= 1
            self._struck[index].lift(self._scene)
        return bool(excusing)

    def _excusing(self, error: BaseException, groups: frozenset[int] = frozenset()) -> set[int]:
        """Return the faults that an error came of: of a group of errors all of theirs, or none if one came of none."""
        struck = tuple(self._struck.items())
        for each in chain(error):
            found: set[int] = set()
            if isinstance(each, BaseExceptionGroup) and id(each) not in groups:
                parts = [self._excusing(part, groups | {id(each)}) for part in each.exceptions]
                found = set().union(*parts) if all(parts) else set()
            elif isinstance(each, OSError):
                found = {
                    index
                    for index, fault in struck
                    if fault.excuses(each) and (fault.error is None or self._unfelt[index])
                }
            if found:
                return found
        # What it was raised in the handling of need not be why.
        said = tuple(chain(error, contexts=False))
        return {index for index, fault in struck if any(fault.accounts_for(each) for each in said)}

    def lift(self) -> None:
        """Undo what lasts in this peer. It has ended its work, and the harness needs descriptors of its own."""
        for fault in self._struck.values():
            if not fault.needs_fifo:  # what befell the queue is undone for newcomers, by the trial root
                fault.lift(self._scene)

    def spare(self, spared: bool) -> None:
        """Let all calls through, or no longer. What fails of a repeating fault each time it is tried never ends."""
        self._spared = spared

    def tell_what_did_not_strike(self) -> None:
        """Record how far the peer came, for each fault whose place it never reached. It has ended its work."""
        for index, fault in self._armed.items():
            if index in self._struck or index in self._why:
                continue
            kind, n = fault.at.call_kind, fault.at.most_messages
            if kind is None or (n or 0) > self._ended:
                why = f"it had {self._ended} messages"
            elif n is not None:
                why = f"the gate saw no such place in its message {n}"
            else:
                number = sum(self._passed.values()) if kind == ANY else self._passed[kind]
                what = "system call" if kind == ANY else kind
                hint = f" (by os.{kind}, or a socket's methods)" if kind in _TRANSFERS else ""
                why = f"the gate saw it make {number} {what}{'' if number == 1 else 's'}{hint}"
            if index in self._waited_for:
                why += f"; at its place came first: {self._waited_for[index]}"
            self._miss(index, why)

    def __call__(self, passage: _gate.Passage, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Make a call of the peer's, or a part of it, and strike where it is planned. The gate's warden."""
        if self._striking == threading.get_ident():
            return passage.real(*args, **kwargs)  # the fault's own
        if not self._watched:
            return self._pass(passage, args, kwargs)
        self._calls += 1
        self._events.leave_call(self._calls, passage.number, done=False)
        try:
            return self._pass(passage, args, kwargs)
        finally:
            self._events.leave_call(self._calls, passage.number, done=True)

    def _pass(self, passage: _gate.Passage, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not self._kinds or (passage.kind not in self._kinds and ANY not in self._kinds):
            return passage.real(*args, **kwargs)
        if not self._armed and not self._census:
            return passage.real(*args, **kwargs)  # all has struck: there is nothing left to count for
        if self._spared:
            return self._through(passage, args, kwargs)
        planned = self._planned(passage, args)
        if not planned:
            return self._through(passage, args, kwargs)
        return self._struck_call(planned, passage, args, kwargs)

    def _planned(self, passage: _gate.Passage, args: tuple[Any, ...]) -> list[_Planned]:
        """Return the faults that strike at this call, in their order."""
        kind = passage.kind
        with self._lock:
            place = Place(
                kind=kind,
                n=self._passed[kind] + 1,
                calls=self._passed.total() + 1,
                message=self._message,
                call=self._in_message["calls"] + 1,
                start=self._in_message[kind],
                size=_size_of(passage, args) or 0,
            )
        planned = []
        for index, fault in tuple(self._armed.items()):
            offset = fault.at.in_call(place, self._seeds[index])
            if offset is not None and self._last.get(index) != place.calls:
                planned.append(_Planned(index, fault, fault.most_bytes or offset))
        if len(planned) > 1:
            planned.sort(key=lambda each: each.order)
        return planned

    def _struck_call(
        self, planned: list[_Planned], passage: _gate.Passage, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Make a call, or have it fail, with all that is planned there.

        A call that fails does not count, so that what is planned there as well has its place still before it, and waits
        for the next such call: what ends the peer, cuts the call or comes after it, and another failure. Who has waited
        longer than the failure does not wait again.
        """
        left = [each for each in planned if each.fault.error is None]
        while left and left[0].offset == BEFORE and not left[0].fault.final:
            self._take_turn(left)
        failures = [each for each in planned if each.fault.error is not None]
        if failures:
            failure = max(failures, key=lambda each: self._waited[each.index])
            if all(self._waited[each.index] <= self._waited[failure.index] for each in left):
                self._wait(failure.fault, *(each for each in (*left, *failures) if each is not failure))
                return self._fail(failure, passage, args, kwargs)
            self._wait(left[0].fault, *failures)
        while left and left[0].offset == BEFORE:
            self._take_turn(left, *failures)
        before = self._passed.total()
        result = self._cut(left, passage, args, kwargs)
        while left and self._passed.total() > before:
            self._take_turn(left)
        return result

    def _fail(self, failure: _Planned, passage: _gate.Passage, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Have a call fail."""
        self._strike(failure.index, failure.fault)
        if passage.kind == "close":
            passage.real(*args, **kwargs)
            self.has_failed_to_close = True
        assert failure.fault.error is not None
        raise failure.fault.error

    def _through(self, passage: _gate.Passage, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Make the whole call."""
        result = passage.real(*args, **kwargs)
        self._count(passage, args, _moved(passage, result, args))
        return result

    def _cut(self, left: list[_Planned], passage: _gate.Passage, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Let so many bytes of the call through, and strike, each in its turn; then the rest, unless the call is to
        return short. Who is left then comes after the call.
        """
        size = _size_of(passage, args)
        impossible = []
        for each in [each for each in left if each.offset != AFTER]:
            why = self._why_not_cut(each, passage, args, size)
            if why is not None:
                left.remove(each)
                impossible.append((each.index, why))
        before = self._passed.total()
        if left and left[0].offset != AFTER:
            result = self._in_parts(left, size or 0, passage, args, kwargs)
        else:
            result = self._through(passage, args, kwargs)
        if self._passed.total() > before:
            for index, why in impossible:
                if why:
                    self._miss(index, why, impossible=True)
                    self._passes(index)
        return result

    def _why_not_cut(
        self, each: _Planned, passage: _gate.Passage, args: tuple[Any, ...], size: int | None
    ) -> str | None:
        """Return why a fault cannot strike inside the call, an empty text if it has just done so, or None if it can."""
        fault = each.fault
        short = fault.most_bytes is not None
        reads = passage.kind == "read"
        if size is None or _is_one_number(args[0]):
            return f"that {passage.name} cannot be cut"
        if size <= each.offset:
            return f"that {passage.kind} had {size} byte{'' if size == 1 else 's'} only"
        if reads and not fault.final and _in_packets(args[0]):
            return "a read in packet mode takes a whole packet: nothing returns a part of it"
        if reads or not _whole_or_not(args[0], size):
            return None
        if not (short or fault.final or not fault.posix):
            return f"that write of {size} bytes is all or nothing: nothing can come in between"
        # What was cut here is written once more as a whole. Cut each time, it would never end.
        return "" if short and self._last.get(each.index) == self._passed.total() else None

    def _in_parts(
        self, left: list[_Planned], size: int, passage: _gate.Passage, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        """Make a call part by part, with those striking in between whose turn it is."""
        reads = passage.kind == "read"
        posix = reads or not _whole_or_not(args[0], size)
        moved, cut, last = 0, False, left[0].fault
        while not cut:
            stop = left[0].offset if left and left[0].offset != AFTER else size
            # As if nothing had happened, but for what comes in between.
            result = _part(passage, args, kwargs, moved, stop)
            came = _moved(passage, result, args) if result is not None else stop - moved
            moved += came
            # What is read cannot be put together: as if no more had been there.
            cut = reads or moved < stop or stop == size
            while came > 0 and left and left[0].offset == stop:
                last = left[0].fault
                short = last.most_bytes is not None
                cut |= short
                self._take_turn(left, posix=posix, tears=not (reads or short or last.final or last.posix))
        self._count(passage, args, moved)
        while moved > 0 and left and left[0].offset != AFTER:  # beyond where the call ended
            each = left.pop(0)
            self._waited_for[each.index] = last
            if not (each.fault.at.repeats or isinstance(each.fault.at, Message)):  # which goes on with its bytes
                self._miss(each.index, f"that {passage.kind} ended before, by another fault: {last}")
                self._passes(each.index)
        return moved if not reads and result is not None else result

    def _count(self, passage: _gate.Passage, args: tuple[Any, ...], moved: int) -> None:
        """Count a call if it transferred something, or is of a kind that transfers nothing."""
        if moved > 0:
            with self._lock:
                self._passed[passage.kind] += 1
                self._in_message["calls"] += 1
                self._in_message[passage.kind] += moved
                if self._census:
                    self._striking = threading.get_ident()
                    try:
                        self._record(passage, args, moved)
                    finally:
                        self._striking = None

    def _record(self, passage: _gate.Passage, args: tuple[Any, ...], moved: int) -> None:
        """Take note of a call that counts, and of what could be done to it."""
        reads = passage.kind == "read"
        transfers = passage.kind in _TRANSFERS and _size_of(passage, args) is not None and not _is_one_number(args[0])
        self._recorder.note(
            f="call",
            process=self._peer,
            kind=passage.kind,
            n=self._passed[passage.kind],
            size=moved if passage.kind in _TRANSFERS else 0,
            torn=transfers and moved > 1,
            posix=transfers and (reads or not _whole_or_not(args[0], moved)),
            packet=transfers and reads and _in_packets(args[0]),
            inside=self._inside,
            stack=_caller(sys._getframe()),
            path=_path(sys._getframe()),
        )

    def _strike_all(self, is_here: Callable[[int, Fault], bool]) -> None:
        """Strike with all that are here."""
        left = [_Planned(index, fault) for index, fault in tuple(self._armed.items()) if is_here(index, fault)]
        left.sort(key=lambda each: each.order)
        while left:
            self._take_turn(left)

    def _take_turn(self, left: list[_Planned], *others: _Planned, posix: bool = True, tears: bool = False) -> None:
        """Strike with the first of those left. If that ends the peer, the rest does not: it is told before."""
        each = left.pop(0)
        if each.fault.final:
            for other in (*left, *others):
                self._miss(other.index, f"at its place came first: {each.fault}")
        self._strike(each.index, each.fault, posix=posix, tears=tears)

    def _wait(self, first: Fault, *others: _Planned) -> None:
        """Take note that these wait for another call, because of the one that comes first."""
        for each in others:
            self._waited[each.index] += 1
            self._waited_for[each.index] = first

    def _miss(self, index: int, why: str, *, impossible: bool = False) -> None:
        """Record why a fault did not strike, once, unless it has struck before."""
        if index not in self._struck and index not in self._why:
            self._why[index] = why
            self._recorder.note(
                f="missed", process=self._peer, fault=index, why=why, **({"impossible": True} if impossible else {})
            )

    def _passes(self, index: int) -> None:
        """Take note that the place of a fault has passed, if there is but one."""
        if index in self._armed and not self._armed[index].at.repeats:
            del self._armed[index]

    def _strike(self, index: int, fault: Fault, *, posix: bool = True, tears: bool = False) -> None:
        # From here on, what this thread calls is the harness's own.
        self._striking = threading.get_ident()
        try:
            if (why := fault.too_late(self._scene)) is not None:
                del self._armed[index]
                self._miss(index, why)
                return
            if index not in self._struck:
                self._recorder.note(
                    f="strike",
                    process=self._peer,
                    fault=index,
                    inside=self._inside,
                    posix=posix and fault.posix,
                    **({"tears": True} if tears else {}),
                    stack=own_frames(sys._getframe()),
                    path=_path(sys._getframe()),
                )
            if fault.pause_s is not None:
                self._events.leave_fault(index)
            if fault.delay_s:
                self._events.leave_delay(fault.delay_s)
            self._struck[index] = fault
            with self._lock:
                self._unfelt[index] += 1
            self._last[index] = self._passed.total() + 1
            if not fault.at.repeats:
                del self._armed[index]
            fault.strike(self._scene)
        finally:
            self._striking = None


def chain(error: BaseException | None, *, contexts: bool = True) -> Iterator[BaseException]:
    """Yield an error and what it came of, each once: a queue may have an error come of itself.

    contexts: whether it came of what was being handled, too, or only of what it was raised from.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (error.__context__ if contexts else None)


def _size_of(passage: _gate.Passage, args: tuple[Any, ...]) -> int | None:
    """Return how many bytes the call is to transfer, or None where nobody can say: such a call cannot be cut."""
    at = passage.data
    if at is None or len(args) <= at:
        return None
    # A write has its data there, a read its size.
    return args[at] if isinstance(args[at], int) else memoryview(args[at]).nbytes


def _part(passage: _gate.Passage, args: tuple[Any, ...], kwargs: dict[str, Any], start: int, stop: int) -> Any:
    """Make the call with a part of its data."""
    at = passage.data
    assert at is not None
    part = stop - start if isinstance(args[at], int) else memoryview(args[at]).cast("B")[start:stop]
    return passage.real(*args[:at], part, *args[at + 1 :], **kwargs)


def _moved(passage: _gate.Passage, result: Any, args: tuple[Any, ...]) -> int:
    """Return how many bytes the call has transferred; 1 for a call that succeeded and whose bytes nobody can tell."""
    if passage.kind not in _TRANSFERS:
        return 1
    if isinstance(result, bytes):
        return len(result)
    if isinstance(result, tuple):
        return len(result[0]) if isinstance(result[0], bytes) else int(result[0])
    return int(result) if result is not None else _size_of(passage, args) or 1


def _caller(frame: FrameType | None) -> list[dict[str, Any]]:
    """Return the innermost of the frames that ``own_frames`` returns, in a time that does not grow with the stack."""
    while frame is not None and is_own(frame.f_code.co_filename):
        frame = frame.f_back
    return [] if frame is None else [place(frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name)]


def _path(frame: FrameType | None) -> int:
    """Return a number that is the same for calls which come by the same lines, as far as the innermost few say."""
    lines: list[str] = []
    while frame is not None and len(lines) < MOST_FRAMES:
        if not is_own(frame.f_code.co_filename):
            lines.append(f"{frame.f_code.co_filename}:{frame.f_lineno}")
        frame = frame.f_back
    return crc32("\n".join(lines).encode(errors="surrogateescape"))


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
    """Return the innermost few frames of a stack, without the harness's own and its adapters'.

    An adapter that is the innermost, but for the gate, has called C code, which has no frames: its call is what there
    is to see.
    """
    seen = [frame for frame in stack if not is_own(frame["file"]) or frame["file"].startswith(_ADAPTERS)]
    shown = [frame for frame in seen[:-1] if not is_own(frame["file"])] + seen[-1:]
    return shown[-MOST_FRAMES:]


def is_own(file: str) -> bool:
    """Whether the code of this file is the harness's own, or what starts it."""
    return file.startswith((_HARNESS, "<string>"))


def _whole_or_not(target: Any, size: int) -> bool:
    """Whether POSIX promises that a write of *size* bytes there is all or nothing: a pipe's or FIFO's, to PIPE_BUF, and
    that of a socket which keeps messages apart.
    """
    if _keeps_messages(target):
        return True
    return isinstance(target, int) and size <= select.PIPE_BUF and stat.S_ISFIFO(_gate.real.fstat(target).st_mode)


def _keeps_messages(target: Any) -> bool:
    """Whether this is a socket that takes and gives whole messages: datagrams, or packets in sequence, socket(2)."""
    if isinstance(target, int) and stat.S_ISSOCK(_gate.real.fstat(target).st_mode):
        known = socket.socket(fileno=target)
        kind = known.type
        known.detach()
    elif isinstance(target, socket.socket):
        kind = target.type
    else:
        return False
    return kind in (socket.SOCK_DGRAM, getattr(socket, "SOCK_SEQPACKET", None))


def _is_one_number(target: Any) -> bool:
    """Whether this is an eventfd or the like, without a type of file: a part of its number is an error."""
    return isinstance(target, int) and stat.S_IFMT(_gate.real.fstat(target).st_mode) == 0


def _in_packets(target: Any) -> bool:
    """Whether this is a pipe whose reads take whole packets (Linux, O_DIRECT), or a socket that keeps them apart."""
    import fcntl

    if _keeps_messages(target):
        return True
    direct = getattr(os, "O_DIRECT", 0)
    if not isinstance(target, int) or not stat.S_ISFIFO(_gate.real.fstat(target).st_mode):
        return False
    return bool(_gate.real.fcntl(target, fcntl.F_GETFL) & direct)
