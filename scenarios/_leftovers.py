"""What earlier runs have left behind: temporary directories whose owner is dead, and processes that outlived theirs.

A directory has its owner's pid in its name, and a process of the harness has it on its command line, with the directory
of temporary files that it uses. Everything else is somebody else's, whatever it is called.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from monkeywrench.harness import _system

_NAME = re.compile(r"monkeywrench-(\d+)-\w+")
_MAIN = b"monkeywrench.harness._ancestor"
# A process whose owner has just ended is about to end.
_GRACE_S = 1.0
_LOOK_S = 0.05


class Stray(NamedTuple):
    """A process of the harness that outlived the process which it worked for."""

    pid: int
    owner: int
    started: int


class Directory(NamedTuple):
    """A temporary directory whose owner is dead, and who has something in it open all the same.

    fifos: how many FIFOs are in it.
    users: living processes with something in it open, strays not counted.
    """

    path: Path
    owner: int
    fifos: int
    users: tuple[int, ...]


class Leftovers(NamedTuple):
    """What is there."""

    strays: list[Stray]
    directories: list[Directory]


def find() -> Leftovers:
    """Return what earlier runs of this user's have left behind. Opens and changes nothing."""
    end = time.monotonic() + _GRACE_S
    while (strays := list(_strays())) and time.monotonic() < end:
        if all(_system.stopped(stray.pid) for stray in strays):
            break  # no such one ends by itself
        time.sleep(_LOOK_S)
    return Leftovers(strays, list(_directories({stray.pid for stray in strays})))


def clean(leftovers: Leftovers) -> Leftovers:
    """End the strays, remove the directories that nobody uses, and return what is there then."""
    for stray in leftovers.strays:
        with contextlib.suppress(ProcessLookupError):
            _kill(stray)
    for directory in _directories(set()):
        if not directory.users:
            shutil.rmtree(directory.path, ignore_errors=True)
    return find()


def _strays() -> Iterator[Stray]:
    place = os.fsencode(tempfile.gettempdir())
    for pid in _pids():
        try:
            words = Path("/proc", str(pid), "cmdline").read_bytes().split(b"\0")
            mine = os.stat(f"/proc/{pid}").st_uid == os.getuid()
        except OSError:
            continue
        if not mine or len(words) < 8 or _MAIN not in words[3] or not words[6].isdigit() or words[7] != place:
            continue
        started = _started(pid)
        owner = int(words[6])
        if started is not None and not _owns(owner, started):
            yield Stray(pid, owner, started)


def _owns(owner: int, started: int) -> bool:
    """Whether the process with this pid can have started one that started then: it lives, and is not a later one."""
    owner_started = _started(owner)
    return owner_started is not None and owner_started <= started


def _directories(strays: set[int]) -> Iterator[Directory]:
    for entry in os.scandir(tempfile.gettempdir()):
        named = _NAME.fullmatch(entry.name)
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        if named is None or not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            continue
        owner = int(named[1])
        # Whoever has the pid now, and began after the directory was made, is not the one that made it.
        if _is_alive(owner) and not _began_after(owner, status.st_mtime):
            continue
        path = Path(entry.path).absolute()
        yield Directory(path, owner, _fifos(path), tuple(sorted(set(_users(path)) - strays)))


def _began_after(pid: int, when: float) -> bool:
    started = _started(pid)
    if started is None:
        return False
    now = time.clock_gettime(time.CLOCK_BOOTTIME)
    began = time.time() - (now - started / os.sysconf("SC_CLK_TCK"))
    return began > when + 1


def _fifos(directory: Path) -> int:
    found = 0
    for path in directory.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            found += stat.S_ISFIFO(path.lstat().st_mode)
    return found


def _users(directory: Path) -> Iterator[int]:
    """Yield the processes with something in the directory open, or that work in it."""
    for pid in _pids():
        links = [f"/proc/{pid}/cwd"]
        with contextlib.suppress(OSError):
            links += [f"/proc/{pid}/fd/{name}" for name in os.listdir(f"/proc/{pid}/fd")]
        for link in links:
            with contextlib.suppress(OSError):
                if f"{os.readlink(link)}/".startswith(f"{directory}/"):
                    yield pid
                    break


def _kill(stray: Stray) -> None:
    """End a stray, and wait until it has ended. Its pid is checked while it cannot become another's."""
    descriptor = os.pidfd_open(stray.pid)
    try:
        if _started(stray.pid) != stray.started:
            return
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        select.select([descriptor], [], [], _GRACE_S)
    finally:
        os.close(descriptor)


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()] if os.path.isdir("/proc") else []


def _is_alive(pid: int) -> bool:
    return _started(pid) is not None


def _started(pid: int) -> int | None:
    """Return when a living process started, in ticks since the system did; None if it is dead, or dead and unreaped."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])
