"""A peer's events, in shared memory backed by a file: what it did survives its SIGKILL, and its reader's.

An event is appended first and counted afterwards, so that a kill in between costs that event and no other.
The file begins with six numbers of eight bytes, in the machine's own order: the count of the bytes that are whole, a
word on the system call that the peer is in, the fault that stops it, whether it has told how it ended, whether there
was no room for what it did, and until when a fault delays it. Records of one size follow. The few that have a text say
where it is; texts grow from the end of the file towards its beginning.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Self

from ._errors import HistoryError

# The numbers are written through a view, which stores each at once. struct.pack_into would clear the bytes first
# and then set them one by one: a kill in between would lose the whole log.
_WHOLE, _CALL, _FAULT, _ENDED, _FULL, _DELAYED = range(6)
_HEAD = 48
# Time in ns, code, process, producer, number, where the text is (0: none). With the time first, and its most
# significant byte first, records in the order of their bytes are in the order of time: histories are merged by that.
RECORD = struct.Struct(">QBHHII")
_CODE_AT = 8
_LENGTH = struct.Struct(">I")
_MOST_TEXTS = 0xFFFFFFFF
# How many bytes the text of an operation has at most.
MOST_TEXT = 500
# The largest producer and number that a record has room for.
MOST_PRODUCER, MOST_NUMBER = 0xFFFF, 0xFFFFFFFF

# What a record's code stands for: the type and the function of an operation, as Jepsen has them.
CODES: tuple[tuple[str, str], ...] = (
    ("invoke", "enqueue"),
    ("ok", "enqueue"),
    ("fail", "enqueue"),
    ("invoke", "dequeue"),
    ("ok", "dequeue"),
    ("fail", "dequeue"),
    ("info", "note"),
)
ENQUEUE_INVOKE, ENQUEUE_OK, ENQUEUE_FAIL, DEQUEUE_INVOKE, DEQUEUE_OK, DEQUEUE_FAIL, NOTE = range(len(CODES))


class Record(NamedTuple):
    """One event as a peer wrote it."""

    time_ns: int
    code: int
    process: int
    producer: int
    number: int
    text: str


def room_for(operations: int) -> int:
    """Return how many bytes so many operations take at most, of which each may have a text."""
    return operations * (2 * RECORD.size + _LENGTH.size + MOST_TEXT)


def brief(text: str) -> bytes:
    """Return the beginning of a text, for which there is room at every operation."""
    # A character may have several bytes; it is there, or it is not.
    return text[:MOST_TEXT].encode(errors="replace")[:MOST_TEXT].decode(errors="ignore").encode()


class Recorder:
    """Append events to a new file at *path*, of at most *capacity* bytes. One thread of one process uses it.

    process: by what number the records know whose they are.
    """

    def __init__(self, path: str, capacity: int, process: int = 0) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # Sparse: only pages which are written to take room.
            os.ftruncate(descriptor, capacity)
            self._map = mmap.mmap(descriptor, capacity)
        finally:
            os.close(descriptor)
        if hasattr(mmap, "MADV_RANDOM"):
            self._map.madvise(mmap.MADV_RANDOM)  # nothing is there to be read ahead
        self._end = _HEAD
        self._room = capacity
        self._capacity = capacity
        self._process = process
        self._last_ns = 0
        self._last_text = b"", 0
        self._numbers = memoryview(self._map)[:_HEAD].cast("Q")
        self._numbers[_WHOLE] = self._end
        self._instead: Callable[[], None] | None = None

    def append(
        self,
        code: int,
        producer: int = 0,
        number: int = 0,
        text: bytes = b"",
        # Bound once: this is what every operation of a peer pays.
        _pack: Any = RECORD.pack_into,
        _now: Any = time.monotonic_ns,
        _size: int = RECORD.size,
    ) -> None:
        """Record one event, at this moment of the monotonic clock that all processes share."""
        at = self._leave_text(text) if text else 0
        start = self._end
        end = start + _size
        if end > self._room:
            self._full()
        now = _now()
        if now <= self._last_ns:  # a coarse clock: what comes later is later
            now = self._last_ns + 1
        self._last_ns = now
        _pack(self._map, start, now, code, self._process, producer, number, at)
        self._numbers[_WHOLE] = self._end = end

    def _leave_text(self, text: bytes) -> int:
        """Return where a text is: the same as before is there already, for an operation may fail very often of one."""
        if text == self._last_text[0]:
            return self._last_text[1]
        room = self._room - _LENGTH.size - len(text)
        at = self._capacity - room
        if room < self._end or at > _MOST_TEXTS:
            self._full()
        _LENGTH.pack_into(self._map, room, len(text))
        self._map[room + _LENGTH.size : self._room] = text
        self._room = room
        self._last_text = text, at
        return at

    def mute(self, instead: Callable[[], None]) -> None:
        """In a fork's child: leave the file alone from now on, and call this when something is to be recorded."""
        self._instead = instead
        self._numbers = memoryview(bytearray(_HEAD)).cast("Q")
        self._room = -1  # so that nobody who records has to ask

    def _full(self) -> None:
        if self._instead is not None:
            self._instead()
        self.leave_full()
        raise HistoryError(f"more events than the plan allows for ({self._capacity} bytes of them)")

    def note(self, **value: Any) -> None:
        """Record something that is no operation, as JSON."""
        self.append(NOTE, text=json.dumps(value).encode())

    def leave_call(self, count: int, number: int, *, done: bool) -> None:
        """Leave word of the system call that the peer is in, or has just done."""
        self._numbers[_CALL] = count << 32 | number << 8 | done

    def clear_call(self) -> None:
        """Leave word that the operation has made no call yet."""
        self.leave_call(0, 0, done=False)

    def last_call(self) -> tuple[int, int, bool]:
        """Return the last word left: the count (0: none yet), the function's number, and whether it is done."""
        word = self._numbers[_CALL]
        return word >> 32, word >> 8 & 0xFFFFFF, bool(word & 1)

    def leave_fault(self, index: int) -> None:
        """Leave word of the fault which stops the peer."""
        self._numbers[_FAULT] = index

    def last_fault(self) -> int:
        """Return the fault of which word was left."""
        return self._numbers[_FAULT]

    def leave_delay(self, seconds: float) -> None:
        """Leave word that a fault delays the peer for so long from now on."""
        self._numbers[_DELAYED] = time.monotonic_ns() + int(seconds * 1e9)

    def is_delayed(self) -> bool:
        """Return whether a fault delays the peer."""
        return self._numbers[_DELAYED] > time.monotonic_ns()

    def note_exit(self, **how: Any) -> None:
        """Record how the peer ends. That is told then: its parent need not."""
        self.note(f="exit", **how)
        self._numbers[_ENDED] = 1

    def exit_is_noted(self) -> bool:
        """Return whether the peer itself has told how it ended."""
        return bool(self._numbers[_ENDED])

    def leave_full(self) -> None:
        """Leave word that there was no room for what the peer did."""
        self._numbers[_FULL] = 1

    def is_full(self) -> bool:
        """Return whether there was no room for what the peer did."""
        return bool(self._numbers[_FULL])

    def count(self, code: int) -> int:
        """Return how many events of a kind there are."""
        return self._map[_HEAD + _CODE_AT : self.whole() : RECORD.size].count(code)

    def whole(self) -> int:
        """Return how many bytes of events there are: it grows whenever the peer does something."""
        return self._numbers[_WHOLE]


