"""A named-pipe queue from the shell: send, receive, and look without being seen."""

from __future__ import annotations

import fcntl
import os
import queue
import stat
import struct
import sys
import termios
import warnings
from pathlib import Path
from typing import Any

import click
from monkeywrench.harness import jsontext
from monkeywrench.harness.holders import holders
from monkeywrench.pipes import PipeQueueError, SimplePipeQueue, UndeliveredWarning

from .cli import refused, words

OK, FAILED = 0, 1


def put_message(path: Path, text: str, *, as_json: bool, timeout: float | None) -> int:
    """Put one message; if nobody else holds the FIFO, wait until it was taken. Return the exit status."""
    message: Any = text
    if as_json:
        try:
            message = jsontext.loads(text)
        except ValueError as error:
            raise click.UsageError(f"MESSAGE is not JSON: {error}") from None
    try:
        # That the message is gone is said below, in this command's own words.
        with warnings.catch_warnings(record=True) as lost:
            warnings.simplefilter("always", UndeliveredWarning)
            with SimplePipeQueue(path) as end:
                end.put(message, timeout)
                if all(holder.pid == os.getpid() for holder in holders(path)):
                    click.echo("Nobody else holds this FIFO; waiting until somebody takes the message.", err=True)
                    end.drain(timeout)
    except queue.Full:
        return _fail(f"{path} was full for {timeout:g} s; the message was not put")
    except TimeoutError:
        return _fail(f"nobody took the message for {timeout:g} s; it is gone, for a FIFO keeps nothing by itself")
    except (PipeQueueError, OSError, TypeError, ValueError) as error:
        return _fail(words(error))
    if lost:
        return _fail(f"who else held {path} has gone, and what was unread with it, for a FIFO keeps nothing by itself")
    return OK


def get_messages(path: Path, *, count: int, timeout: float | None) -> int:
    """Print so many messages, a line each. Return the exit status."""
    # A number of any size is a message, and one that is taken and cannot be printed is lost.
    sys.set_int_max_str_digits(0)
    try:
        with warnings.catch_warnings(), SimplePipeQueue(path) as end:
            warnings.simplefilter("always")
            warnings.showwarning = lambda message, *_: click.echo(f"Warning: {message}", err=True)
            for _ in range(count):
                _print(end.get(timeout))
    except queue.Empty:
        return _fail(f"no message in {path}" + (f" for {timeout:g} s" if timeout else ""))
    except (PipeQueueError, OSError) as error:
        return _fail(words(error))
    return OK


def _print(message: Any) -> None:
    try:
        click.echo(message if isinstance(message, str) else repr(message))
    except OSError as error:  # not the queue's
        raise refused(error) from None


def inspect_fifo(path: Path) -> int:
    """Print what can be known of a FIFO without disturbing anybody. Return the exit status."""
    try:
        status = path.lstat()
    except OSError as error:
        return _fail(f"{path}: {os.strerror(error.errno or 0)}")
    if not stat.S_ISFIFO(status.st_mode):
        return _fail(f"{path} is not a FIFO but a {_kind(status.st_mode)}")
    held_by = holders(path)
    click.echo(f"{path}: FIFO, mode {stat.S_IMODE(status.st_mode):04o}, user {status.st_uid}, inode {status.st_ino}")
    for holder in held_by:
        click.echo(f"  held by {holder.pid} ({holder.command})")
    if not held_by:
        click.echo("  stale: no process holds it, so nothing is in it")
    elif any(_reads(holder.pid, descriptor) for holder in held_by for descriptor in holder.descriptors):
        click.echo(f"  unread: {_unread(path)} bytes")
    else:
        click.echo("  unread: not known, for nobody reads it, and to look would be to open it")
    waiting = len(list(path.parent.glob(f".monkeywrench-{status.st_ino:016x}-*")))
    if waiting:
        click.echo(f"  long messages in files beside it: {waiting}")
    return OK


def _reads(pid: int, descriptor: int) -> bool:
    """Whether a holder has the FIFO open for reading, so that one more reader who comes and goes wakes nobody."""
    try:
        with open(f"/proc/{pid}/fdinfo/{descriptor}") as file:
            flags = next(int(line.split()[1], 8) for line in file if line.startswith("flags:"))
    except (OSError, StopIteration):
        return False
    return flags & os.O_ACCMODE in (os.O_RDONLY, os.O_RDWR)


def _unread(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        (count,) = struct.unpack("i", fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)))
        return int(count)
    finally:
        os.close(descriptor)


def _kind(mode: int) -> str:
    kinds = {
        stat.S_IFREG: "regular file",
        stat.S_IFDIR: "directory",
        stat.S_IFSOCK: "socket",
        stat.S_IFLNK: "symbolic link",
    }
    return kinds.get(stat.S_IFMT(mode), "device")


def _fail(message: str) -> int:
    click.echo(f"Error: {message}", err=True)
    return FAILED
