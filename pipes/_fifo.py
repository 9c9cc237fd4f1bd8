"""The lifetime of one open FIFO: make, open, check, lock, wait on, close, remove.

Laws of this module:

- nothing about messages is known here but how many a `close()` leaves behind;
- whoever has the FIFO open holds a shared lock (`flock`) on it, which the kernel drops when the process dies.
  Who can get the exclusive lock is alone: only then are files of the dead swept, and unread messages counted;
- a failed try for the exclusive lock loses the shared one, so it is taken again, and after that the path is
  compared with what is open;
- every use of a descriptor's number happens under `lock`, or by one of `users`, for whom `close()` waits. So no
  number is used after it was closed, when it may be anybody's;
- descriptors come into being and are closed under `_fork_guard`, so that a fork's child knows all of them.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import math
import os
import select
import stat
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, Final

from . import _claims
from ._codec import batch_length
from ._errors import (
    NotAPipeError,
    PipeQueueError,
    QueueBusyError,
    QueueClosedError,
    UndeliveredWarning,
    UnsafePipeError,
    warn,
)
from ._frames import BATCH, Scanner, Skipped

try:
    import fcntl
    import termios
except ImportError:  # no POSIX system: a program that has no use for a queue there can import it all the same
    fcntl = termios = None  # type: ignore[assignment]

__all__ = ["EXISTING", "NEW", "REUSE", "Fifo", "closed_error", "no_fork"]

REUSE: Final = "reuse"
"""Open the FIFO at the path, or make it; leave it there at the end."""
NEW: Final = "new"
"""Make the FIFO, which must not be there yet; remove it at the end."""
EXISTING: Final = "existing"
"""Open the FIFO at the path, which must be there; leave it there at the end."""

DEFAULT_CAPACITY: Final = 1 << 20
LOCK_PATIENCE_S: Final = 10.0
_OPEN_ATTEMPTS: Final = 100
_SHORTEST_PAUSE_S: Final = 0.0005
_LONGEST_PAUSE_S: Final = 0.02
_LEAVE_PATIENCE_S: Final = 0.05

PORTABLE_VARIABLE: Final = "_MONKEYWRENCH_PIPES_PORTABLE"
"""Set in the environment, the features that only Linux has are not used. For the tests of this package."""

# An inherited descriptor would keep the parent's lock alive, and a number closed by half is worse: no fork
# meanwhile.
_fork_guard = threading.RLock()
_all_open: weakref.WeakSet[Fifo] = weakref.WeakSet()


class Use:
    """One use of descriptors outside the lock, by the thread that makes it."""

    __slots__ = ("thread",)

    def __init__(self) -> None:
        self.thread = threading.get_ident()


class Fifo:
    """One open FIFO. Made by `Fifo(...)`, which opens it."""

    def __init__(self, path: str, policy: str, capacity: int | None, mode: int) -> None:
        if not hasattr(os, "mkfifo"):
            raise PipeQueueError(f"no queue at {path!r}: named pipes need a POSIX system; this one is {sys.platform}")
        self.path = path
        self.mode = mode
        self.fd = -1
        self.directory = -1
        self.read_lock = -1
        self.inode = 0
        self.packets = False
        self.capacity = 0
        self.read_size = 0
        self.lock = threading.RLock()
        self.decoded: deque[Any] = deque()
        """Messages that were taken but not handed out yet. They come first."""
        self.buffer: deque[tuple[int, bytes]] = deque()
        """Frames that were read but not handed out yet, as (kind, payload)."""
        self.skipped: list[Skipped] = []
        """What was passed over and not reported yet."""
        self.unclaimed: set[str] = set()
        """Long messages' files whose claim is not in the pipe yet."""
        self.receiving = False
        """Whether a frame of a stream is being read."""
        self.closing = False
        """Whether `close()` was called."""
        self.abandoned = False
        """Whether this is a fork's copy of a parent's."""
        self._name = ""
        self._device = 0
        self._removes = False
        self.users: set[Use] = set()
        """Who uses descriptors outside the lock. See `enter`."""
        self._left = threading.Condition(self.lock)
        self._deferred = False
        self._releasing = False
        self._wake: tuple[int, ...] = ()
        self._idle_polls: dict[int, list[select.poll]] = {0: [], select.POLLIN: [], select.POLLOUT: []}
        with _fork_guard:
            _all_open.add(self)
        try:
            self._open(policy, capacity)
        except BaseException:
            self._close_descriptors()
            raise

    # -- opening ---------------------------------------------------------------------------------------------

    def _open(self, policy: str, capacity: int | None) -> None:
        head, self._name = os.path.split(self.path)
        if self._name in ("", ".", ".."):
            raise NotAPipeError(
                errno.EISDIR,
                "a FIFO's path must end in its name; this one names a directory",
                self.path,
            )
        # Before anybody waits: a queue that is open needs no further descriptor to wait, and makes the same calls
        # whether it ever does.
        self._make_wake()
        self._open_directory(head)
        for _ in range(_OPEN_ATTEMPTS):
            made: tuple[int, int] | None = None
            try:
                if self._make(policy):
                    made = self._made()
                if not self._open_fifo(made):
                    continue
                self._check()
                mine = made == (self._device, self.inode)
                if mine:
                    # Exactly the mode that was asked for, whatever the umask. Of nothing that took its place meanwhile.
                    os.fchmod(self.fd, self.mode)
                if mine or policy != NEW:
                    alone = self._lock()
                    if self._named():
                        self._configure(capacity, alone=alone, stranger=policy == EXISTING)
                        self._removes = policy == NEW
                        return
            except BaseException:
                if made is not None and policy == NEW:
                    self._device, self.inode = made
                    self._remove()
                raise
            # Somebody removed or replaced it meanwhile: what we opened is not what others will find.
            with _fork_guard:
                descriptor, self.fd = self.fd, -1
                os.close(descriptor)
        raise QueueBusyError(
            errno.EBUSY, f"the FIFO was replaced {_OPEN_ATTEMPTS} times while it was being opened", self.path
        )

    def _open_directory(self, head: str) -> None:
        flags = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            with _fork_guard:
                self.directory = os.open(head, flags)
        except FileNotFoundError as error:
            reason = f"no FIFO can be made here: the directory {head!r} does not exist; make it first"
            raise FileNotFoundError(error.errno, reason, self.path) from error
        except NotADirectoryError as error:
            reason = f"no FIFO can be made here: {head!r} is not a directory"
            raise NotADirectoryError(error.errno, reason, self.path) from error
        except PermissionError as error:
            reason = f"no permission to enter the directory {head!r}"
            raise PermissionError(error.errno, reason, self.path) from error
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise self._too_long(error) from error
            raise

    def _too_long(self, error: OSError) -> OSError:
        return OSError(error.errno, "the path, or a name in it, is too long for this file system", self.path)

    def _make(self, policy: str) -> bool:
        """Make the FIFO if `policy` says so; say whether it was made.

        Raises the clear errors for what is there.
        """
        status = self._status()
        if status is None:
            if policy == EXISTING:
                reason = "the FIFO is gone: the queue which made it was closed, or it was removed"
                raise FileNotFoundError(errno.ENOENT, reason, self.path)
            try:
                os.mkfifo(self._name, self.mode, dir_fd=self.directory)
            except FileExistsError:
                return self._make(policy) if policy == NEW else False
            except PermissionError as error:
                reason = "no permission to make a FIFO in this directory"
                raise PermissionError(error.errno, reason, self.path) from error
            return True
        if not stat.S_ISFIFO(status.st_mode):
            raise self._not_a_pipe(status.st_mode)
        if policy == NEW:
            reason = (
                "there is a FIFO already, and history=False wants a new one; "
                "remove it if nobody uses it, or open it with history=True"
            )
            raise FileExistsError(errno.EEXIST, reason, self.path)
        return False

    def _made(self) -> tuple[int, int] | None:
        """Return which FIFO was just made, or None if something else is there already."""
        status = self._status()
        if status is None or not stat.S_ISFIFO(status.st_mode) or status.st_uid != os.geteuid():
            return None
        return status.st_dev, status.st_ino

    def _status(self) -> os.stat_result | None:
        try:
            return os.stat(self._name, dir_fd=self.directory, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except PermissionError as error:
            reason = "no permission to enter the directory"
            raise PermissionError(error.errno, reason, self.path) from error
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise self._too_long(error) from error
            raise

    def _not_a_pipe(self, mode: int) -> OSError:
        kind = next((word for is_kind, word in _KINDS if is_kind(mode)), "something else")
        if stat.S_ISLNK(mode):
            try:
                target = os.readlink(self._name, dir_fd=self.directory)
                os.stat(self._name, dir_fd=self.directory)
                kind += f" to {target!r}; give the path that it leads to"
            except OSError:
                kind = f"a dangling {kind.removeprefix('a ')}"
        return NotAPipeError(errno.EEXIST, f"no FIFO, but {kind}; it was left as it is", self.path)

    def _open_fifo(self, made: tuple[int, int] | None) -> bool:
        """Open the FIFO; say whether it was there.

        Never waits, never follows a link, never changes what it opens, unless it was `made` under a umask that keeps
        its owner out.
        """
        flags = os.O_RDWR | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with _fork_guard:
                self.fd = os.open(self._name, flags, dir_fd=self.directory)
        except FileNotFoundError:
            return False
        except PermissionError as error:
            if made is not None and hasattr(os, "O_PATH"):
                self._let_owner_in(made)
                return self._open_fifo(None)
            reason = "no permission to read and write the FIFO"
            raise PermissionError(error.errno, reason, self.path) from error
        except OSError as error:
            status = self._status()
            if status is not None and not stat.S_ISFIFO(status.st_mode):
                raise self._not_a_pipe(status.st_mode) from error
            raise
        return True

    def _let_owner_in(self, made: tuple[int, int]) -> None:
        """Set the mode of the FIFO that was made, where the system has a way to do it without opening it.

        Through a descriptor that is asked first what it is: the path may name something else by now.
        """
        # Gone meanwhile, or there is no /proc: who opens it again is told.
        with contextlib.suppress(FileNotFoundError):
            with _fork_guard:
                descriptor = os.open(self._name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.directory)
            try:
                status = os.fstat(descriptor)
                if (status.st_dev, status.st_ino) == made and status.st_uid == os.geteuid():
                    os.chmod(f"/proc/self/fd/{descriptor}", self.mode)
            finally:
                os.close(descriptor)

    def _check(self) -> None:
        """Check what was opened, on the descriptor: the path may name something else by now."""
        status = os.fstat(self.fd)
        if not stat.S_ISFIFO(status.st_mode):
            raise self._not_a_pipe(status.st_mode)
        if status.st_uid != os.geteuid():
            raise UnsafePipeError(
                errno.EPERM,
                f"the FIFO belongs to user {status.st_uid}, and this is user {os.geteuid()}",
                self.path,
            )
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o022 & ~self.mode:
            raise UnsafePipeError(
                errno.EPERM,
                f"others may write to the FIFO: its mode is {mode:#o}, and mode={self.mode:#o} was given; "
                "change its mode, or say mode= if they are meant to",
                self.path,
            )
        self._device, self.inode = status.st_dev, status.st_ino

    def _lock(self) -> bool:
        """Take the shared lock; say whether nobody else had one. If so, and the pipe is empty, sweep."""
        self._share()
        alone = self._exclude()
        if alone and not self.unread:
            _claims.sweep(self.directory, self.inode)
        self._share()
        return alone

    def _share(self) -> None:
        deadline = time.monotonic() + LOCK_PATIENCE_S
        pause = _SHORTEST_PAUSE_S
        while True:
            try:
                fcntl.flock(self.fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise QueueBusyError(
                        errno.EBUSY,
                        f"another process kept the FIFO locked for {LOCK_PATIENCE_S:g} s; "
                        "is one stopped while it opens or closes?",
                        self.path,
                    ) from None
                time.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            else:
                return

    def _exclude(self) -> bool:
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _named(self) -> bool:
        """Whether the path still names what is open here."""
        status = self._status()
        return status is not None and (status.st_dev, status.st_ino) == (self._device, self.inode)

    def _configure(self, capacity: int | None, *, alone: bool, stranger: bool) -> None:
        self.packets = not portable() and _packets_work()
        if self.packets:
            fcntl.fcntl(self.fd, fcntl.F_SETFL, os.O_NONBLOCK | _O_DIRECT)
        else:
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
            name = f"{_claims.PREFIX}{self.inode:016x}-lock"
            with _fork_guard:
                self.read_lock = os.open(name, flags, self.mode, dir_fd=self.directory)
        # Who comes first makes the pipe as deep as it should be. Who comes later leaves it so, unless asked
        # otherwise.
        if capacity is not None and (alone or not stranger):
            self._resize(capacity)
        elif alone:
            self._resize(max(DEFAULT_CAPACITY, self._size()))
        self.capacity = self._size()
        # A read shorter than the pipe could cut off the tail of a packet that comes behind foreign bytes, and
        # the pipe may grow later.
        self.read_size = max(self.capacity, DEFAULT_CAPACITY)

    def _resize(self, wanted: int) -> None:
        """Set the pipe's size to `wanted` bytes, or to the nearest that the system allows."""
        if _SET_SIZE is None or portable():
            return
        while wanted != self._size():
            try:
                fcntl.fcntl(self.fd, _SET_SIZE, wanted)
            except OSError:
                # Over the system's limit, or over this user's quota; or too small for what is in it.
                wanted //= 2
                if wanted <= self._size():
                    return
            else:
                return

    def _size(self) -> int:
        if _GET_SIZE is None:
            return _PORTABLE_CAPACITY
        return fcntl.fcntl(self.fd, _GET_SIZE)

    # -- while it is open ------------------------------------------------------------------------------------

    @property
    def unread(self) -> int:
        """The number of bytes in the pipe."""
        count = bytearray(4)
        fcntl.ioctl(self.fd, termios.FIONREAD, count)
        return int.from_bytes(count, sys.byteorder)

    @property
    def writable(self) -> bool:
        """Whether a frame of any length can be written now."""
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        return bool(poll.poll(0))

    def closed_error(self) -> QueueClosedError:
        """Return the error for an operation on this FIFO after `close()`."""
        return closed_error(self.path)

    def enter(self, use: Use) -> None:
        """Begin to use descriptors outside the lock. Raises `QueueClosedError` once `close()` was called.

        A signal's handler may raise anywhere, also where a function of Python's begins. So whoever calls this ends the
        use in a `finally`, with `users.discard(use)` before anything else, and then with `left()`.
        """
        with self.lock:
            if self.closing or self.fd < 0:
                raise self.closed_error()
            self.users.add(use)

    def left(self) -> None:
        """Let `close()` go on, if it waits: a use has ended."""
        if self.closing:
            with self.lock:
                self._left.notify_all()
                if self._deferred and not self.users:
                    self._release()

    def wait(self, event: int, deadline: float | None) -> bool:
        """Wait until the pipe is readable (`select.POLLIN`) or writable (`POLLOUT`); say whether it is.

        Returns False at `deadline` (on the monotonic clock), and after it whatever the pipe is: somebody else
        may take each message that made it readable. Raises `QueueClosedError` when `close()` is called.
        """
        if deadline is not None and time.monotonic() >= deadline:
            return False
        use = Use()
        try:
            self.enter(use)
            with self.lock:
                poll = self._idle_polls[event].pop() if self._idle_polls[event] else self._make_poll(event)
            while True:
                left = math.inf if deadline is None else max(0.0, deadline - time.monotonic())
                # Rounded up, so that a wait does not end just before its deadline and try again many times.
                ready = poll.poll(math.ceil(min(left, _LONGEST_POLL_S) * 1000))
                if ready or left <= _LONGEST_POLL_S:
                    break
            if self.closing:
                raise self.closed_error()
            self._idle_polls[event].append(poll)
            return bool(ready)
        finally:
            self.users.discard(use)
            self.left()

    def _make_poll(self, event: int) -> select.poll:
        """Return what waits for `event` (0 for none) and for `close()`. One thread at a time may use it."""
        poll = select.poll()
        poll.register(self._wake[0], select.POLLIN)
        if event:
            poll.register(self.fd, event)
        return poll

    def _make_wake(self) -> None:
        with _fork_guard:
            if hasattr(os, "eventfd") and not portable():
                self._wake = (os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK),)
            else:
                self._wake = os.pipe()

    # -- closing ---------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Wake who waits, wait until they have left, then let go of everything. Again: nothing happens.

        Called inside a wait (by a signal handler), it lets the wait itself do the rest.
        """
        me = threading.get_ident()
        with self.lock:
            if self.fd < 0 or self._releasing:
                return
            self.closing = True
            if self.users:
                # An eventfd is one descriptor, a pipe two; nobody reads either, so it stays readable.
                os.write(self._wake[-1], (1).to_bytes(8, sys.byteorder))
            # Of a copy: who leaves waits for no lock.
            while self.fd >= 0 and any(user.thread != me for user in tuple(self.users)):
                # Who left without a word was interrupted by a signal's handler in the middle of leaving.
                self._left.wait(_LEAVE_PATIENCE_S)
            if self.users:
                self._deferred = True
            else:
                self._release()

    def close_at_exit(self) -> None:
        """Let go of everything without waiting for anybody: what other threads still use, the kernel closes."""
        with self.lock:
            if self.fd >= 0 and not self._releasing:
                self._release()

    def _release(self) -> None:
        if self.fd < 0 or self._releasing:
            return
        unread = len(self.decoded) + messages_in(self.buffer)
        alone = False
        try:
            self._releasing = True
            alone = self._exclude()
            if alone:
                unread += self._discard()
                _claims.sweep(self.directory, self.inode)
            for name in self.unclaimed:
                _claims.remove(self.directory, name)
            if self._removes:
                self._remove()
        finally:
            self.decoded.clear()
            self.buffer.clear()
            self.unclaimed.clear()
            if not self.users:
                self._close_descriptors()
            self._releasing = False
        if unread:
            # Last of all: where warnings are errors this raises, and everything is done.
            what = "1 message was" if unread == 1 else f"{unread} messages were"
            who = "its last holder closed it" if alone else "this consumer, which had taken them from it, closed it"
            warn(UndeliveredWarning(f"{what} still unread in {self.path!r} when {who}", unread))

    def _discard(self) -> int:
        """Read what is in the pipe, and return how many messages it was. Only for who is alone."""
        left, count = self.unread, 0
        scanner = Scanner()
        # No more than there is now: a foreign writer could keep us for ever.
        while left > 0:
            try:
                data = os.read(self.fd, self.read_size)
            except BlockingIOError:
                break
            if not data:
                break
            left -= len(data)
            count += messages_in(scanner.feed(data))
            if self.packets:
                scanner.finish()
        return count

    def _remove(self) -> None:
        """Remove the FIFO, if the path still names the one that is open here."""
        if self._named():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._name, dir_fd=self.directory)

    def _close_descriptors(self) -> None:
        with _fork_guard:
            descriptors = (self.fd, self.directory, self.read_lock, *self._wake)
            self.fd = self.directory = self.read_lock = -1
            self._wake = ()
            self._idle_polls = {event: [] for event in self._idle_polls}
            _all_open.discard(self)
            # All of them, though one should fail: its error is raised when the others are closed.
            with contextlib.ExitStack() as closing:
                for descriptor in descriptors:
                    if descriptor >= 0:
                        closing.callback(os.close, descriptor)

    def abandon(self) -> None:
        """In a fork's child: close the inherited descriptors, and touch nothing that is the parent's."""
        self.abandoned = True
        self.lock = threading.RLock()
        self._left = threading.Condition(self.lock)
        self.users.clear()
        self.decoded.clear()
        self.buffer.clear()
        self.skipped.clear()
        self.unclaimed.clear()
        self._close_descriptors()


def messages_in(frames: Iterable[tuple[int, bytes]]) -> int:
    """Return how many messages there are in these frames, given as (kind, payload)."""
    return sum(batch_length(payload) if kind == BATCH else 1 for kind, payload in frames)


def closed_error(path: str) -> QueueClosedError:
    """Return the error for an operation on a closed queue."""
    return QueueClosedError(f"the queue on {path!r} is closed; nothing was put or taken; make a new one")


# -- the system ----------------------------------------------------------------------------------------------

_KINDS: Final = (
    (stat.S_ISREG, "a regular file"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_O_DIRECT: Final[int] = getattr(os, "O_DIRECT", 0)
_SET_SIZE: Final[int | None] = getattr(fcntl, "F_SETPIPE_SZ", None)
_GET_SIZE: Final[int | None] = getattr(fcntl, "F_GETPIPE_SZ", None)
_PORTABLE_CAPACITY: Final = 65536
_LONGEST_POLL_S: Final = 1e6


def portable() -> bool:
    """Whether the features that only Linux has are switched off."""
    return PORTABLE_VARIABLE in os.environ


@functools.cache
def _packets_work() -> bool:
    """Whether this system keeps a pipe's packets apart. Found out once, on a pipe of our own."""
    if not _O_DIRECT:
        return False
    # A read that asks for the whole pipe allocates as much, and gives back all but a little. With glibc that
    # takes 15 times as long as the read itself, until one block of such a size was freed.
    _ = bytes(4 * DEFAULT_CAPACITY)
    reader, writer = os.pipe()
    try:
        fcntl.fcntl(writer, fcntl.F_SETFL, os.O_NONBLOCK | _O_DIRECT)
        os.write(writer, b"a")
        os.write(writer, b"b")
        return os.read(reader, 2) == b"a"
    except OSError:
        return False
    finally:
        os.close(reader)
        os.close(writer)


@contextlib.contextmanager
def no_fork() -> Iterator[None]:
    """Keep other threads from forking for as long as the context lasts."""
    with _fork_guard:
        yield


def _before_fork() -> None:
    _fork_guard.acquire()


def _after_fork_in_parent() -> None:
    _fork_guard.release()


def _after_fork_in_child() -> None:
    global _fork_guard
    _fork_guard = threading.RLock()
    for fifo in list(_all_open):
        fifo.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
