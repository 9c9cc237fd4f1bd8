"""Queues that are each wrong in one realistic way; and beside each, the smallest plan that shows it, faults included,
the finding that it must get, and what the verdict must say.

A checker which never saw a queue do what it looks for has shown nothing. Those about messages are built on the
queue that comes with monkeywrench; those about system calls on ``Slots``, which is right and has 60 lines.
"""

import contextlib
import ctypes
import fcntl
import os
import pickle
import queue
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unicodedata
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monkeywrench.harness import (
    Adapter,
    Guarantees,
    Plan,
    Trial,
    call,
    every,
    message,
    messages,
    read,
    write,
)
from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter
from monkeywrench.harness.faults import Delay, Error, Fault, Foreign, Kill, Pause, Short, Shrink, Stale

PATIENCE_S = 0.7


@dataclass(frozen=True)
class Broken:
    """One broken queue, and how it is shown.

    finding: the kind that it must get; also: those which may come with it.
    says: what a sentence of the verdict has in it.
    settings: of the trial, beyond two producers, one consumer and 40 messages.
    """

    queue: type[Adapter]
    finding: str
    also: tuple[str, ...]
    says: str
    faults: tuple[Fault, ...]
    settings: dict[str, Any]

    def plan(self, seed: int) -> Plan:
        """Return the plan that shows it. Only where peers get stuck is their patience waited for."""
        patience_s = PATIENCE_S if "stuck" in (self.finding, *self.also) else 5.0
        settings = {"producers": 2, "consumers": 1, "messages": 40, "patience_s": patience_s, **self.settings}
        return Trial(self.queue(), seed=seed, name=self.queue.__name__, **settings).add(*self.faults).plan


BROKEN: list[Broken] = []


def broken(
    finding: str, *faults: Fault, says: str, also: tuple[str, ...] = (), **settings: Any
) -> Callable[[type[Adapter]], type[Adapter]]:
    """Return the decorator that puts a queue into the collection, with what ``Broken`` says."""

    def add(kind: type[Adapter]) -> type[Adapter]:
        BROKEN.append(Broken(kind, finding, also, says, faults, settings))
        return kind

    return add


# -- right queues, to break ------------------------------------------------------------------------------------------


class RightQueue(SimplePipeQueueAdapter):
    """Wrong in no way: the queue that comes with monkeywrench."""


class Slots(Adapter):
    """Wrong in no way: a FIFO of slots of 512 bytes, each written and read at once; what is longer is in a file."""

    SLOT = 512

    def fifo(self, directory: Path) -> Path:
        return directory / "slots.fifo"

    def make(self, directory: Path) -> None:
        self.directory, self.path = directory, self.fifo(directory)
        os.mkfifo(self.path)
        self.held = os.open(self.path, os.O_RDWR)

    def open(self, role: str) -> list[int]:
        self.count = 0
        self.pending = b""
        return [os.open(self.path, os.O_RDWR)]

    def put(self, end: list[int], message: Any) -> None:
        data = b"M" + pickle.dumps(message)
        file = self.spool(data[1:]) if len(data) > self.SLOT else None
        try:
            self.send(end, b"F" + str(file).encode() if file else data)
        except BaseException:
            if file:
                file.unlink()
            raise

    def send(self, end: list[int], data: bytes) -> None:
        os.write(end[0], data.ljust(self.SLOT, b"\0"))

    def spool(self, data: bytes) -> Path:
        self.count += 1
        path = self.directory / f"m-{os.getpid()}-{self.count}"
        file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            self.fill(file, data)
        except BaseException:
            path.unlink()
            raise
        finally:
            os.close(file)
        return path

    def fill(self, file: int, data: bytes) -> None:
        while data:
            data = data[os.write(file, data) :]

    def get(self, end: list[int]) -> Any:
        # What was read is kept until it is through: an error costs no message.
        self.pending = self.pending or os.read(end[0], self.SLOT)
        got = self.unpack(self.pending)
        self.pending = b""
        return got

    def unpack(self, slot: bytes) -> Any:
        kind, rest = slot[:1], slot[1:]
        return self.load(Path(rest.rstrip(b"\0").decode())) if kind == b"F" else pickle.loads(rest)

    def load(self, path: Path) -> Any:
        file = os.open(path, os.O_RDONLY)
        try:
            data = self.pour(file)
        finally:
            os.close(file)
        os.unlink(path)
        return pickle.loads(data)

    def pour(self, file: int) -> bytes:
        data = b""
        while more := os.read(file, 1 << 16):
            data += more
        return data

    def close(self, end: list[int]) -> None:
        while end:
            os.close(end.pop())

    def destroy(self) -> None:
        os.close(self.held)
        for left in [self.path, *self.directory.glob("m-*")]:
            left.unlink(missing_ok=True)


