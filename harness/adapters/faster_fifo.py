"""faster-fifo: a ring in shared memory, under one lock of the C library."""

from __future__ import annotations

import queue
from pathlib import Path
from typing import Any

import faster_fifo

from ..guarantees import Guarantees
from ._adapter import Adapter

# It has no call without a time-out.
_LONG_S = 86_400.0


class FasterFifoAdapter(Adapter):
    """``faster_fifo.Queue``, inherited by the peers.

    ring_bytes: how much the ring holds.
    """

    guarantees = Guarantees(gate=())

    def __init__(self, ring_bytes: int = 1_000_000) -> None:
        self._ring_bytes = ring_bytes

    def make(self, directory: Path) -> None:
        """Make the ring; its memory is the peers' too."""
        self._queue = faster_fifo.Queue(max_size_bytes=self._ring_bytes)

    def put(self, end: None, message: Any) -> None:
        """Put one message."""
        self._queue.put(message, timeout=_LONG_S)

    def get(self, end: None) -> Any:
        """Return one message."""
        while True:
            # A message that its buffer is too small for is asked for again, and may be another consumer's by then:
            # its users have to expect Empty from a get that waits.
            try:
                return self._queue.get(timeout=_LONG_S)
            except queue.Empty:
                continue

    def destroy(self) -> None:
        """Say that it is closed; its memory goes with the last process."""
        self._queue.close()
