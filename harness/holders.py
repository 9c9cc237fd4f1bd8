"""Who holds a FIFO: asked of the system, for a probe that opened it would be seen by everybody who has it open."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from . import _system


class Holder(NamedTuple):
    """A process with the FIFO open: by which of its descriptors, and what it calls itself."""

    pid: int
    descriptors: tuple[int, ...]
    command: str


def holders(path: Path) -> list[Holder]:
    """Return the processes which have this very FIFO open, by pid; those of other users only for root.

    Never opens it. Empty where the system has no /proc. Raises OSError if there is nothing at *path*.
    """
    wanted = os.lstat(path)
    identity = (wanted.st_dev, wanted.st_ino)
    pids = [name for name in os.listdir("/proc") if name.isdigit()] if os.path.isdir("/proc") else []
    found = {pid: descriptors for pid in pids if (descriptors := _descriptors_of(pid, identity))}
    return sorted(Holder(int(pid), held, _system.command_line(int(pid))) for pid, held in found.items())


def _descriptors_of(pid: str, identity: tuple[int, int]) -> tuple[int, ...]:
    directory = f"/proc/{pid}/fd"
    found: list[int] = []
    try:
        for name in os.listdir(directory):
            status = os.stat(f"{directory}/{name}")
            if (status.st_dev, status.st_ino) == identity:
                found.append(int(name))
    except (FileNotFoundError, PermissionError, ProcessLookupError):
        pass  # another user's, or gone while being looked at: what was seen counts
    return tuple(sorted(found))
