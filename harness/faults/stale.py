"""What a queue can find at its path before it was ever made, and the size of the pipe that it gets."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from .._errors import PlanError
from ..triggers import Start, Trigger
from ._fault import Fault, Scene, check_count
from .foreign import noise, write_into

QUEUE = "queue"
"""Whom these befall: nobody but the queue itself."""
TORN, TOO_LONG = "torn", "name too long"
_STALE_BYTES = 100
_CONTENT = b"somebody's file, and not the queue's\n"


def _fifo(path: Path) -> None:
    os.mkfifo(path, 0o600)


def _bytes(path: Path) -> int:
    _fifo(path)
    held = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    write_into(path, noise(0, _STALE_BYTES))
    return held


def _file(path: Path) -> None:
    path.write_bytes(_CONTENT)


def _directory(path: Path) -> None:
    path.mkdir()
    (path / "kept").write_bytes(_CONTENT)


def _socket(path: Path) -> None:
    os.mknod(path, 0o600 | stat.S_IFSOCK)  # as bind() makes it, but however long the path is


def _symlink(path: Path) -> None:
    target = path.with_name("target")
    target.write_bytes(_CONTENT)
    path.symlink_to(target)


def _dangling(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def _no_permission(path: Path) -> None:
    path.parent.chmod(0o500)


def _no_parent(path: Path) -> None:
    path.parent.rmdir()


# What may be there, each with what puts it there; which may return a descriptor to hold for the whole trial.
THINGS: dict[str, tuple[str, Callable[[Path], int | None]]] = {
    "fifo": ("a FIFO that a dead run left", _fifo),
    "bytes": ("a FIFO with stale bytes in it, held open by a stranger", _bytes),
    "file": ("a regular file", _file),
    "directory": ("a directory", _directory),
    "socket": ("a socket", _socket),
    "symlink": ("a symlink to a regular file", _symlink),
    "dangling": ("a dangling symlink", _dangling),
    TORN: ("a FIFO that a dead run left with half a message in it, held open by a stranger", _fifo),
    "no permission": ("a directory that may not be written to", _no_permission),
    "no parent": ("no directory", _no_parent),
    TOO_LONG: ("a path whose name is too long", lambda _path: None),
}
# Not a thing in the FIFO's place, but a place where there can be none.
PLACES = ("no permission", "no parent", TOO_LONG)
FOREIGN = ("bytes", TORN)


@dataclass(frozen=True, slots=True)
class Stale(Fault):
    """Something is at the FIFO's path before the queue is made, or that path is where nothing can be. The queue
    may use it, if it is a FIFO, or refuse it by an OSError; then it is taken away, and the trial goes on without. What
    is no FIFO must stay as it is.

    thing: one of ``THINGS``.
    """

    name: ClassVar[str] = "stale"
    needs_fifo: ClassVar[bool] = True

    thing: str
    peer: str = field(default=QUEUE, init=False, repr=False)
    at: Trigger = field(default=Start(), init=False, repr=False)

    def __post_init__(self) -> None:
        if self.thing not in THINGS:
            raise PlanError(f"thing={self.thing!r}: allowed are {', '.join(THINGS)}")

    def __str__(self) -> str:
        return f"{THINGS[self.thing][0]} in the queue's place"

    def plant(self, path: Path) -> int | None:
        """Put it there; return a descriptor to hold for the whole trial, or None."""
        return THINGS[self.thing][1](path)

    @property
    def posix(self) -> bool:  # type: ignore[override]
        """Stale bytes are foreign bytes, and so is half a message."""
        return self.thing not in FOREIGN

    @property
    def must_stay(self) -> bool:
        """Whether it belongs to somebody else: what is no FIFO is nothing that a queue may change."""
        return self.thing not in ("fifo", *FOREIGN, *PLACES)

    def place(self, directory: Path) -> Path:
        """Return the directory in which the queue is to be made, instead of *directory*."""
        return directory / ("x" * 300) if self.thing == TOO_LONG else directory


def looks_like(path: Path) -> Any:
    """Return what can be seen of a thing and of what it leads to, equal for as long as nobody has changed it."""
    seen: list[tuple[int, int, bytes | None] | None] = []
    for place in (path, path.with_name("target"), path.with_name("nowhere"), path / "kept"):
        try:
            status = os.lstat(place)
        except (FileNotFoundError, NotADirectoryError):
            seen.append(None)
            continue
        content = place.read_bytes() if stat.S_ISREG(status.st_mode) else None
        seen.append((status.st_ino, status.st_mode, content))
    return seen


@dataclass(frozen=True, slots=True)
class Shrink(Fault):
    """The pipe has so little room as soon as the queue is made (Linux, F_SETPIPE_SZ).

    size: in bytes; the system makes it a page at least.
    """

    name: ClassVar[str] = "shrink"
    needs_fifo: ClassVar[bool] = True

    size: int = 4096
    peer: str = field(default=QUEUE, init=False, repr=False)
    at: Trigger = field(default=Start(), init=False, repr=False)

    def __post_init__(self) -> None:
        check_count(1, 1 << 20, size=self.size)

    def __str__(self) -> str:
        return f"the pipe shrunk to {self.size} bytes"

    def strike(self, scene: Scene) -> None:
        """Set the size."""
        import fcntl

        assert scene.fifo is not None
        held = os.open(scene.fifo, os.O_RDWR | os.O_NONBLOCK)
        try:
            fcntl.fcntl(held, fcntl.F_SETPIPE_SZ, self.size)
        finally:
            os.close(held)
