"""What runs in a peer: the workload, recorded, with the peer's faults in its way. Runs in a fork of the trial root."""

from __future__ import annotations

import itertools
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from . import _eventlog as log
from . import _forked, _gate, _stacks, _system
from ._files import LOG_SUFFIX, NEMESIS_SUFFIX, OUTPUT_SUFFIX, STACK_SUFFIX
from ._latch import Latch, Permits
from ._nemesis import Nemesis, chain
from .adapters import Adapter
from .faults import Fault, Scene
from .workload import Workload

PRODUCER, CONSUMER = "producer", "consumer"
TOKEN_BYTES = 2
CRASHED = 70  # EX_SOFTWARE of sysexits.h
_NOTES_CAPACITY = 1 << 20
_CENSUS_CAPACITY = 1 << 25
# Of a traceback, the end.
_LONGEST_TRACE = 1 << 16
# How often in a row an operation may fail because of faults; then it is let through.
_ATTEMPTS = 100


class Part(NamedTuple):
    """What one peer is to do.

    producer: what the messages of a producer carry.
    first: the number of the first of them.
    messages: how many a producer puts. A consumer goes on until it gets a message of the producer *last*.
    begin: opens when this peer may begin.
    drained: a consumer that has one takes no notice of last messages before it opens.
    permits: one is taken for each message, and none put when there are no more; None for who needs no leave.
    token: what it is known by when it is ready.
    capacity: bytes of its event log.
    """

    name: str
    role: str
    producer: int
    first: int
    messages: int
    last: int
    begin: Latch
    drained: Latch | None
    permits: Permits | None
    token: int
    capacity: int
    faults: tuple[tuple[int, Fault], ...]


class Stage(NamedTuple):
    """What all peers of one trial share.

    ready: a descriptor that takes the token, in TOKEN_BYTES, of each peer which has opened the queue.
    fifo: where the queue has its FIFO, if it has one.
    """

    adapter: Adapter
    workload: Workload
    directory: Path
    ready: int
    fifo: Path | None
    seed: int

    def scene(self, pid: int) -> Scene:
        """Return where a fault strikes that befalls the peer with this pid."""
        return Scene(pid, self.fifo, self.directory)


def recorder_of(stage: Stage, part: Part) -> log.Recorder:
    """Return the new event log of a peer; made before the fork, so that root and peer share it."""
    return log.Recorder(f"{stage.directory}/{part.name}{LOG_SUFFIX}", part.capacity, part.token + 1)


def run(stage: Stage, part: Part, recorder: log.Recorder, root: int) -> int:
    """Play one part to its end, and return the exit status of its process."""
    _system.die_with_parent(root)
    files = f"{stage.directory}/{part.name}"
    _system.redirect(f"{files}{OUTPUT_SUFFIX}")
    _system.interruptible()
    _stacks.tell(f"{files}{STACK_SUFFIX}")
    strikes = recorder
    if part.faults:  # which may strike in any thread: a recorder is one thread's
        capacity = sum(_CENSUS_CAPACITY if fault.counts else _NOTES_CAPACITY for _, fault in part.faults)
        strikes = log.Recorder(f"{files}{NEMESIS_SUFFIX}", capacity)
    nemesis = Nemesis(
        part.name,
        part.faults,
        strikes,
        stage.scene(os.getpid()),
        recorder,
        seed=stage.seed,
        watched=any(fault.at.by_clock for _, fault in part.faults),
    )
    _forked.begin(recorder, strikes)
    recorder.note(f="start", pid=os.getpid(), role=part.role)
    try:
        _play(stage, part, recorder, nemesis)
        recorder.note_exit(code=0)
    except BaseException as error:  # whatever a queue raises ends the peer, and is told
        _gate.set_warden(None)
        _forked.end(error)
        trace = "".join(traceback.format_exception(_stacks.without_harness(error)))
        # What ends a process and no operation, KeyboardInterrupt or SystemExit, may come of a signal.
        interrupted = any(not isinstance(each, Exception) for each in chain(error))
        recorder.note_exit(
            code=CRASHED,
            error=trace[-_LONGEST_TRACE:],
            headline=log.brief(_stacks.headline(error)).decode(),
            **({"interrupted": True} if interrupted else {}),
        )
        return CRASHED
    finally:
        _gate.set_warden(None)
        if strikes.is_full():
            recorder.leave_full()
        _system.flush()
    return 0


