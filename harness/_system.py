"""What the harness asks of the system and Python's ``os`` does not offer: prctl(2), and a look at /proc.

On a system without these, the functions do what they can and say so by what they return.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import signal
import sys
import threading
import time
from collections.abc import Container
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
# For threads that end by themselves once the queue is closed.
_GRACE_S = 0.5
# A default has to be there even where nobody is killed: this is imported on any system.
_SIGKILL = int(getattr(signal, "SIGKILL", 9))

# Loaded once, before anything forks.
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _prctl(option: int, value: int) -> bool:
    return _libc is not None and _libc.prctl(option, value, 0, 0, 0) == 0


def die_with_parent(parent: int, with_signal: int = _SIGKILL) -> None:
    """Have the kernel send this process a signal when its parent dies, prctl(2) PR_SET_PDEATHSIG.

    parent: the pid of who should be the parent; if it is gone already, the signal comes at once.
    """
    _prctl(_PR_SET_PDEATHSIG, with_signal)
    if os.getppid() != parent:
        os.kill(os.getpid(), with_signal)


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent dies, prctl(2) PR_SET_CHILD_SUBREAPER."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def give_up_privileges() -> None:
    """Give up what root may do and others may not, for good, capset(2); this process stays who it is."""
    if _libc is not None:
        version, this_process, nothing = 0x20080522, 0, (ctypes.c_uint32 * 6)()
        if _libc.capset((ctypes.c_uint32 * 2)(version, this_process), nothing) != 0:
            raise OSError(ctypes.get_errno(), "capset")


def interruptible() -> None:
    """Have SIGINT raise KeyboardInterrupt, as in any Python that was started from a shell."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


def redirect(path: Path | str) -> None:
    """Send this process's output, C code's included, to a file of its own."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)
    for text in (sys.stdout, sys.stderr):
        if isinstance(text, io.TextIOWrapper):
            text.reconfigure(line_buffering=True)  # what a process said before its SIGKILL was said


def flush() -> None:
    """Write out what this process has printed. A program may have closed these streams, or replaced them."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError, OSError):
            stream.flush()


def say(text: str) -> None:
    """Write to standard error what has to be told, whatever a program has made of ``sys.stderr``."""
    flush()
    with contextlib.suppress(OSError):  # it may have closed that as well, and there is nowhere else
        os.write(2, text.encode(errors="backslashreplace"))


def signal_name(number: int) -> str:
    """Return what a signal is called; of a real-time signal, which has no name of its own, the number."""
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def ended_by(code: int | None) -> str:
    """Return in words what ended a process: its exit status, or the signal of a negative number."""
    return signal_name(-code) if code is not None and code < 0 else f"exit status {code}"


def has_no_room(directory: Path) -> bool:
    """Whether the file system of a directory is full: who writes to a file in shared memory there ends by SIGBUS."""
    with contextlib.suppress(OSError, AttributeError):  # it is gone, or there is no such question
        return os.statvfs(directory).f_bavail == 0
    return False


def children() -> list[int]:
    """Return the pids of this process's children, adopted ones and zombies included; empty where /proc is missing."""
    found: list[int] = []
    try:
        for task in os.listdir("/proc/self/task"):
            with open(f"/proc/self/task/{task}/children") as file:
                found += map(int, file.read().split())
    except FileNotFoundError:
        pass
    return found


def command_line(pid: int) -> str:
    """Return what a process calls itself, or an empty text if it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def stopped(pid: int) -> bool:
    """Whether a process of one's own is stopped by a signal."""
    return _stat(pid)[:1] == ["T"]


def awaits(pid: int, number: int) -> bool:
    """Whether a process does not end by this signal: it handles it, or will before it lets it through."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            masks = [int(line.split()[1], 16) for line in file if line.startswith((b"SigBlk:", b"SigCgt:"))]
    except OSError:  # it is gone, or there is no /proc: who asks is none the wiser
        return True
    return any(mask >> (number - 1) & 1 for mask in masks)


def asleep(pid: int) -> str:
    """Return the processor time that a sleeping process has used, as text; empty if it does not sleep, or is gone."""
    fields = _stat(pid)
    return " ".join(fields[11:13]) if fields[:1] == ["S"] else ""


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on; none where there are none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The name before it may be of any bytes.
            return file.read().rpartition(b")")[2].decode().split()
    except OSError:
        return []


def descriptors(but: Container[int] = ()) -> dict[int, str]:
    """Return this process's open descriptors *but* some, each with what it refers to; none where /proc is missing."""
    found: dict[int, str] = {}
    for number in _listed():
        if number not in but:
            try:
                found[number] = os.readlink(f"/proc/self/fd/{number}")
            except OSError:  # the one that was open to list them
                continue
    return found


def count_descriptors() -> int:
    """Return how many descriptors this process has open; 0 where /proc is missing."""
    return max(len(_listed()) - 1, 0)  # but the one that was open to list them


def descriptors_of_library() -> set[int]:
    """Return the descriptors that the standard library keeps for this process, whoever makes it open them."""
    tracker = getattr(sys.modules.get("multiprocessing.resource_tracker"), "_resource_tracker", None)
    number = getattr(tracker, "_fd", None)  # getfd() would start it
    return set() if number is None else {number}


def lasting_threads() -> list[str]:
    """Return the names of the threads but the main one that do not end by themselves, for which there is a grace."""
    end = time.monotonic() + _GRACE_S
    others = [thread for thread in threading.enumerate() if thread is not threading.main_thread()]
    for thread in others:
        # One that C code has started cannot be joined.
        with contextlib.suppress(AssertionError, RuntimeError):
            thread.join(max(0, end - time.monotonic()))
    return [thread.name for thread in others if thread.is_alive()]


def _listed() -> list[int]:
    try:  # by a function that the gate does not see: this may be asked in the middle of a queue's work
        return [int(name) for name in os.listdir("/proc/self/fd")]
    except FileNotFoundError:
        return []
