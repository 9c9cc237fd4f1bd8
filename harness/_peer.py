"""What runs in a peer: the workload, recorded, with the peer's faults in its way. Runs in a fork of the trial root."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import _eventlog as log
from . import _gate, _system
from ._latch import Latch
from ._nemesis import Nemesis
from .adapters import Adapter
from .faults import Fault
from .history import LOG_SUFFIX, NEMESIS_SUFFIX
from .triggers import Elapsed
from .workload import Workload

PRODUCER, CONSUMER = "producer", "consumer"
OUTPUT_SUFFIX, STACK_SUFFIX = ".output", ".stack"
TOKEN_BYTES = 2
CRASHED = 70  # EX_SOFTWARE of sysexits.h
# A peer that is asked where it is writes its stacks to its file, whatever it is blocked in.
STACK_SIGNAL = signal.SIGRTMAX if hasattr(signal, "SIGRTMAX") else signal.SIGUSR1
_NOTES_CAPACITY = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one peer is to do.

    index: what the messages of a producer carry.
    messages: how many a producer puts. A consumer goes on until it gets a message of the producer *last*.
    begin: opens when this peer may begin.
    token: what it is known by when it is ready.
    capacity: bytes of its event log.
    """

    name: str
    role: str
    index: int
    messages: int
    last: int
    begin: Latch
    token: int
    capacity: int
    faults: tuple[tuple[int, Fault], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What all peers of one trial share.

    ready: a descriptor that takes the token, in TOKEN_BYTES, of each peer which has opened the queue.
    """

    adapter: Adapter
    workload: Workload
    directory: Path
    ready: int


def recorder_of(stage: Stage, part: Part) -> log.Recorder:
    """Return the new event log of a peer; made before the fork, so that root and peer share it."""
    return log.Recorder(str(stage.directory / f"{part.name}{LOG_SUFFIX}"), part.capacity)


def run(stage: Stage, part: Part, recorder: log.Recorder, root: int) -> int:
    """Play one part to its end, and return the exit status of its process."""
    _system.die_with_parent(root)
    _redirect(stage.directory / f"{part.name}{OUTPUT_SUFFIX}")
    stacks = open(stage.directory / f"{part.name}{STACK_SUFFIX}", "w")
    faulthandler.register(STACK_SIGNAL, file=stacks, all_threads=True)
    notes = log.Recorder(str(stage.directory / f"{part.name}{NEMESIS_SUFFIX}"), _NOTES_CAPACITY)
    by_clock = any(isinstance(fault.at, Elapsed) for _, fault in part.faults)
    nemesis = Nemesis(part.name, part.faults, notes, watched=recorder if by_clock else None)
    notes.note(f="start", pid=os.getpid(), role=part.role)
    try:
        _play(stage, part, recorder, nemesis, notes)
    except BaseException as error:  # whatever a queue raises ends the peer, and is told
        notes.note(f="exit", code=CRASHED, error="".join(traceback.format_exception(_trimmed(error))))
        traceback.print_exc()
        return CRASHED
    finally:
        _gate.set_warden(None)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    notes.note(f="exit", code=0)
    return 0


def _play(stage: Stage, part: Part, recorder: log.Recorder, nemesis: Nemesis, notes: log.Recorder) -> None:
    adapter = stage.adapter
    before = _system.descriptors()
    if part.faults:
        _gate.set_warden(nemesis)
    nemesis.begins("open")
    end = adapter.open(part.role)
    _gate.real.write(stage.ready, part.token.to_bytes(TOKEN_BYTES, "little"))
    part.begin.wait()
    work: Callable[..., None] = _produce if part.role == PRODUCER else _consume
    work(stage, part, recorder, nemesis, end)
    nemesis.begins("close")
    adapter.close(end)
    _gate.set_warden(None)
    nemesis.tell_what_did_not_strike()
    del end
    _leaks(before, notes)


def _produce(stage: Stage, part: Part, recorder: log.Recorder, nemesis: Nemesis, end: Any) -> None:
    put, record, message = stage.adapter.put, recorder.append, stage.workload.message
    for number in range(part.messages):
        value = message(part.index, number)
        if part.faults:
            nemesis.begins(f"put {number + 1}")
        record(log.ENQUEUE_INVOKE, part.index, number)
        put(end, value)
        record(log.ENQUEUE_OK, part.index, number)
        if part.faults:
            nemesis.ended(number + 1)


def _consume(stage: Stage, part: Part, recorder: log.Recorder, nemesis: Nemesis, end: Any) -> None:
    get, record, explain = stage.adapter.get, recorder.append, stage.workload.explain
    count, producer = 0, -1
    while producer != part.last:
        if part.faults:
            nemesis.begins(f"get {count + 1}")
        record(log.DEQUEUE_INVOKE)
        got = get(end)
        explained = explain(got)
        if explained is None:
            record(log.DEQUEUE_OK, text=f"?{got!r:.200}".encode())
        else:
            producer, number, defect = explained
            record(log.DEQUEUE_OK, producer, number, defect.encode() if defect else b"")
        count += 1
        if part.faults:
            nemesis.ended(count)


def _redirect(path: Path) -> None:
    """Send this process's output, C code's included, to a file of its own."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)


def _leaks(before: dict[int, str], notes: log.Recorder) -> None:
    """Record what is open or alive after the queue was closed and was not before it was opened."""
    for descriptor, what in _system.descriptors().items():
        if descriptor not in before:
            notes.note(f="leak", kind="descriptor", what=f"{descriptor} ({what})")
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            notes.note(f="leak", kind="thread", what=thread.name)


def _trimmed(error: BaseException) -> BaseException:
    """Return the error without the harness's own frames at the outer end of its traceback."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return error.with_traceback(trace)