def _play(stage: Stage, part: Part, recorder: log.Recorder, nemesis: Nemesis) -> None:
    adapter = stage.adapter
    before = set(_system.descriptors())
    if part.faults:
        _gate.set_warden(nemesis)
        nemesis.starts()
    nemesis.begins("open")
    end = _insistently(nemesis, adapter.open, part.role)
    _gate.real.write(stage.ready, part.token.to_bytes(TOKEN_BYTES, "little"))
    part.begin.wait()
    work: Callable[..., int] = _produce if part.role == PRODUCER else _consume
    opened = work(stage, part, recorder, nemesis, end)
    now = _count_descriptors()
    if opened and now > opened:
        recorder.note(f="grown", opened=opened, now=now)
    nemesis.begins("close")
    # What a close(2) that failed was to close is closed all the same. Who tries again closes what may be another's by
    # then, and what else is open nobody can say.
    _insistently(nemesis, adapter.close, end, gives_up=lambda: nemesis.has_failed_to_close)
    _gate.set_warden(None)
    nemesis.lift()
    nemesis.tell_what_did_not_strike()
    del end
    if not nemesis.has_failed_to_close:
        _leaks(before, recorder)


def _count_descriptors() -> int:
    """Return how many descriptors are open, or 0 where a fault leaves none to look with."""
    try:
        return _system.count_descriptors()
    except OSError:
        return 0


def _insistently(
    nemesis: Nemesis, operation: Callable[[Any], Any], argument: Any, gives_up: Callable[[], bool] = lambda: False
) -> Any:
    """Open or close the queue, and try again where that failed because of a fault, unless it *gives_up* then."""
    for attempt in itertools.count(1):
        nemesis.spare(attempt > _ATTEMPTS)
        try:
            result = operation(argument)
        except Exception as error:
            _forked.end(error)
            # Spared, it can fail of what lasts, which is lifted then: of each such fault once.
            if attempt > 2 * _ATTEMPTS or not nemesis.excuses(error):
                raise
            if gives_up():
                result = None
                break
        else:
            break
    _forked.end()
    nemesis.spare(False)
    return result


def _produce(stage: Stage, part: Part, recorder: log.Recorder, nemesis: Nemesis, end: Any) -> int:
    """Put messages, and return how many descriptors were open after the first: whatever is kept is opened by then."""
    put, record, message = stage.adapter.put, recorder.append, stage.workload.message
    opened: int | None = None
    for number in range(part.first, part.first + part.messages):
        if part.permits is not None and not part.permits.take():
            break
        value = message(part.producer, number)
        if part.faults:
            nemesis.begins(f"put {number + 1}", number + 1)
        record(log.ENQUEUE_INVOKE, part.producer, number)
        try:
            put(end, value)
        except Exception as error:
            _forked.end(error)
            if not nemesis.excuses(error):
                raise
            record(log.ENQUEUE_FAIL, part.producer, number, log.brief(repr(error)))
            continue
        record(log.ENQUEUE_OK, part.producer, number)
        if opened is None:
            opened = _count_descriptors()
        if part.faults:
            nemesis.ended(number + 1)
    return opened or 0


def _consume(stage: Stage, part: Part, recorder: log.Recorder, nemesis: Nemesis, end: Any) -> int:
    """Get messages, and return how many descriptors were open after the first: whatever is kept is opened by then."""
    get, record, explain = stage.adapter.get, recorder.append, stage.workload.explain
    count, producer, failures = 0, -1, 0
    opened: int | None = None
    while producer != part.last or not (part.drained is None or part.drained.look()):
        if part.faults:
            nemesis.begins(f"get {count + 1}", count + 1)
        record(log.DEQUEUE_INVOKE)
        try:
            got = get(end)
        except Exception as error:
            _forked.end(error)
            if not nemesis.excuses(error):
                raise
            record(log.DEQUEUE_FAIL, text=log.brief(repr(error)))
            failures += 1
            nemesis.spare(failures >= _ATTEMPTS)
            continue
        if failures:
            failures = 0
            nemesis.spare(False)
        explained = explain(got)
        if explained is None:
            record(log.DEQUEUE_OK, text=log.brief(f"?{got!r:.200}"))
        else:
            producer, number, defect = explained
            record(log.DEQUEUE_OK, producer, number, log.brief(defect) if defect else b"")
        count += 1
        if opened is None:
            opened = _count_descriptors()
        if part.faults:
            nemesis.ended(count)
    return opened or 0


def _leaks(before: set[int], recorder: log.Recorder) -> None:
    """Record what is open or alive after the queue was closed and was not before it was opened."""
    threads = _system.lasting_threads()  # first: what has ended has closed what it had
    for descriptor, what in _system.descriptors(before | _system.descriptors_of_library()).items():
        recorder.note(f="leak", kind="descriptor", what=f"{descriptor} ({what})")
    for thread in threads:
        recorder.note(f="leak", kind="thread", what=thread)
