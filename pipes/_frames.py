"""How encoded messages lie in the pipe: one frame each.

Laws of this module:

- no input or output: bytes in, frames out; all at once and byte by byte give the same frames;
- a frame contains the magic at its start and nowhere else, and does not end with the beginning of one. So wherever
  the magic is found, a frame starts or something foreign does; a torn frame ends before the next magic at the latest,
  and can borrow none of its bytes; and a frame which was a message's content (somebody sends captured frames through
  the queue) can never be taken for one. `encode_frame` gives `None` rather than break this law;
- an intact frame is found whatever stands before and behind it.

A frame, all numbers big-endian::

     0   3 bytes   magic: C1 6D 77. C1 occurs neither in MessagePack's heads nor in UTF-8 text
     3   1 byte    version of this layout: 1
     4   2 bytes   length of the payload
     6   4 bytes   CRC-32 of the payload, started with version, kind and length as a number of 4 bytes (1, 1, 2)
    10             payload
    -1   1 byte    kind: 1 a message, 2 a claim on a long message's file, 3 several messages. It comes last, since it is
                   no part of a magic

The layout up to and with the version stays in every version to come, and so does the second law.
"""

from __future__ import annotations

import select
import struct
from typing import Final, NamedTuple
from zlib import crc32

__all__ = [
    "BATCH",
    "CLAIM",
    "MAGIC",
    "MAX_FRAME",
    "MAX_PAYLOAD",
    "MESSAGE",
    "OVERHEAD",
    "Scanner",
    "Skipped",
    "encode_frame",
    "message_frame",
    "split",
    "whole_message",
]

MAGIC: Final = b"\xc1mw"
VERSION: Final = 1
MESSAGE: Final = 1
CLAIM: Final = 2
BATCH: Final = 3

_HEAD: Final = MAGIC + bytes([VERSION])
_HEADER: Final = struct.Struct(">4sHI")
_pack = _HEADER.pack
_unpack_from = _HEADER.unpack_from
HEADER_SIZE: Final = _HEADER.size
OVERHEAD: Final = HEADER_SIZE + 1
"""How many bytes a frame has beyond its payload."""

MAX_FRAME: Final = min(getattr(select, "PIPE_BUF", 512), 0xFFFF)
"""The longest frame, in bytes: what the system writes to a pipe whole or not at all."""

MAX_PAYLOAD: Final = MAX_FRAME - OVERHEAD

_KINDS: Final = (MESSAGE, CLAIM, BATCH)
_TAILS: Final = {kind: bytes([kind]) for kind in _KINDS}
_MESSAGE_TAIL: Final = _TAILS[MESSAGE]
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
    frame = _pack(_HEAD, size, crc32(payload, VERSION << 24 | kind << 16 | size)) + payload + _TAILS[kind]
    return frame if frame.rfind(MAGIC) == 0 else None


def message_frame(payload: bytes) -> bytes | None:
    """Return what `encode_frame` does of a message, quicker."""
    size = len(payload)
    if size > MAX_PAYLOAD:
        return None
    frame = _pack(_HEAD, size, crc32(payload, _MESSAGE_START | size)) + payload + _MESSAGE_TAIL
    return frame if frame.rfind(MAGIC) == 0 else None


def whole_message(data: bytes) -> bytes | None:
    """Return the payload if `data` is one intact message frame and nothing else: the common case, and quick."""
    size = len(data) - OVERHEAD
    if 0 <= size <= MAX_PAYLOAD:
        head, length, checksum = _unpack_from(data)
        if length == size and head == _HEAD and data[-1] == MESSAGE:
            payload = data[HEADER_SIZE:-1]
            # A second magic is not looked for: who can forge the checksum can leave it out as well.
            if crc32(payload, _MESSAGE_START | size) == checksum:
                return payload
    return None


def split(data: bytes) -> tuple[list[tuple[int, bytes]], list[Skipped]]:
    """Return all intact frames in `data` as (kind, payload), in order, and what was skipped between them."""
    frames: list[tuple[int, bytes]] = []
    at, end = 0, len(data)
    # Quick as long as one frame follows the other, which is all that queues put there.
    while end - at >= OVERHEAD:
        head, size, checksum = _unpack_from(data, at)
        start = at + HEADER_SIZE
        stop = start + size
        if head != _HEAD or stop >= end or size > MAX_PAYLOAD or data[stop] not in _KINDS:
            break
        payload, kind = data[start:stop], data[stop]
        if crc32(payload, VERSION << 24 | kind << 16 | size) != checksum or data.find(MAGIC, at + 1, stop) >= 0:
            break
        frames.append((kind, payload))
        at = stop + 1
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
            size = OVERHEAD
            if available >= HEADER_SIZE:
                head, length, checksum = _unpack_from(data, start)
                size += length
                if head != _HEAD:
                    reason = f"a frame of version {head[-1]}, and this is version {VERSION}"
                elif size > MAX_FRAME:
                    reason = f"a frame that says it has {size} bytes, and {MAX_FRAME} are the most"
                elif available >= size:
                    payload, kind = data[start + HEADER_SIZE : start + size - 1], data[start + size - 1]
                    if crc32(payload, VERSION << 24 | kind << 16 | length) != checksum:
                        reason = "a frame whose checksum is wrong"
                    elif kind not in _KINDS:
                        reason = f"a frame of kind {kind}, which this version does not know"
                    else:
                        frames.append((kind, payload))
                        at = start + size
                        continue
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