class Stream(Slots):
    """A length, then so many bytes, without any lock: right for one producer and one consumer that live."""

    def put(self, end: list[int], message: Any) -> None:
        data = pickle.dumps(message)
        data = struct.pack("!I", len(data)) + data
        while data:
            data = data[os.write(end[0], data) :]

    def get(self, end: list[int]) -> Any:
        (size,) = struct.unpack("!I", os.read(end[0], 4))
        data = b""
        while len(data) < size:
            data += os.read(end[0], size - len(data))
        return pickle.loads(data)


class Counting(SimplePipeQueueAdapter):
    """Count the gets and puts of this peer, for those below."""

    def open(self, role: str) -> Any:
        self.gets = self.puts = 0
        return super().open(role)

    def put(self, end: Any, message: Any) -> None:
        self.puts += 1
        super().put(end, message)

    def get(self, end: Any) -> Any:
        self.gets += 1
        return super().get(end)


# -- lost ------------------------------------------------------------------------------------------------------------


@broken("lost", says="message 256 of producer-0", messages=300, producers=1, large_every=0)
class CountsToAByte(Counting):
    """Duplicates are known by a number of one byte: after 256 messages, every one looks like a duplicate."""

    def open(self, role: str) -> Any:
        self.seen: set[tuple[int, int]] = set()
        return super().open(role)

    def get(self, end: Any) -> Any:
        while True:
            got = super().get(end)
            known = got[0], got[1] % 256
            if known not in self.seen:
                self.seen.add(known)
                return got


@broken("lost", Error("producer-0", every(5, "write"), "ENOSPC"), says="of producer-0", large_every=0)
class SwallowsNoSpace(Slots):
    """A put that the system refuses returns as if nothing had been."""

    def put(self, end: list[int], message: Any) -> None:
        with contextlib.suppress(OSError):
            super().put(end, message)


@broken("lost", Shrink(), Pause("consumer-0", read(1), 0.2), says="whose put returned", large_every=0, messages=100)
class GivesUpWhenFull(Slots):
    """A put into a full pipe waits for a while, and then forgets its message without a word."""

    def open(self, role: str) -> list[int]:
        end = super().open(role)
        if role == "producer":
            os.set_blocking(end[0], False)
        return end

    def put(self, end: list[int], message: Any) -> None:
        for _ in range(20):
            try:
                super().put(end, message)
                return
            except BlockingIOError:
                time.sleep(0.001)


@broken("lost", Pause("producer-0", message(10, call=2), 0.5), says="message 9 of producer-0")
class GivesUpAfterAStop(Slots):
    """A put that was stopped half-way takes the time for a time-out, cleans up, and says nothing."""

    def fill(self, file: int, data: bytes) -> None:
        began = time.monotonic()
        super().fill(file, data)
        self.late = time.monotonic() - began > 0.4

    def send(self, end: list[int], data: bytes) -> None:
        if data[:1] == b"F" and self.late:
            Path(data[1:].decode()).unlink()
        else:
            super().send(end, data)


