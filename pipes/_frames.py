"""How encoded messages lie in the pipe: one frame each.

Laws of this module:

- no input or output: bytes in, frames out; all at once and byte by byte give the same frames;
- a frame contains the magic at its start and nowhere else. So wherever the magic is found, a frame starts or
  something foreign does; a torn frame ends before the next magic at the latest; and a frame which was a
  message's content (somebody sends captured frames through the queue) can never be taken for one.
  `encode_frame` gives `None` rather than break this law;
- an intact frame is found whatever stands before and behind it.

A frame, all numbers big-endian::

     0   3 bytes   magic: C1 6D 77. C1 occurs neither in MessagePack's heads nor in UTF-8 text
     3   1 byte    version of this layout: 1
     4   1 byte    kind: 1 a message, 2 a claim on a long message's file
     5   2 bytes   length of the payload
     7   4 bytes   CRC-32 of the payload, started with the preceding four bytes (version, kind, length) as a number
    11             payload

The layout up to and with the version stays in every version to come, and so does the first law.
"""

from __future__ import annotations

import select
import struct
from typing import Final, NamedTuple
from zlib import crc32

__all__ = [
    "CLAIM",
    "MAGIC",
    "MAX_FRAME",
    "MAX_PAYLOAD",
    "MESSAGE",
    "Scanner",
    "Skipped",
    "encode_frame",
    "split",
    "whole_message",
]

MAGIC: Final = b"\xc1mw"
VERSION: Final = 1
MESSAGE: Final = 1
CLAIM: Final = 2

_HEADER: Final = struct.Struct(">3sII")
_pack = _HEADER.pack
_unpack_from = _HEADER.unpack_from
HEADER_SIZE: Final = _HEADER.size

MAX_FRAME: Final = min(select.PIPE_BUF, 0xFFFF)
"""The longest frame, in bytes: what the system writes to a pipe whole or not at all."""

MAX_PAYLOAD: Final = MAX_FRAME - HEADER_SIZE

_MESSAGE_START: Final = VERSION << 24 | MESSAGE << 16


class Skipped(NamedTuple):
    """Bytes that were passed over, and why."""

    data: bytes
    reason: str


def encode_frame(kind: int, payload: bytes) -> bytes | None:
    """Return the frame of `payload`; None if it is too long, or the frame would contain the magic twice."""
    size = len(payload)
    if size > MAX_PAYLOAD:
        return None
    start = VERSION << 24 | kind << 16 | size
    frame = _pack(MAGIC, start, crc32(payload, start)) + payload
    return frame if frame.rfind(MAGIC) == 0 else None


def whole_message(data: bytes) -> bytes | None:
    """Return the payload if `data` is one intact message frame and nothing else: the common case, and quick."""
    size = len(data)
    if HEADER_SIZE <= size <= MAX_FRAME:
        magic, start, checksum = _unpack_from(data)
        if start == _MESSAGE_START + size - HEADER_SIZE and magic == MAGIC:
            payload = data[HEADER_SIZE:]
            # A second magic is not looked for: who can forge the checksum can leave it out as well.
            if crc32(payload, start) == checksum:
                return payload
    return None


def split(data: bytes) -> tuple[list[tuple[int, bytes]], list[Skipped]]:
    """Return all intact frames in `data` as (kind, payload), in order, and what was skipped between them."""
    frames: list[tuple[int, bytes]] = []
    at, end = 0, len(data)
    # Quick as long as one message's frame follows the other, which is all that a batch has.
    while end - at >= HEADER_SIZE:
        magic, start, checksum = _unpack_from(data, at)
        stop = at + HEADER_SIZE + (start & 0xFFFF)
        if magic != MAGIC or start >> 16 != _MESSAGE_START >> 16 or stop > end or stop - at > MAX_FRAME:
            break
        payload = data[at + HEADER_SIZE : stop]
        if crc32(payload, start) != checksum or data.find(MAGIC, at + 1, stop) >= 0:
            break
        frames.append((MESSAGE, payload))
        at = stop
    if at == end:
        return frames, []
    scanner = Scanner()
    frames += scanner.feed(data[at:])
    scanner.finish()
    return frames, scanner.skipped


class Scanner:
    """Finds the frames in bytes that arrive in any pieces."""

    def __init__(self) -> None:
        self.skipped: list[Skipped] = []
        """What was passed over so far; whoever reports it empties the list."""
        self.wanted = HEADER_SIZE
        """How many more bytes can be fed before the next frame ends, at most: feed no more, and no frame is cut."""
        self._pending = b""

    @property
    def idle(self) -> bool:
        """Whether nothing is left of what was fed."""
        return not self._pending

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """Take in `data` and return the frames that are now complete."""
        return self._scan(self._pending + data, final=False)

    def finish(self) -> None:
        """Say that nothing follows: what is left is no frame, and skipped."""
        pending, self._pending = self._pending, b""
        self._scan(pending, final=True)

    def _scan(self, data: bytes, *, final: bool) -> list[tuple[int, bytes]]:
        frames: list[tuple[int, bytes]] = []
        at, end = 0, len(data)
        self.wanted = HEADER_SIZE
        while at < end:
            start = data.find(MAGIC, at)
            if start < 0:
                start = end if final else end - _magic_begun(data, at)
            if start > at:
                self._skip(data[at:start], "no frame starts here")
                at = start
            if start == end:
                break
            next_magic = data.find(MAGIC, start + 1)
            limit = end if next_magic < 0 else next_magic
            available = limit - start
            complete = final or next_magic >= 0
            reason = ""
            size = HEADER_SIZE
            if available >= HEADER_SIZE:
                _, head, checksum = _unpack_from(data, start)
                size += head & 0xFFFF
                if head >> 24 != VERSION:
                    reason = f"a frame of version {head >> 24}, and this is version {VERSION}"
                elif head >> 16 & 0xFF not in (MESSAGE, CLAIM) or size > MAX_FRAME:
                    reason = "no known kind of frame"
                elif available >= size:
                    payload = data[start + HEADER_SIZE : start + size]
                    if crc32(payload, head) == checksum:
                        frames.append((head >> 16 & 0xFF, payload))
                        at = start + size
                        continue
                    reason = "a frame whose checksum is wrong"
            if not reason and available < size:
                if not complete:
                    self.wanted = size - available
                    break
                reason = "a frame that is cut off"
            # Skip no further than the next magic, nor into one which may just be arriving.
            stop = limit if complete else limit - _magic_begun(data, start + 1)
            self._skip(data[start:stop], reason)
            at = stop
        self._pending = data[at:]
        if self._pending and self.wanted == HEADER_SIZE and len(self._pending) < HEADER_SIZE:
            self.wanted = HEADER_SIZE - len(self._pending)
        return frames

    def _skip(self, data: bytes, reason: str) -> None:
        self.skipped.append(Skipped(data, reason))


def _magic_begun(data: bytes, at: int) -> int:
    """How many bytes at the end of `data` (from `at`) may be the beginning of a magic."""
    for size in (2, 1):
        if len(data) - at >= size and data.endswith(MAGIC[:size]):
            return size
    return 0