class Log:
    """What a Recorder left in a file, up to the last whole event. Close it, or use it as a context."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "rb", buffering=0)
        head = self._file.read(_HEAD)
        numbers = memoryview(head).cast("Q") if len(head) == _HEAD else (_HEAD, 0, 0, 0, 0, 0)
        self._whole: int = max(numbers[_WHOLE], _HEAD)
        self._capacity = os.fstat(self._file.fileno()).st_size

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def chunks(self, most: int) -> Iterator[bytes]:
        """Yield the records, as they are, up to *most* at a time."""
        at = _HEAD
        while at < self._whole:
            chunk = os.pread(self._file.fileno(), min(most * RECORD.size, self._whole - at), at)
            at += len(chunk)
            yield chunk

    def text(self, at: int) -> bytes:
        """Return the text that a record says is there."""
        (length,) = _LENGTH.unpack(os.pread(self._file.fileno(), _LENGTH.size, self._capacity - at))
        return os.pread(self._file.fileno(), length, self._capacity - at + _LENGTH.size)


def read_records(path: str) -> Iterator[Record]:
    """Yield the events in a file that a Recorder wrote, up to the last whole one."""
    with Log(path) as log:
        for chunk in log.chunks(1 << 12):
            for time_ns, code, process, producer, number, at in RECORD.iter_unpack(chunk):
                yield Record(time_ns, code, process, producer, number, log.text(at).decode() if at else "")