@broken("lost", Kill("producer-0", messages(21)), says="message 16 of producer-0", large_every=0)
class ReturnsBeforeItIsStored(Slots):
    """Messages are put eight at a time; until then a put has returned, and nothing is in the pipe."""

    def open(self, role: str) -> list[int]:
        self.buffer: list[Any] = []
        return super().open(role)

    def put(self, end: list[int], message: Any) -> None:
        self.buffer.append(message)
        if len(self.buffer) == 8:
            self.flush(end)

    def flush(self, end: list[int]) -> None:
        while self.buffer:
            super().put(end, self.buffer[0])
            del self.buffer[0]

    def close(self, end: list[int]) -> None:
        self.flush(end)
        super().close(end)


@broken(
    "lost",
    Pause("consumer-0", read(1), 0.3),
    Kill("consumer-0", messages(3)),
    says="5 messages whose put returned were never received",
    producers=1,
    large_every=0,
)
class Hoards(Slots):
    """A consumer reads ahead what is there, and takes it with it when it dies."""

    SLOT = 4096  # no file for a message that is not large: nothing else of the dead is left

    def open(self, role: str) -> list[int]:
        self.hoard: list[bytes] = []
        return super().open(role)

    def get(self, end: list[int]) -> Any:
        if not self.hoard:
            ahead = os.read(end[0], 8 * self.SLOT)
            self.hoard = [ahead[at : at + self.SLOT] for at in range(0, len(ahead), self.SLOT)]
        return self.unpack(self.hoard.pop(0))


@broken("lost", Pause("consumer-0", read(1), 1.0), says="whose put returned", large_every=1, messages=20)
class SweepsWhatIsAlive(Slots):
    """Who opens the queue sweeps the files of the dead, and those of the living with them."""

    def open(self, role: str) -> list[int]:
        for file in self.directory.glob("m-*"):
            file.unlink(missing_ok=True)
        return super().open(role)

    def get(self, end: list[int]) -> Any:
        while True:
            with contextlib.suppress(FileNotFoundError):
                return super().get(end)
            self.pending = b""


@broken("lost", Foreign("producer-0", messages(5)), says="was never received", large_every=0, producers=1)
class DropsWhatFollowsForeignBytes(Counting):
    """A consumer that skips foreign bytes skips the message behind them, too."""

    def get(self, end: Any) -> Any:
        with warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            got = super().get(end)
        return super().get(end) if seen else got


@broken("lost", Error("consumer-0", every(1, "open"), "EMFILE"), says="message 9 of producer", messages=12)
class ForgetsWhatItCouldNotOpen(Slots):
    """A get takes the slot, cannot open the file that it names, raises, and has forgotten the slot."""

    def get(self, end: list[int]) -> Any:
        self.pending = b""
        return super().get(end)


@broken("lost", says="whose put returned", messages=60)
class OneInThirty(Counting):
    """Now and then a message is taken and forgotten."""

    def get(self, end: Any) -> Any:
        if self.gets % 30 == 29:
            super().get(end)
        return super().get(end)


# -- duplicated, unexpected, reordered --------------------------------------------------------------------------------


@broken("duplicated", Error("producer-0", every(4, "close"), "EINTR"), says="received 2 times", large_every=2)
class PutsAgainAfterEINTR(Slots):
    """A put that was interrupted after its message was through does it all again."""

    def put(self, end: list[int], message: Any) -> None:
        while True:
            super().put(end, message)
            probe = os.open("/dev/null", os.O_RDONLY)
            try:
                os.close(probe)
            except InterruptedError:
                continue
            return


@broken(
    "duplicated", Kill("consumer-0", messages(5), replace=True), says="by consumer-0 and consumer-0.1", large_every=0
)
class AcknowledgesLate(Slots):
    """A message is acknowledged by the next get: who dies in between has it delivered again."""

    SLOT = 4096  # no file for a message that is not large: it would be gone after the first get

    def open(self, role: str) -> list[int]:
        end = super().open(role)
        self.journal, self.again = self.directory / f"m-of-{role}", b""
        if role == "consumer" and self.journal.exists():
            self.again = self.journal.read_bytes()
        return end

    def get(self, end: list[int]) -> Any:
        slot, self.again = self.again or os.read(end[0], self.SLOT), b""
        self.journal.write_bytes(slot)
        return self.unpack(slot)

    def close(self, end: list[int]) -> None:
        self.journal.unlink(missing_ok=True)
        super().close(end)


