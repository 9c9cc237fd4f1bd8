"""Where every thread of a process is, asked from outside: it may be blocked for good."""

from __future__ import annotations

import faulthandler
import os
import re
import signal
import time
import traceback
from pathlib import Path

from . import _nemesis, _system

_SIGNAL = int(getattr(signal, "SIGRTMAX", getattr(signal, "SIGUSR1", 0)))
_LONGEST_S = 2.0
# Of a text file, its end; and for how many bytes of JSON two of those are good, at twelve for a character at most.
MOST_CHARACTERS = 4000
MOST_BYTES = 2 * 12 * MOST_CHARACTERS


def hold() -> None:
    """Have those that are forked from here not end when they are asked too early, but answer once they can."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {_SIGNAL})


def tell(path: Path | str) -> None:
    """Have this process write its stacks to a new file at *path* when it is asked, whatever it is blocked in."""
    # A descriptor, which stays open, and no file object: every peer pays for this.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    faulthandler.register(_SIGNAL, file=descriptor, all_threads=True)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {_SIGNAL})


def of(pid: int, path: Path) -> list[list[dict[str, object]]]:
    """Return the stacks of a child that tells them at *path*: outermost frames first, the main thread last. Of one that
    has ended, is stopped, runs another program by now, or does not answer, there are none.
    """
    if not _system.awaits(pid, _SIGNAL):
        return []
    os.kill(pid, _SIGNAL)
    end = time.monotonic() + _LONGEST_S
    text = ""
    while time.monotonic() < end:
        time.sleep(0.02)  # nobody tells when the dump is whole: it is when it no longer grows, and not below a head
        now = tail(path)
        if now == text and now.rstrip().rpartition("\n")[2].startswith("  "):
            break
        text = now
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WSTOPPED | os.WNOHANG | os.WNOWAIT) is not None:
            break
    threads: list[list[dict[str, object]]] = []
    for line in text.splitlines():
        if "most recent call first" in line:
            threads.append([])
        elif threads and (found := re.match(r'  File "(.*)", line (\d+) in (.*)', line)):
            threads[-1].insert(0, _nemesis.place(found[1], int(found[2]), found[3]))
    return threads


def tail(path: Path) -> str:
    """Return the end of a text file, or an empty text if there is none."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - 4 * MOST_CHARACTERS))
            return file.read().decode(errors="replace").replace("\r\n", "\n")[-MOST_CHARACTERS:]
    except FileNotFoundError:
        return ""


def headline(error: BaseException) -> str:
    """Return an error in one line, without its notes, nor the errors of a group."""
    lines = "".join(traceback.format_exception_only(error)).splitlines()
    # Of a SyntaxError, the place comes first.
    return next((line for line in lines if line and not line.startswith(" ")), type(error).__name__)


def without_harness(error: BaseException) -> BaseException:
    """Return the error without the harness's own frames at the outer end of its traceback."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None and _nemesis.is_own(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return error.with_traceback(trace)
