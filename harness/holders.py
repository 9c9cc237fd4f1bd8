"""Who holds a FIFO: asked of the system, for a probe which opens one would be seen by everybody else who has it open."""

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
    found: list[Holder] = []
    for name in os.listdir("/proc") if os.path.isdir("/proc") else ():
        if name.isdigit() and (descriptors := _descriptors_of(name, (wanted.st_dev, wanted.st_ino))):
            found.append(Holder(int(name), descriptors, _system.command_line(int(name))))
    return sorted(found)


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
