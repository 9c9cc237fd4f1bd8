"""Strangers at the FIFO: who writes what is no message, and who moves it away while it is in use."""

from __future__ import annotations

import errno
import os
import random
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from .._errors import PlanError
from ..triggers import Start, Trigger
from ._fault import Fault, Scene, check_count

MOST_BYTES = 1 << 16
# The directory into which a FIFO is taken away: there while everybody has the queue open, and under its second name as
# soon as somebody new may open it. Each step of who takes it away goes through the first name, so that none of them
# comes after the renaming, wherever the peer was, or died.
_ARMED, _LIFTED = "remove.armed", "remove.lifted"
_TAKEN, _GONE, _NEW = "taken.fifo", "gone.fifo", "new.fifo"


def noise(seed: int, size: int) -> bytes:
    """Return *size* bytes that are no message, the same for the same seed."""
    return random.Random(seed).randbytes(size)


def write_into(fifo: Path, data: bytes) -> int:
    """Write into a FIFO as whoever knows nothing of the queue would; return for how many bytes there was room."""
    try:
        descriptor = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ENXIO, errno.ENOENT, errno.EMFILE):
            return 0  # nobody reads; or another fault has taken the FIFO away, or left no descriptor
        raise
    try:
        return os.write(descriptor, data)
    except BlockingIOError:
        return 0
    finally:
        os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Foreign(Fault):
    """Write bytes that are no message into the FIFO, where the peer is: between its messages, or inside one.

    size: how many bytes.
    seed: draws them.
    """

    name: ClassVar[str] = "foreign"
    needs_fifo: ClassVar[bool] = True
    posix: ClassVar[bool] = False

    peer: str
    at: Trigger
    size: int = 64
    seed: int = 0

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        check_count(1, MOST_BYTES, size=self.size)
        check_count(0, 2**63 - 1, seed=self.seed)

    def __str__(self) -> str:
        return f"{self.size} foreign bytes in the FIFO, {self.peer} {self.at}"

    def strike(self, scene: Scene) -> None:
        """Write them, as far as there is room."""
        assert scene.fifo is not None
        write_into(scene.fifo, noise(self.seed, self.size))


@dataclass(frozen=True, slots=True)
class Remove(Fault):
    """Take the FIFO away from its path while it is in use, or put a new one in its place.

    Who has it open has it still. It is put back before anybody else opens the queue: a replacement, or the heal.

    replace_it: whether another FIFO takes its place.
    """

    name: ClassVar[str] = "remove"
    needs_fifo: ClassVar[bool] = True
    turn: ClassVar[int] = 1  # a stranger finds the FIFO by its path

    peer: str
    at: Trigger
    replace_it: bool = False

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if isinstance(self.at, Start):
            raise PlanError(f"{self}: who opens the queue then finds none, or makes its own; use messages(n)")

    def __str__(self) -> str:
        what = "replaced by a new one" if self.replace_it else "removed"
        return f"the FIFO {what}, {self.peer} {self.at}"

    def too_late(self, scene: Scene) -> str | None:
        if (scene.aside / _ARMED).exists():
            return None
        late = (scene.aside / _LIFTED).exists()
        return "a newcomer was about to open the queue" if late else "not everybody had opened the queue yet"

    def prepare(self, scene: Scene) -> None:
        """Make the directory that it is taken into, and what replaces it."""
        armed = scene.aside / _ARMED
        armed.mkdir(exist_ok=True)
        if self.replace_it and not (armed / _NEW).exists():
            os.mkfifo(armed / _NEW, 0o600)

    def strike(self, scene: Scene) -> None:
        """Rename it, which whoever looks for it cannot tell from its removal."""
        assert scene.fifo is not None
        armed = scene.aside / _ARMED
        try:
            os.link(scene.fifo, armed / _TAKEN)
            if self.replace_it:
                os.rename(armed / _NEW, scene.fifo)
            else:
                os.rename(scene.fifo, armed / _GONE)
        except (FileExistsError, FileNotFoundError):
            return  # another such fault was here before, or it was lifted at this moment

    def lift(self, scene: Scene) -> None:
        """Put the first one back, over what is there now; and nobody takes it away any more."""
        assert scene.fifo is not None
        lifted = scene.aside / _LIFTED
        try:
            os.rename(scene.aside / _ARMED, lifted)
        except FileNotFoundError:
            return
        if (lifted / _TAKEN).exists():
            os.rename(lifted / _TAKEN, scene.fifo)