@broken("duplicated", says="received 2 times")
class GivesTheLastOneAgain(Counting):
    """A get that finds nothing new for a moment gives the last message again."""

    def get(self, end: Any) -> Any:
        if self.gets == 4:
            self.gets += 1
            return self.last
        self.last = super().get(end)
        return self.last


@broken("unexpected", says="which nobody put")
class WakesUpWithNone(Counting):
    """A spurious wake-up is handed out as if it were a message."""

    def get(self, end: Any) -> Any:
        if self.gets == 4:
            self.gets += 1
            return None
        return super().get(end)


@broken("unexpected", Error("producer-0", every(6, "close"), "EIO"), says="whose put failed", large_every=2)
class FailsWhenItIsThrough(Slots):
    """A put whose message is through fails all the same, in its cleaning up."""

    def put(self, end: list[int], message: Any) -> None:
        super().put(end, message)
        os.close(os.open("/dev/null", os.O_RDONLY))


@broken("unexpected", also=("corrupted", "lost"), says="which nobody put")
class NumbersWrong(Counting):
    """One message comes under the number of another."""

    def get(self, end: Any) -> Any:
        got = super().get(end)
        return (got[0], got[1] + 1_000_000, got[2]) if self.gets == 5 else got


@broken("reordered", says="producer-0", producers=1, messages=520, large_every=0)
class SwapsOnceInFiveHundred(Counting):
    """Two messages of one producer change places, once in five hundred."""

    def put(self, end: Any, message: Any) -> None:
        if message[1] % 500 == 499:
            self.held = message
            return
        super().put(end, message)
        if message[1] % 500 == 0 and message[1]:
            super().put(end, self.held)


@broken("reordered", says="message 9 of producer", large_every=10)
class LargeOnesAreOvertaken(Slots):
    """A large message is written by the way, and the next small one is through before it."""

    def open(self, role: str) -> list[int]:
        self.late: list[Any] = []
        return super().open(role)

    def put(self, end: list[int], message: Any) -> None:
        if message[1] % 10 == 9 and not self.late:
            self.late = [message]
            return
        super().put(end, message)
        self.flush(end)

    def flush(self, end: list[int]) -> None:
        while self.late:
            super().put(end, self.late.pop())

    def close(self, end: list[int]) -> None:
        self.flush(end)
        super().close(end)


@broken("reordered", Error("consumer-0", every(7, "read"), "EINTR"), says="of producer-", large_every=0, messages=60)
class PutsBackAtTheEnd(Slots):
    """A consumer that is interrupted puts what it has back into the queue: at its other end."""

    def get(self, end: list[int]) -> Any:
        slot = os.read(end[0], self.SLOT)
        try:
            file = os.open("/dev/zero", os.O_RDONLY)
            try:
                os.read(file, 1)
            finally:
                os.close(file)
            return self.unpack(slot)
        except InterruptedError:
            os.write(end[0], slot)
            return self.get(end)


# -- corrupted -------------------------------------------------------------------------------------------------------


def everywhere(change: Callable[[Any], Any], value: Any) -> Any:
    """Return the value with a change made to everything in it but keys and what is in sets, innermost first."""
    if isinstance(value, (tuple, list)):
        value = type(value)(everywhere(change, each) for each in value)
    elif isinstance(value, dict):
        value = {key: everywhere(change, each) for key, each in value.items()}
    return change(value)


class Changing(SimplePipeQueueAdapter):
    """Change each payload on its way."""

    def change(self, value: Any) -> Any:
        return value

    def get(self, end: Any) -> Any:
        producer, number, payload = super().get(end)
        return producer, number, everywhere(self.change, payload)


