"""Reading where the system does not keep packets apart: the pipe is one stream of bytes.

Writes of a frame are still whole, and do not mix. A reader must take a frame's header and its payload in two
reads, so one reads at a time, under a lock on a file beside the FIFO. The kernel drops it when its holder
dies; what such a reader left of a frame is skipped by the next one, as foreign bytes are.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Final

from ._frames import Scanner

try:
    import fcntl
except ImportError:  # as in _fifo.py
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from ._fifo import Fifo

__all__ = ["receive"]

_LOCK_PATIENCE_S: Final = 0.05
_LOCK_PAUSE_S: Final = 0.0005
_MOST_NOISE: Final = 1 << 20


def receive(fifo: Fifo) -> bool:
    """Read the next frame into `fifo.buffer`, and those that begin behind foreign bytes; say whether bytes
    were read.

    Returns False as well when another consumer keeps reading for 50 ms.
    """
    # A signal handler that interrupts this function must not take the rest of a frame: to it there is none.
    if fifo.receiving or not _lock(fifo):
        return False
    fifo.receiving = True
    scanner = Scanner()
    received = 0
    try:
        while received < _MOST_NOISE or not scanner.idle:
            try:
                data = os.read(fifo.fd, scanner.wanted)
            except BlockingIOError:
                # Frames are written whole: a part with nothing behind it is foreign.
                scanner.finish()
                break
            if not data:
                break
            received += len(data)
            frames = scanner.feed(data)
            fifo.buffer.extend(frames)
            if fifo.buffer and scanner.idle:
                break
    finally:
        fifo.receiving = False
        fcntl.flock(fifo.read_lock, fcntl.LOCK_UN)
        fifo.skipped += scanner.skipped
    return received > 0


def _lock(fifo: Fifo) -> bool:
    deadline = time.monotonic() + _LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(fifo.read_lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOCK_PAUSE_S)
        else:
            return True
