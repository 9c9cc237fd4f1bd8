"""A peer's events, in shared memory backed by a file: what it did survives its SIGKILL, and its reader's.

An event is appended first and counted afterwards, so that a kill in between costs that event and no other.
The file begins with two numbers of eight bytes, in the machine's own order: the count of the bytes that are whole,
and a word on the system call that the peer is in. ``RECORD`` and its text follow, again and again.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from ._errors import HistoryError

# The two numbers are written through a view, which stores each at once. struct.pack_into would clear the bytes first
# and then set them one by one: a kill in between would lose the whole log.
_WHOLE, _CALL = 0, 1
_HEAD = 16
RECORD = struct.Struct("<QBxHII")  # time in ns, code, producer, number, length of the text that follows

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
    producer: int
    number: int
    text: str


class Recorder:
    """Append events to a new file at *path*, of at most *capacity* bytes. One thread of one process uses it."""

    def __init__(self, path: str, capacity: int) -> None:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # Sparse: only pages which are written to take room.
            os.ftruncate(descriptor, capacity)
            self._map = mmap.mmap(descriptor, capacity)
        finally:
            os.close(descriptor)
        self._end = _HEAD
        self._capacity = capacity
        self._numbers = memoryview(self._map)[:_HEAD].cast("Q")
        self._numbers[_WHOLE] = self._end

    def append(self, code: int, producer: int = 0, number: int = 0, text: bytes = b"") -> None:
        """Record one event, at this moment of the monotonic clock that all processes share."""
        start = self._end
        end = start + RECORD.size + len(text)
        if end > self._capacity:
            raise HistoryError(f"more events than the plan allows for ({self._capacity} bytes of them)")
        RECORD.pack_into(self._map, start, time.monotonic_ns(), code, producer, number, len(text))
        if text:
            self._map[start + RECORD.size : end] = text
        self._numbers[_WHOLE] = end
        self._end = end

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

    def whole(self) -> int:
        """Return how many bytes of events there are: it grows whenever the peer does something."""
        return self._numbers[_WHOLE]


def read_records(path: str) -> Iterator[Record]:
    """Yield the events in a file that a Recorder wrote, up to the last whole one."""
    with open(path, "rb") as file:
        head = file.read(_HEAD)
        data = file.read(memoryview(head).cast("Q")[_WHOLE] - _HEAD) if len(head) == _HEAD else b""
    at = 0
    while at < len(data):
        time_ns, code, producer, number, length = RECORD.unpack_from(data, at)
        at += RECORD.size + length
        yield Record(time_ns, code, producer, number, data[at - length : at].decode())