@broken("corrupted", says="put as a tuple and came out as a list")
class TuplesAsLists(Counting):
    """The container's type is lost, as in JSON."""

    def get(self, end: Any) -> Any:
        return list(super().get(end))


@broken("corrupted", says="changed: put ", messages=100)
class InnerTuplesAsLists(Changing):
    """Tuples inside of a message come out as lists."""

    def change(self, value: Any) -> Any:
        return list(value) if isinstance(value, tuple) else value


@broken("corrupted", says="got list", messages=100)
class SetsAsLists(Changing):
    """Sets come out as lists."""

    def change(self, value: Any) -> Any:
        return list(value) if isinstance(value, set) else value


@broken("corrupted", says="got set", messages=100)
class FrozenSetsThaw(Changing):
    """Frozen sets come out as sets."""

    def change(self, value: Any) -> Any:
        return set(value) if type(value) is frozenset else value


@broken("corrupted", says="put int .* got float", messages=100)
class LongIntsAsFloats(Changing):
    """Ints over 53 bits come out as floats."""

    def change(self, value: Any) -> Any:
        return float(value) if type(value) is int and abs(value) > 2**53 else value


@broken("corrupted", says="put float", messages=100)
class FloatsOfFourBytes(Changing):
    """Floats travel in four bytes."""

    def change(self, value: Any) -> Any:
        return ctypes.c_float(value).value if type(value) is float else value


@broken("corrupted", says="put dict", messages=100)
class NormalisesText(Changing):
    """Text comes out in another normal form, as from some file systems."""

    def change(self, value: Any) -> Any:
        return unicodedata.normalize("NFD", value) if isinstance(value, str) else value


@broken("corrupted", says="put dict", messages=100)
class KeysAsText(Changing):
    """The keys of a dict come out as text, as in JSON."""

    def change(self, value: Any) -> Any:
        return {str(key): each for key, each in value.items()} if isinstance(value, dict) else value


@broken("corrupted", says="put bool .* got int", messages=100)
class BooleansAsNumbers(Changing):
    """Booleans come out as numbers: equal, and not the same."""

    def change(self, value: Any) -> Any:
        return int(value) if isinstance(value, bool) else value


@broken("corrupted", says="put bytes .* got bytes")
class FlipsOneBit(Changing):
    """The last bit of a large message is wrong."""

    def change(self, value: Any) -> Any:
        return value[:-1] + bytes([value[-1] ^ 1]) if isinstance(value, bytes) and len(value) > 4000 else value


@broken("corrupted", says="put bytes .*70000 .*|put bytes .*got bytes", large_every=1, messages=40)
class CutsAt65536(Changing):
    """What is longer than a pipe at its default size is cut there."""

    def change(self, value: Any) -> Any:
        return value[:65536] if isinstance(value, bytes) else value


@broken("corrupted", says="put float -0.0, got float 0.0", messages=100)
class ZeroHasNoSign(Changing):
    """Zero comes out without its sign, as from where it was written as a number without one."""

    def change(self, value: Any) -> Any:
        return value + 0.0 if type(value) is float else value


@broken("corrupted", says=r"put list \[\], got NoneType None", messages=100)
class EmptyListsAsNone(Changing):
    """A container without members comes out as nothing at all."""

    def change(self, value: Any) -> Any:
        return value if value or not isinstance(value, (tuple, list, dict, set, frozenset)) else None


@broken("corrupted", says="put str .*, got str ''", messages=100)
class TextEndsAtNul(Changing):
    """Text comes out up to its first NUL, as from C."""

    def change(self, value: Any) -> Any:
        return value.partition("\0")[0] if isinstance(value, str) else value


@broken("corrupted", says="put str .*, got str .*[?]", messages=100)
class TextIsLatin1(Changing):
    """Text comes out with question marks for what is not in Latin-1."""

    def change(self, value: Any) -> Any:
        return value.encode("latin-1", "replace").decode("latin-1") if isinstance(value, str) else value


