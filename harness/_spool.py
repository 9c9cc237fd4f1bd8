"""Bytes that only grow: in memory while they are few, then in a file without a name."""

from __future__ import annotations

import os
import tempfile
import weakref

_MOST_IN_MEMORY = 1 << 20


class Spool:
    """Append bytes, and read them from anywhere. Whatever is on disk goes when this goes, or its process does."""

    def __init__(self, data: bytes = b"") -> None:
        self._recent = bytearray()
        self._written = 0
        self._descriptor = -1
        self.append(data)

    def __len__(self) -> int:
        return self._written + len(self._recent)

    def append(self, data: bytes) -> int:
        """Append *data*, and return where it begins."""
        at = len(self)
        self._recent += data
        if len(self._recent) > _MOST_IN_MEMORY:
            self._write()
        return at

    def read(self, at: int, size: int) -> bytes:
        """Return *size* bytes from *at* on; fewer at the end."""
        if at >= self._written:
            return bytes(self._recent[at - self._written : at - self._written + size])
        found = os.pread(self._descriptor, min(size, self._written - at), at)
        return found if len(found) == size or not found else found + self.read(at + len(found), size - len(found))

    def _write(self) -> None:
        if self._descriptor < 0:
            with tempfile.TemporaryFile(buffering=0) as file:
                self._descriptor = os.dup(file.fileno())
            weakref.finalize(self, os.close, self._descriptor)
        left = memoryview(self._recent)
        while left:
            done = os.pwrite(self._descriptor, left, self._written)
            self._written += done
            left = left[done:]
        self._recent = bytearray()

    def __reduce__(self) -> tuple[type[Spool], tuple[bytes]]:
        return Spool, (self.read(0, len(self)),)
