"""Queues that are each wrong in one way, on top of the right one; and the finding that each must get.

A checker which never saw a queue do what it looks for has shown nothing.
"""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter


class RightQueue(SimplePipeQueueAdapter):
    """Wrong in no way."""


class Counting(SimplePipeQueueAdapter):
    """Count the gets and puts of this peer, for those below."""

    def open(self, role: str) -> Any:
        self.gets = self.puts = 0
        return super().open(role)

    def put(self, end: Any, message: Any) -> None:
        self.puts += 1
        super().put(end, message)

    def get(self, end: Any) -> Any:
        self.gets += 1
        return super().get(end)


class DropsOnPut(Counting):
    """The fifth message of a producer never leaves it."""

    def put(self, end: Any, message: Any) -> None:
        if self.puts == 4:
            self.puts += 1
        else:
            super().put(end, message)


class DropsOnGet(Counting):
    """A message is taken and forgotten."""

    def get(self, end: Any) -> Any:
        if self.gets == 3:
            super().get(end)
        return super().get(end)


class DeliversTwice(Counting):
    """The fourth message of a consumer comes again."""

    def get(self, end: Any) -> Any:
        if self.gets == 4:
            self.gets += 1
            return self.last
        self.last = super().get(end)
        return self.last


class Invents(Counting):
    """A message comes that nobody put."""

    def get(self, end: Any) -> Any:
        if self.gets == 4:
            self.gets += 1
            return "nobody put me"
        return super().get(end)


class InventsNumber(Counting):
    """A message comes which looks right and was never put."""

    def get(self, end: Any) -> Any:
        got = super().get(end)
        return (got[0], got[1] + 1_000_000, got[2]) if self.gets == 5 else got


class Swaps(Counting):
    """Two messages of one producer change places, once."""

    def open(self, role: str) -> Any:
        self.held: list[Any] = []
        return super().open(role)

    def get(self, end: Any) -> Any:
        if self.held:
            return self.held.pop(0)
        got = super().get(end)
        if self.gets == 5:
            self.held = [got]
            while (later := super().get(end))[0] != got[0]:
                self.held.append(later)
            return later
        return got


class TuplesAsLists(Counting):
    """The container's type is lost, as in JSON."""

    def get(self, end: Any) -> Any:
        return list(super().get(end))


class FlipsOneByte(Counting):
    """One byte of one large message is wrong."""

    def get(self, end: Any) -> Any:
        producer, number, payload = super().get(end)
        if isinstance(payload, bytes) and len(payload) > 4000:
            payload = payload[:-1] + bytes([payload[-1] ^ 1])
        return producer, number, payload


class TrueForOne(Counting):
    """Booleans come out as numbers: equal, and not the same."""

    def get(self, end: Any) -> Any:
        producer, number, payload = super().get(end)
        return producer, number, int(payload) if isinstance(payload, bool) else payload


class RaisesOnGet(Counting):
    """A get fails for no reason."""

    def get(self, end: Any) -> Any:
        got = super().get(end)
        if self.gets == 5:
            raise RuntimeError("the queue is in a bad mood")
        return got


class ExitsOnPut(Counting):
    """A put ends its process."""

    def put(self, end: Any, message: Any) -> None:
        if self.puts == 5:
            os._exit(3)
        super().put(end, message)


class HangsOnGet(Counting):
    """A get waits for what never comes."""

    def get(self, end: Any) -> Any:
        if self.gets == 5:
            threading.Event().wait()
        return super().get(end)


class HangsOnClose(Counting):
    """Closing waits for what never comes."""

    def close(self, end: Any) -> None:
        super().close(end)
        threading.Event().wait()


class LeaksDescriptor(Counting):
    """Opening the queue opens one thing too many."""

    def open(self, role: str) -> Any:
        os.open("/dev/null", os.O_RDONLY)
        return super().open(role)


class LeaksThread(Counting):
    """Opening the queue starts a thread which nobody ends."""

    def open(self, role: str) -> Any:
        threading.Thread(target=threading.Event().wait, daemon=True, name="left-over").start()
        return super().open(role)


class LeaksProcess(Counting):
    """Opening the queue starts a process which nobody ends."""

    def open(self, role: str) -> Any:
        subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
        return super().open(role)


class LeaksFile(Counting):
    """A lock file is left beside the FIFO."""

    def make(self, directory: Path) -> None:
        super().make(directory)
        (directory / "queue.lock").touch()


class LeaksFifo(Counting):
    """The FIFO is not removed."""

    def destroy(self) -> None:
        super().destroy()
        os.mkfifo(self._path)


# Each with the kinds of findings that it may get, the first of which it must get.
BROKEN: dict[type[SimplePipeQueueAdapter], tuple[str, ...]] = {
    DropsOnPut: ("lost",),
    DropsOnGet: ("lost",),
    DeliversTwice: ("duplicated",),
    Invents: ("unexpected",),
    InventsNumber: ("unexpected", "corrupted", "lost"),
    Swaps: ("reordered",),
    TuplesAsLists: ("corrupted",),
    FlipsOneByte: ("corrupted",),
    TrueForOne: ("corrupted",),
    RaisesOnGet: ("crashed",),
    ExitsOnPut: ("crashed",),
    HangsOnGet: ("stuck",),
    HangsOnClose: ("stuck",),
    LeaksDescriptor: ("leaked",),
    LeaksThread: ("leaked",),
    LeaksProcess: ("leaked",),
    LeaksFile: ("leaked",),
    LeaksFifo: ("leaked",),
}