@broken("corrupted", says="put str .*, got str .*\\\\ud83d", messages=100)
class TextHasTwoBytesALetter(Changing):
    """What takes two units of UTF-16 comes out as the two."""

    def change(self, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        units = value.encode("utf-16-le")
        return "".join(chr(unit) for (unit,) in struct.iter_unpack("<H", units))


@broken("corrupted", says="put int 9223372036854775807, got int -1$", messages=100)
class IntsOf63Bits(Changing):
    """The largest int is taken for what says that there is none."""

    def change(self, value: Any) -> Any:
        return -1 if type(value) is int and value == (1 << 63) - 1 else value


@broken("corrupted", says="put bytes .* got bytes", messages=100, large_every=0)
class LengthOfOneByte(Changing):
    """The length of what is not large is kept in one byte."""

    def change(self, value: Any) -> Any:
        return value[: len(value) % 256] if isinstance(value, bytes) and len(value) <= 4000 else value


@broken("corrupted", says="put bytes .*got bytes", large_every=1, messages=100)
class CutsAt131072(Changing):
    """What is longer than two pipes at their default size is cut there."""

    def change(self, value: Any) -> Any:
        return value[:131072] if isinstance(value, bytes) else value


@broken("corrupted", Stale("file"), says="a regular file in the queue's place: it was changed")
class ReplacesWhatItFinds(Slots):
    """Whatever is at the path is removed: it must be an old FIFO."""

    def make(self, directory: Path) -> None:
        self.fifo(directory).unlink(missing_ok=True)
        super().make(directory)


# -- crashed ---------------------------------------------------------------------------------------------------------


@broken("crashed", Short("producer-0", message(10, call=2), 100), says="consumer-0 ended by", also=("lost",))
class WritesOnce(Slots):
    """How many bytes a write wrote, nobody looks at."""

    def fill(self, file: int, data: bytes) -> None:
        os.write(file, data)


@broken(
    "crashed",
    Short("consumer-0", message(5, call=3), 100),
    says="consumer-0 ended by",
    also=("lost",),
    producers=1,
    large_every=1,
)
class ReadsOnce(Slots):
    """How many bytes a read read, nobody looks at."""

    def pour(self, file: int) -> bytes:
        return os.read(file, 1 << 20)


@broken(
    "stuck",
    Kill("consumer-0", read(6), replace=True),
    says="consumer-0.1 waits inside its get 1",
    producers=1,
    large_every=0,
)
class HeaderThenBody(Stream):
    """A message is read in two steps: who dies in between leaves a body without its header."""


@broken(
    "crashed",
    Pause("producer-0", message(1, byte=2000), 0.4),
    Delay("producer-1", every(1), 0.02),  # or it may be through before producer-0 begins
    says="consumer-0 ended by",
    producers=3,
    large_every=1,
    also=("stuck",),
)
class LargeOnesInterleave(Stream):
    """A large message is written without a lock: those of two producers run into each other."""


@broken("crashed", Pause("producer-0", messages(5), 0.5), says="Empty", producers=1, also=("stuck",))
class RunsOutOfPatience(Counting):
    """A get without a time-out has one all the same."""

    def get(self, end: Any) -> Any:
        try:
            return end.get(timeout=0.2)
        except queue.Empty:
            raise queue.Empty("nothing for 0.2 s") from None


@broken("crashed", Error("producer-0", every(5, "write"), "EPIPE"), says="producer-0 ended by exit status 3")
class ExitsOnEPIPE(Slots):
    """A library that ends its process where it should raise."""

    def send(self, end: list[int], data: bytes) -> None:
        try:
            super().send(end, data)
        except BrokenPipeError:
            os._exit(3)


@broken("crashed", Error("producer-0", write(5), "ENOSPC"), says=r"producer-0 ended by .* No space .*injected")
class NeverTriesAgain(Counting):
    """After one put that failed every put fails, of what was then."""

    def open(self, role: str) -> Any:
        self.failed: OSError | None = None
        return super().open(role)

    def put(self, end: Any, message: Any) -> None:
        if self.failed:
            raise self.failed
        try:
            super().put(end, message)
        except OSError as error:
            self.failed = error
            raise


@broken("crashed", says="producer-0 ended by exit status 0 inside its put 6$")
class LeavesInTheMiddle(Counting):
    """Whoever has what it wants ends its process: with success, and without a word."""

    def put(self, end: Any, message: Any) -> None:
        if message[:2] == (0, 5):
            os._exit(0)
        super().put(end, message)


@broken("crashed", Kill("producer-0", messages(5), "SIGTERM"), says="producer-0 ended by exit status 70: ValueError")
class OutlivesItsTermination(Counting):
    """A process that ignores SIGTERM goes on, and crashes of something else."""

    def open(self, role: str) -> Any:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return super().open(role)

    def put(self, end: Any, message: Any) -> None:
        super().put(end, message)
        if message[:2] == (0, 20):
            raise ValueError("number 20")


@broken("crashed", Kill("producer-0", write(6), "SIGINT"), says="producer-0 ended by exit status 70: ValueError")
class SwallowsTheInterruption(Counting):
    """Whatever goes wrong in a put, it is tried again; Ctrl-C, too."""

    def put(self, end: Any, message: Any) -> None:
        try:
            super().put(end, message)
        except BaseException:
            super().put(end, message)
        if message[:2] == (0, 20):
            raise ValueError("number 20")


@broken("crashed", says="producer-0 ended by signal SIGSEGV", also=("stuck",))
class SegmentationFault(Counting):
    """C code that falls."""

    def put(self, end: Any, message: Any) -> None:
        if message[:2] == (0, 5):
            os.kill(os.getpid(), signal.SIGSEGV)
        super().put(end, message)


@broken("crashed", says="FileNotFoundError", also=("stuck",))
class WhoClosesRemoves(Slots):
    """Who closes removes the FIFO; a newcomer, such as the heal, finds none."""

    def close(self, end: list[int]) -> None:
        super().close(end)
        self.path.unlink(missing_ok=True)


@broken("crashed", Kill("producer-0", messages(5), replace=True), says="FileExistsError", producers=1, also=("stuck",))
class StalePidFile(Slots):
    """One producer at a time, says its pid file; that of a dead one says it for ever."""

    def open(self, role: str) -> list[int]:
        if role == "producer":
            (self.directory / "producer.pid").open("x").close()
        return super().open(role)

    def close(self, end: list[int]) -> None:
        super().close(end)
        (self.directory / "producer.pid").unlink(missing_ok=True)


@broken("crashed", Foreign("producer-0", messages(3)), says="consumer-0 ended by", also=("stuck",))
class NoWayBackFromForeignBytes(Slots):
    """Foreign bytes are promised to cost nothing, and every slot after them is read askew."""

    guarantees = Guarantees(foreign_bytes=True)


# -- stuck -----------------------------------------------------------------------------------------------------------


@broken(
    "stuck",
    Kill("consumer-0", read(5)),
    says="waits inside its get|gives no sign of life",
    also=("leaked",),
    large_every=0,
)
class LockOutlivesItsHolder(Slots):
    """A file is the lock for reading: who dies with it locks everybody out."""

    def get(self, end: list[int]) -> Any:
        lock = self.directory / "reading"
        while True:
            try:
                lock.open("x").close()
                break
            except FileExistsError:
                time.sleep(0.005)
        try:
            return super().get(end)
        finally:
            lock.unlink()


@broken("stuck", Kill("producer-0", message(10, byte=100)), says="waits inside its get", producers=1, messages=10)
class WaitsForTheBody(Stream):
    """A get with a time-out has it for the header only: for the rest of a torn message it waits for ever."""


@broken("stuck", says="waits inside its put", large_every=0, also=("leaked",))
class SemaphoreCountsDown(Counting):
    """Room is counted by a semaphore which a get does not give back."""

    def open(self, role: str) -> Any:
        self.room = threading.Semaphore(20)
        return super().open(role)

    def put(self, end: Any, message: Any) -> None:
        self.room.acquire()
        super().put(end, message)


@broken("stuck", says="waits inside its close")
class ClosesForEver(Counting):
    """Closing waits for a thread which waits for what never comes."""

    def close(self, end: Any) -> None:
        super().close(end)
        threading.Event().wait()


@broken("stuck", Pause("producer-0", messages(5), 0.3), says="consumer-0 waits inside its get", producers=1)
class MissesTheWakeUp(Counting):
    """A get that has found nothing once waits for a wake-up that has come before."""

    def get(self, end: Any) -> Any:
        try:
            return end.get(timeout=0.1)
        except queue.Empty:
            threading.Event().wait()


# -- leaked ----------------------------------------------------------------------------------------------------------


@broken("leaked", Error("producer-0", call("lock", 1), "EINTR"), says="producer-0 left behind: .*descriptor")
class DescriptorPerReopen(Slots):
    """An open that fails and is tried again leaves the first descriptor open."""

    def open(self, role: str) -> list[int]:
        end = super().open(role)
        fcntl.flock(end[0], fcntl.LOCK_SH)
        return end


@broken("leaked", says="before it closed the queue", messages=60, large_every=2)
class DescriptorPerMessage(Slots):
    """Every large message leaves a descriptor open, until the queue is closed."""

    def pour(self, file: int) -> bytes:
        self.end.append(os.dup(file))
        return super().pour(file)

    def get(self, end: list[int]) -> Any:
        self.end = end
        return super().get(end)


@broken("leaked", Error("producer-0", message(10, call=2), "ENOSPC"), says="FIFO reply")
class FifoLeftByAnException(Slots):
    """A FIFO for one large message is not removed if an exception comes in between."""

    def spool(self, data: bytes) -> Path:
        reply = self.directory / f"reply-{os.getpid()}-{self.count}.fifo"
        os.mkfifo(reply)
        path = super().spool(data)
        reply.unlink(missing_ok=True)
        return path


@broken(
    "leaked",
    says="used .*shared.fifo",
    messages=10,
    also=("crashed", "stuck", "lost", "unexpected", "corrupted", "duplicated", "reordered"),
)
class FixedPath(Slots):
    """The FIFO has the same path everywhere: two workers of pytest-xdist share it."""

    def fifo(self, directory: Path) -> Path:
        return Path(tempfile.gettempdir()) / f"monkeywrench-test-{os.getuid()}-shared.fifo"

    def make(self, directory: Path) -> None:
        self.fifo(directory).unlink(missing_ok=True)
        super().make(directory)


@broken("leaked", says="thread left-over")
class ThreadLeft(Counting):
    """Opening the queue starts a thread which nobody ends."""

    def open(self, role: str) -> Any:
        threading.Thread(target=threading.Event().wait, daemon=True, name="left-over").start()
        return super().open(role)


@broken("leaked", says="left behind: process")
class ProcessLeft(Counting):
    """Opening the queue starts a process which nobody ends."""

    def open(self, role: str) -> Any:
        subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"], start_new_session=True)
        return super().open(role)


@broken("leaked", says="left behind: file part-")
class TemporaryFileLeft(Slots):
    """A large message is written beside its place and linked to it; the first name stays."""

    def spool(self, data: bytes) -> Path:
        path = super().spool(data)
        os.link(path, path.with_name(f"part-{path.name}"))
        return path


@broken("leaked", says="left behind: file queue.lock")
class LockFileLeft(Counting):
    """A lock file is left beside the FIFO."""

    def make(self, directory: Path) -> None:
        super().make(directory)
        (directory / "queue.lock").touch()


@broken("leaked", says="left behind: FIFO")
class FifoLeft(Counting):
    """The FIFO is not removed."""

    def destroy(self) -> None:
        super().destroy()
        os.mkfifo(self._path)


RIGHT: tuple[type[Adapter], ...] = (RightQueue, Slots)
