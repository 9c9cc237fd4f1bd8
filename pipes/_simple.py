"""`SimplePipeQueue`: blocking calls for processes and threads."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import queue
import select
import sys
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, ClassVar, Final, NoReturn, Self

from . import _claims, _stream
from ._codec import decode, decode_batch, encode, encode_batch, short_run
from ._errors import ForeignBytesWarning, QueueBusyError, QueueClosedError, UndecodableError, shown, warn
from ._fifo import EXISTING, NEW, REUSE, Fifo, Use, closed_error, no_fork
from ._frames import (
    BATCH,
    CLAIM,
    MAX_FRAME,
    MAX_PAYLOAD,
    MESSAGE,
    Skipped,
    encode_frame,
    message_frame,
    split,
    whole_message,
)

__all__ = ["SimplePipeQueue"]

NOTHING: Final = object()
"""What is taken when there is no message. Not None, which is one."""
# A batch goes to one consumer, however short its messages are.
_MOST_IN_BATCH: Final = 256
SHORTEST_PAUSE_S: Final = 0.001
LONGEST_PAUSE_S: Final = 0.02
FULL_PAUSE_S: Final = 0.0001
# No kernel cuts a write this short. If something between here and the kernel does, this often in a row, give
# up.
_WRITE_ATTEMPTS: Final = 100


# How often a get looks again before it goes to sleep. To fall asleep and be woken takes longer than ten looks, and the
# producer pays its part of it; with a single processor there is nobody to look out for.
_SPINS: Final = 10 if (os.cpu_count() or 1) > 1 else 0


class SimplePipeQueue:
    """A queue of messages between processes over a POSIX named pipe (FIFO), with blocking calls.

    `path` is where the FIFO is. With `history=True` a FIFO which already exists is used, and none is removed
    at the end; with `history=False` an existing one raises `FileExistsError`, and the FIFO is removed by
    `close()` in the process that made it. `capacity` is the pipe's size in bytes: 1 MiB unless given, or the
    most that the system allows; the attribute `capacity` tells. `mode` is the FIFO's permissions, whatever
    the umask.

    The FIFO is opened by `pipequeue()`, by entering the context, or at the first use. Every thread may use a
    queue. In a fork's child, and where it was unpickled, a queue opens for itself at its first use, and never
    removes the FIFO.

    A message is a `str`, `bytes`, `int`, `float`, `complex`, `bool`, `None`, or a `tuple`, `list`, `dict`,
    `set` or `frozenset` of these, nested as you like. It comes out with the value and the types it went in
    with.
    """

    _Empty: ClassVar[type[Exception]] = queue.Empty
    _Full: ClassVar[type[Exception]] = queue.Full

    def __init__(
        self,
        path: str | os.PathLike[str],
        history: bool = True,
        *,
        capacity: int | None = None,
        mode: int = 0o600,
    ) -> None:
        self._path = _checked_path(path)
        self._capacity = _checked_capacity(capacity)
        self._mode = _checked_mode(mode)
        self._history = bool(history)
        # A copy, in a fork's child or unpickled, neither makes nor removes a FIFO that should be new.
        self._copied = False
        self._fifo: Fifo | None = None
        self._closed = False
        self._opening = threading.RLock()
        self._making = False
        """Whether a FIFO that should be new is being made."""
        self._claim_prefix = b""
        self._claim_numbers: Iterator[int] = itertools.count()
        self._finalizers: list[Any] = []
        with no_fork():
            _all_queues.add(self)

    @classmethod
    def pipequeue(cls, *args: Any, **kwargs: Any) -> Self:
        """Make a queue and open it. The arguments are the class's own; the errors are those of opening."""
        self = cls(*args, **kwargs)
        self._opened()
        return self

    # -- lifetime --------------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        if self._closed:
            # Used once more.
            self._fifo, self._closed = None, False
        self._opened()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the queue; do nothing if it is closed.

        This process's own waiters get a `QueueClosedError`, and are waited for. With `history=False` the
        process that made the FIFO removes it, unless the path names another one by now. Issues an
        `UndeliveredWarning` when messages are lost by it: unread ones when this is the last holder, and those
        that this consumer had read but not handed out. A queue which nobody closed is closed when it is
        collected, or when the interpreter exits.
        """
        self._closed = True
        fifo = self._fifo
        if fifo is not None:
            try:
                fifo.close()
            finally:
                if fifo.fd < 0:  # who is interrupted before leaves that to the interpreter's exit
                    self._forget_finalizers()

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (type(self), self._path, self._history, self._capacity, self._mode)

    def __repr__(self) -> str:
        state = "closed" if self._closed else "not open" if self._fifo is None or self._fifo.fd < 0 else "open"
        return f"<{type(self).__name__} {self._path!r} ({state})>"

    def _opened(self) -> Fifo:
        """Return the open FIFO, opening it first if this is the first use.

        Raises `QueueClosedError` after `close()`.
        """
        fifo = self._fifo
        if fifo is not None and fifo.fd >= 0:
            return fifo
        with self._opening:
            fifo = self._fifo
            if fifo is not None and fifo.fd >= 0:
                return fifo
            if self._closed or fifo is not None:
                raise closed_error(self._path)
            policy = REUSE if self._history else EXISTING if self._copied else NEW
            if self._making:
                raise QueueBusyError(
                    errno.EBUSY,
                    "the queue is being opened by what this signal handler interrupts, which makes the FIFO; "
                    "nothing was put or taken",
                    self._path,
                )
            self._forget_finalizers()
            self._claim_prefix = os.urandom(8)
            self._claim_numbers = itertools.count()
            try:
                self._making = policy == NEW
                opened = Fifo(self._path, policy, self._capacity, self._mode)
            finally:
                self._making = False
            self._finalizers.append(weakref.finalize(self, opened.close_at_exit))
            # A child of multiprocessing runs these, and on Python 3.11 neither atexit nor weakref.finalize.
            util = sys.modules.get("multiprocessing.util")
            if util is not None:
                self._finalizers.append(util.Finalize(self, opened.close_at_exit, exitpriority=0))
            # A signal's handler that used the queue meanwhile has opened it. None comes between these two lines.
            if self._fifo is None:
                self._fifo = opened
            else:
                opened.close()
            fifo = self._fifo
            self._let_go_if_closed(fifo)
        return fifo

    def _let_go_if_closed(self, fifo: Fifo) -> None:
        """Close what was opened while another thread's `close()` found nothing to close yet."""
        if self._closed:
            fifo.close()
            self._forget_finalizers()
            raise closed_error(self._path)

    def _forget_finalizers(self) -> None:
        finalizers, self._finalizers = self._finalizers, []
        for finalizer in finalizers:
            (finalizer.detach if isinstance(finalizer, weakref.finalize) else finalizer.cancel)()

    def _forked(self) -> None:
        """In a fork's child: become a copy, which opens for itself at its first use."""
        self._copied = True
        self._opening = threading.RLock()
        self._making = False
        if self._fifo is not None and self._fifo.abandoned:
            self._fifo = None

    def _failed(self, fifo: Fifo, error: OSError) -> NoReturn:
        """Raise what a failed read or write means: the queue is closed, or the error itself."""
        if fifo.fd < 0:
            raise fifo.closed_error() from None
        raise error

    # -- what can be asked -----------------------------------------------------------------------------------

    @property
    def path(self) -> str:
        """The FIFO's absolute path."""
        return self._path

    @property
    def capacity(self) -> int:
        """The pipe's size in bytes.

        On Linux each message takes a page of 4096 bytes of it, whatever its length.
        """
        return self._opened().capacity

    @property
    def unread(self) -> int:
        """How many bytes are unread: in the pipe, and read by this consumer but not handed out. 0 means none.

        A message over 4 KiB counts with the few bytes of its claim.
        """
        fifo = self._opened()
        with fifo.lock:
            if fifo.fd < 0:
                raise fifo.closed_error()
            return len(fifo.decoded) + sum(len(payload) for _, payload in list(fifo.buffer)) + fifo.unread

    def empty(self) -> bool:
        """Say whether nothing is unread, neither in the pipe nor read by this consumer but not handed out."""
        return self.unread == 0

    def full(self) -> bool:
        """Say whether the pipe has no room: `put_nowait` would raise `queue.Full`."""
        fifo = self._opened()
        with fifo.lock:
            if fifo.fd < 0:
                raise fifo.closed_error()
            return not fifo.writable

    @property
    def _in(self) -> int | None:
        """The descriptor that is read, or None when the queue is not open."""
        fifo = self._fifo
        return None if fifo is None or fifo.fd < 0 else fifo.fd

    _out = _in

    # -- put -------------------------------------------------------------------------------------------------

    def put_nowait(self, msg: object) -> None:
        """Put a message, without waiting. Raises `queue.Full` when it does not fit now: nothing of it was
        put.

        Raises `TypeError` for a value that is none of the allowed types, naming its place;
        `MessageTooLargeError` and `MessageTooDeepError` beyond the limits; `OSError` when a message over 4
        KiB cannot be written to a file beside the FIFO. In each case nothing was put.
        """
        body = encode(msg)
        fifo = self._fifo
        if fifo is None:
            fifo = self._opened()
        frame = message_frame(body)
        if frame is None:
            self._put_long(fifo, body, 0.0)
        elif not self._send(fifo, frame):
            self._raise_full(fifo)

    def put(self, msg: object, timeout: float | None = None) -> None:
        """Put a message, waiting for room up to `timeout` seconds, or as long as it takes.

        Raises `queue.Full` when the time is up, and otherwise as `put_nowait`: in each case nothing was put.
        """
        if timeout is not None:
            checked_timeout(timeout)
        body = encode(msg)
        fifo = self._fifo
        if fifo is None:
            fifo = self._opened()
        frame = message_frame(body)
        if frame is None:
            self._put_long(fifo, body, timeout)
            return
        # As `_send`, spelled out: a call is felt here.
        try:
            with fifo.lock:
                if os.write(fifo.fd, frame) != len(frame):
                    self._send_again(fifo, frame)
        except BlockingIOError:
            self._send_waiting(fifo, frame, deadline_after(timeout))
        except OSError as error:
            self._failed(fifo, error)

    def _send(self, fifo: Fifo, frame: bytes) -> bool:
        """Write one packet; say whether it fitted."""
        try:
            with fifo.lock:
                written = os.write(fifo.fd, frame)
                if written != len(frame):
                    self._send_again(fifo, frame)
        except BlockingIOError:
            return False
        except OSError as error:
            self._failed(fifo, error)
        return True

    def _send_again(self, fifo: Fifo, frame: bytes) -> None:
        """Write a packet that was cut off once more as a whole: readers skip the piece."""
        for _ in range(_WRITE_ATTEMPTS):
            if os.write(fifo.fd, frame) == len(frame):
                return
        raise OSError(f"writes of {len(frame)} bytes to {self._path!r} are cut off again and again")

    def _send_waiting(self, fifo: Fifo, frame: bytes, deadline: float | None) -> None:
        if self._send(fifo, frame):
            return
        if deadline is None or deadline - time.monotonic() > FULL_PAUSE_S:
            # Room for one message would be told at once, and then for the next: the consumer would wake this process
            # for each of them. A moment later there is room for many.
            time.sleep(FULL_PAUSE_S)
        while not self._send(fifo, frame):
            if not fifo.wait(select.POLLOUT, deadline):
                self._raise_full(fifo)

    def _raise_full(self, fifo: Fifo) -> NoReturn:
        raise self._Full(
            f"the pipe {self._path!r} has no room (capacity {fifo.capacity} bytes, a page for each message); "
            "nothing was put; wait with put(timeout=...), or let consumers catch up"
        ) from None

    def _put_long(self, fifo: Fifo, body: bytes, timeout: float | None) -> None:
        """Put a message that is too long for a packet: its file first, then the packet with the claim."""
        deadline = deadline_after(timeout)
        if timeout == 0 and self.full():
            self._raise_full(fifo)
        self._send_long(fifo, body, deadline)

    def _send_long(self, fifo: Fifo, body: bytes, deadline: float | None) -> None:
        use = Use()
        try:
            # All along: `close()` waits until the file is claimed, or gone.
            fifo.enter(use)
            with self._long_frame(fifo, body) as frame:
                self._send_waiting(fifo, frame, deadline)
        finally:
            fifo.users.discard(use)
            fifo.left()

    @contextlib.contextmanager
    def _long_frame(self, fifo: Fifo, body: bytes) -> Iterator[bytes]:
        """Write the file of a long message and yield the frame that claims it; no file is left if the context
        fails.
        """
        frame = None
        # A claim may contain the frames' magic by chance. Then the next number will do.
        while frame is None:
            ident = self._claim_prefix + next(self._claim_numbers).to_bytes(8, "big")
            frame = encode_frame(CLAIM, _claims.claim_for(body, ident).pack())
        name = _claims.name_of(fifo.inode, ident)
        use = Use()
        try:
            try:
                fifo.enter(use)
                fifo.unclaimed.add(name)
                _claims.create(fifo.directory, name, body, self._mode)
            except OSError as error:
                error.filename = os.path.join(os.path.dirname(self._path), name)
                raise
            finally:
                fifo.users.discard(use)
                fifo.left()
            yield frame
        except BaseException:
            with fifo.lock:
                # After close() it is gone already, and so is the directory's descriptor.
                if fifo.directory >= 0:
                    _claims.remove(fifo.directory, name)
            raise
        finally:
            with fifo.lock:
                fifo.unclaimed.discard(name)

    # -- get -------------------------------------------------------------------------------------------------

    def get_nowait(self) -> Any:
        """Take the next message, without waiting. Raises `queue.Empty` when there is none.

        Bytes that are no message are skipped with a `ForeignBytesWarning`, and never delivered.
        """
        fifo = self._fifo
        if fifo is None:
            fifo = self._opened()
        message = self._take(fifo)
        if message is NOTHING:
            self._raise_empty()
        return message

    def get(self, timeout: float | None = None) -> Any:
        """Take the next message, waiting for one up to `timeout` seconds, or as long as it takes.

        Raises `queue.Empty` when the time is up, `QueueClosedError` when another thread closes the queue.
        """
        if timeout is not None:
            checked_timeout(timeout)
        fifo = self._fifo
        if fifo is None:
            fifo = self._opened()
        message = self._take(fifo)
        if message is NOTHING:
            deadline = deadline_after(timeout)
            for _ in range(_SPINS if fifo.packets else 0):
                message = self._take(fifo)
                if message is not NOTHING:
                    return message
            while message is NOTHING:
                if not fifo.wait(select.POLLIN, deadline):
                    self._raise_empty()
                message = self._take(fifo)
        return message

    def _raise_empty(self) -> NoReturn:
        raise self._Empty(f"no message in {self._path!r}") from None

    def _take(self, fifo: Fifo) -> Any:
        """Return the next message, or NOTHING."""
        with fifo.lock:
            body = None
            if fifo.packets and not fifo.decoded and not fifo.buffer:
                try:
                    data = os.read(fifo.fd, fifo.read_size)
                except BlockingIOError:
                    return NOTHING
                except OSError as error:
                    self._failed(fifo, error)
                body = whole_message(data)
                if body is None:
                    self._accept(fifo, data)
        if body is not None:
            try:
                return decode(body)
            except UndecodableError as error:
                self._report(fifo, Skipped(body, str(error)))
            except BaseException:
                self._give_back(fifo, MESSAGE, body)
                raise
        return self._take_slowly(fifo)

    def _take_slowly(self, fifo: Fifo) -> Any:
        """Return the next message or NOTHING, where packets are not one plain message each."""
        while True:
            use = None
            try:
                with fifo.lock:
                    if fifo.closing or fifo.fd < 0:
                        raise fifo.closed_error()
                    skipped, fifo.skipped = fifo.skipped, []
                    if not skipped:
                        if fifo.decoded:
                            return fifo.decoded.popleft()
                        if not fifo.buffer and not self._fill(fifo):
                            return NOTHING
                        if fifo.skipped or not fifo.buffer:
                            continue
                        kind, payload = fifo.buffer.popleft()
                        if kind == BATCH:
                            # Here, not below: no other thread may get what lies behind before these are in their place.
                            self._unpack(fifo, payload)
                            continue
                        use = Use()
                        fifo.enter(use)
                if skipped:
                    # Where warnings are errors this raises: the messages are in the buffer, for the next get.
                    self._report(fifo, *skipped)
                    continue
                return self._message_of(fifo, kind, payload)
            except UndecodableError as error:
                fifo.skipped.append(Skipped(payload, str(error)))
            finally:
                if use is not None:
                    fifo.users.discard(use)
                    fifo.left()

    def _message_of(self, fifo: Fifo, kind: int, payload: bytes) -> Any:
        """Return the message of a frame out of the buffer. Raises `UndecodableError` if there is none."""
        try:
            if kind != CLAIM:
                return decode(payload)
            claim = _claims.Claim.unpack(payload)
            name = _claims.name_of(fifo.inode, claim.id)
            message = decode(_claims.read(fifo.directory, name, claim))
            # Not before: who is interrupted, or out of memory, finds it again. Where the directory may not be written
            # any more it stays, for who sweeps: it would refuse the next try too.
            with contextlib.suppress(PermissionError):
                _claims.remove(fifo.directory, name)
        except _claims.BadClaimError as error:
            raise UndecodableError(str(error)) from error
        except UndecodableError:
            raise
        except BaseException:
            self._give_back(fifo, kind, payload)
            raise
        return message

    def _give_back(self, fifo: Fifo, kind: int, payload: bytes) -> None:
        """Have a frame come first at the next get: who was interrupted, or out of descriptors, took nothing."""
        with fifo.lock:
            fifo.buffer.appendleft((kind, payload))

    def _unpack(self, fifo: Fifo, batch: bytes) -> None:
        """Take the messages out of a batch. Under the lock."""
        messages: Iterator[Any] | None = None
        try:
            messages = iter(decode_batch(batch))
            fifo.decoded.extend(messages)
        except UndecodableError as error:
            fifo.skipped.append(Skipped(batch, str(error)))
        except BaseException:
            if messages is None:
                self._give_back(fifo, BATCH, batch)
            else:
                # A signal's handler may raise when they are in their place already: then the iterator has none left.
                fifo.decoded.extend(messages)
            raise

    def _fill(self, fifo: Fifo) -> bool:
        """Read once into the buffer; say whether there was anything to read. Under the lock."""
        try:
            if not fifo.packets:
                return _stream.receive(fifo)
            data = os.read(fifo.fd, fifo.read_size)
        except BlockingIOError:
            return False
        except OSError as error:
            self._failed(fifo, error)
        self._accept(fifo, data)
        return bool(data)

    def _accept(self, fifo: Fifo, data: bytes) -> None:
        """Put the frames of one read into the buffer, and what is none among what will be reported.

        Under the lock.
        """
        frames, skipped = split(data)
        fifo.buffer.extend(frames)
        fifo.skipped += skipped

    def _report(self, fifo: Fifo, *skipped: Skipped) -> None:
        count = sum(len(piece.data) for piece in skipped)
        first = skipped[0]
        start = first.data[:16].hex(" ") + (" ..." if len(first.data) > 16 else "")
        warn(ForeignBytesWarning(f"skipped {count} bytes in {fifo.path!r}: {first.reason} ({start})"))

    # -- many ------------------------------------------------------------------------------------------------

    def put_many(self, msgs: Iterable[object], timeout: float | None = None) -> None:
        """Put all of `msgs`, in their order, waiting for room up to `timeout` seconds in all, or as long as
        it takes.

        Short messages share packets, which is quicker; one consumer gets what shares a packet. All messages
        are encoded first: when one cannot be put, the error names its place (`msgs[3]['k']`), and none was
        put. Raises `queue.Full` when the time is up; its attribute `count` says how many of the first
        messages were put, and none of the others was. So does that of a `QueueClosedError` or an `OSError`.
        """
        deadline = deadline_after(checked_timeout(timeout))
        fifo = self._opened()
        count = 0
        for packet, body, messages in self._packets_of(msgs):
            try:
                if packet is not None:
                    self._send_waiting(fifo, packet, deadline)
                else:
                    self._send_long(fifo, body, deadline)
            except (self._Full, QueueClosedError, OSError) as error:
                raise self._partly(error, count) from None
            count += messages

    def _packets_of(self, msgs: Iterable[object]) -> list[tuple[bytes | None, bytes, int]]:
        """Encode messages into packets: (packet, b"", messages in it), or (None, body, 1) for a long message."""
        messages = list(msgs)
        packets: list[tuple[bytes | None, bytes, int]] = []
        frames: list[bytes] = []
        room, count = MAX_FRAME, 0
        at, most = 0, _MOST_IN_BATCH
        while at < len(messages):
            frame = None
            number = short_run(messages, at, most)
            if number > 1:
                batch = encode_batch(messages[at : at + number])
                if batch is not None and len(batch) > MAX_PAYLOAD:
                    most = max(1, number * MAX_PAYLOAD // len(batch))
                    continue
                frame = None if batch is None else encode_frame(BATCH, batch)
            if frame is None:
                number = 1
                try:
                    body = encode(messages[at])
                except (TypeError, ValueError) as error:
                    raise _at_index(error, messages[at], at) from None
                frame = message_frame(body)
            if frames and (frame is None or len(frame) > room):
                packets.append((b"".join(frames), b"", count))
                frames, room, count = [], MAX_FRAME, 0
            if frame is None:
                packets.append((None, body, 1))
            else:
                frames.append(frame)
                room -= len(frame)
                count += number
            at += number
            most = min(2 * most, _MOST_IN_BATCH)
        if frames:
            packets.append((b"".join(frames), b"", count))
        return packets

    def _partly(self, error: Exception, count: int) -> Exception:
        """Return the error for a batch of which only the first `count` messages were put."""
        what = "no message was" if not count else "1 message was" if count == 1 else f"{count} messages were"
        partly: Exception
        if isinstance(error, OSError):
            error.add_note(f"{what} put before")
            partly = error
        elif isinstance(error, QueueClosedError):
            closed = f"the queue on {self._path!r} is closed; {what} put before; make a new one"
            partly = QueueClosedError(closed) if count else error
        else:
            partly = self._Full(f"{error} ({what} put before)")
        partly.count = count  # type: ignore[attr-defined]
        return partly

    def get_many(self, n: int, timeout: float | None = None) -> list[Any]:
        """Take up to `n` messages: wait for the first as `get` does, then take what is there without waiting.

        Raises `queue.Empty` when the time is up and there was none.
        """
        n = checked_count(n)
        if not n:
            return []
        return self._take_many(self._opened(), n, self.get(timeout))

    def _take_many(self, fifo: Fifo, n: int, first: Any) -> list[Any]:
        """Take up to `n` messages, `first` included, without waiting. What fails gives all of them back."""
        messages = [first]
        try:
            while len(messages) < n:
                with fifo.lock:
                    there = fifo.decoded
                    if there:
                        # In one step: no signal's handler comes between taking them and having them.
                        several = itertools.repeat((), min(len(there), n - len(messages)))
                        messages.extend(itertools.starmap(there.popleft, several))
                        continue
                message = self._take(fifo)
                if message is NOTHING:
                    break
                messages.append(message)
        except QueueClosedError:
            pass  # what was taken before is delivered
        except BaseException:
            with fifo.lock:
                fifo.decoded.extendleft(reversed(messages))
            raise
        return messages

    def drain(self, timeout: float | None = None) -> None:
        """Wait until nothing is unread, up to `timeout` seconds, or as long as it takes.

        Raises `TimeoutError` when the time is up. That a message was taken does not say that its consumer is
        done with it.
        """
        deadline = deadline_after(checked_timeout(timeout))
        pause = SHORTEST_PAUSE_S
        while not self.empty():
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                self._raise_undrained(timeout)
            until = now + pause
            # No event says that a pipe is empty: look now and then, and be woken by close().
            self._opened().wait(0, until if deadline is None else min(until, deadline))
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _raise_undrained(self, timeout: float | None) -> NoReturn:
        raise TimeoutError(f"after {timeout:g} s {self.unread} bytes are still unread in {self._path!r}")


def _at_index(error: TypeError | ValueError, message: object, index: int) -> Exception:
    """Return `error` of one message as the error of a batch."""
    text = str(error)
    if isinstance(error, TypeError):
        # Its text names a place within "msg". That may be in a key's text as well, so it is asked for once more,
        # within what is in no text.
        mark = os.urandom(8).hex()
        with contextlib.suppress(ValueError):
            try:
                encode({mark: message})
            except TypeError as marked:
                before, found, after = str(marked).partition(f"msg[{mark!r}]")
                if found:
                    return TypeError(f"{before}msgs[{index}]{after}; none was put")
    return type(error)(f"msgs[{index}]: {text}; none was put")


def _unpickled(
    cls: type[SimplePipeQueue], path: str, history: bool, capacity: int | None, mode: int
) -> SimplePipeQueue:
    self = cls(path, history, capacity=capacity, mode=mode)
    self._copied = True
    return self


def checked_count(n: int) -> int:
    """Return `n`, or raise the error that says what it must be."""
    if isinstance(n, bool) or not isinstance(n, int):
        raise TypeError(f"n must be a number of messages; not {shown(n)}")
    if n < 0:
        raise ValueError(f"n must be 0 messages or more; not {shown(n)}")
    return n


def deadline_after(timeout: float | None) -> float | None:
    """Return the time on the monotonic clock when `timeout` seconds are up, or None for never."""
    if timeout is None:
        return None
    try:
        return time.monotonic() + timeout
    except OverflowError:
        return None  # an integer over every float


def checked_timeout(timeout: float | None) -> float | None:
    """Return `timeout`, or raise the error that says what it must be."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(
            f"timeout must be a number of seconds, or None to wait as long as it takes; not {shown(timeout)} "
            "(put_nowait and get_nowait do not wait)"
        )
    if not timeout >= 0:
        raise ValueError(
            f"timeout must be 0 seconds or more, or None to wait as long as it takes; not {shown(timeout)}"
        )
    return timeout


def _checked_path(path: str | os.PathLike[str]) -> str:
    text: str | bytes = os.fspath(path)
    text = os.fsdecode(text)
    if not text or "\0" in text:
        raise ValueError(f"path must name a FIFO; not {text!r}, which is empty or contains a null character")
    # Made absolute, since the queue may be opened later, and elsewhere. Not normalized: with symbolic links,
    # "there/.." may be another place than "here".
    return text if os.path.isabs(text) else os.path.join(os.getcwd(), text)


def _checked_capacity(capacity: int | None) -> int | None:
    if capacity is None:
        return None
    if isinstance(capacity, bool) or not isinstance(capacity, int):
        raise TypeError(f"capacity must be a number of bytes, or None for the default; not {shown(capacity)}")
    if not 0 < capacity < 1 << 31:
        most = (1 << 31) - 1
        raise ValueError(f"capacity must be from 1 to {most} bytes, or None for the default; not {shown(capacity)}")
    return capacity


def _checked_mode(mode: int) -> int:
    if isinstance(mode, bool) or not isinstance(mode, int):
        raise TypeError(f"mode must be permissions such as 0o600; not {shown(mode)}")
    if not 0 <= mode <= 0o777 or mode & 0o600 != 0o600:
        raise ValueError(f"mode must be from 0o600 to 0o777, and let the owner read and write; not {shown(mode, oct)}")
    return mode


_all_queues: weakref.WeakSet[SimplePipeQueue] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for pipe_queue in list(_all_queues):
        pipe_queue._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
