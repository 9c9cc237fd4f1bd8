"""The trial root: makes the queue, forks the peers, watches over them, heals, and leaves nothing behind.

One process a trial, forked by the ancestor, at the head of a process group of its own. It never puts or gets, so that
no queue can make it hang in the middle. How it goes on follows from who is alive, not from a clock:

* when no producer of the workload is left, or no consumer, a fresh consumer opens the queue;
* when no producer is left, a fresh one puts a last message for every consumer. Where the plan has faults it puts one,
  and the next whenever a consumer has ended and others wait, or may still come: two that share a packet would go to one
  consumer, and those of consumers that were killed could fill a small pipe. It closes the queue when nobody waits for
  more, or nobody moves: a message may come only then. Another fresh one puts the next;
* a consumer ends at the first such message that it gets;
* when no consumer of the workload is left, the fresh one begins, and takes what there is, up to a last message.

That is the heal: it ends an orderly trial at once, and proves that the queue still works for newcomers.

A queue for so many consumers and no more gets the fresh one when there is room for it.

A queue may hand out the last message before others: one that promises no order, or none among producers. So when all
have ended and more is missing than the dead may have taken along, one more consumer drains the queue: it takes what
comes, until all is there or nothing comes for a while, and ends at a last message that is put only then.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import pickle
import select
import shutil
import signal
import socket
import stat
import time
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

from . import _eventlog as log
from . import _nemesis, _peer, _stacks, _system
from ._files import (
    ADAPTER_FILE,
    LOG_SUFFIX,
    NEMESIS_SUFFIX,
    OUTPUT_SUFFIX,
    PLAN_FILE,
    QUEUE_DIRECTORY,
    ROOT,
    ROOT_OUTPUT_FILE,
    ROOT_STACK_FILE,
    STACK_SUFFIX,
    SURROUNDINGS_FILE,
)
from ._found import MAKER, Found
from ._latch import Latch, Permits
from ._loading import loading
from ._outside import Outside
from ._wakeup import Wakeup
from .adapters import Adapter, load
from .faults import Shrink
from .plan import (
    DRAIN_CONSUMER,
    HEAL_CONSUMER,
    HEAL_PRODUCER,
    HEAL_PRODUCERS,
    MOST_PEERS,
    Plan,
    producer_indices,
    replacement_of,
)
from .workload import Workload

_TICK_S = 0.05
# How a peer ends that could not even tell how it ended.
_UNTOLD = 1
_LONGEST_PACKET = 1 << 10
# For helpers of a queue that end by themselves once its last user has gone.
_GRACE_S = 1.0
# After how long without a message a queue that is drained has no more.
_DRAINED_S = 1.0
# How often that is looked at; one who sleeps as long as a few looks take waits in vain.
_DRAIN_TICK_S = 0.01
_SLACK = 1 << 20


class Orphaned(BaseException):
    """The ancestor is gone: nobody wants to know any more."""


def main(directory: Path, control: socket.socket, ancestor: int) -> int:
    """Run the trial whose plan is in *directory*, and return the exit status of this process."""
    signal.signal(signal.SIGHUP, orphaned)
    try:
        _system.die_with_parent(ancestor, signal.SIGHUP)
        _system.adopt_orphans()
        _system.redirect(directory / ROOT_OUTPUT_FILE)
        adopt_surroundings(directory)
        _stacks.tell(directory / ROOT_STACK_FILE)  # an adapter's make() or destroy() may not return
        with Wakeup(signal.SIGCHLD) as wakeup:
            _Trial(directory, control, wakeup).run()
    except Orphaned:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        end_children()
        shutil.rmtree(directory, ignore_errors=True)
        return 1
    except BaseException:  # the client shows it; peers end with this process
        _system.say(traceback.format_exc())
        end_children()
        return 1
    finally:
        _system.flush()
    return 0


def orphaned(_number: int, _frame: object) -> None:
    raise Orphaned


def adopt_surroundings(directory: Path) -> None:
    """Take over the client's environment and working directory, if they have changed since it started the ancestor."""
    try:
        since = json.loads((directory / SURROUNDINGS_FILE).read_text())
    except FileNotFoundError:
        return
    for name in since["gone"]:
        os.environ.pop(name, None)
    os.environ.update(since["changed"])
    if since["directory"] is not None:
        os.chdir(since["directory"])


class Parent:
    """Who this process works for: the ancestor. To be asked now and then, for what a signal's handler raises is ignored
    by a callback after a fork, and by a destructor.
    """

    def __init__(self) -> None:
        self._pid = os.getppid()

    def check(self) -> None:
        """Raise Orphaned if it is gone."""
        if os.getppid() != self._pid:
            raise Orphaned


def end_children() -> list[int]:
    """Kill and reap whatever this process has below it, adopted orphans included, and return the pids."""
    ended: list[int] = []
    while pids := _system.children():
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            os.waitpid(pid, 0)
        ended += pids
    return ended


class _Trial:
    """One run of one plan."""

    def __init__(self, directory: Path, control: socket.socket, wakeup: Wakeup) -> None:
        self._directory = directory
        self._control = control
        self._wakeup = wakeup
        self._plan = Plan.loads((directory / PLAN_FILE).read_text(), source=str(directory / PLAN_FILE))
        self._most = len(self._plan.peers) + len(self._plan.replacements) + 1
        # Each may be told of, and the heal may need a producer for every consumer.
        capacity = _SLACK + 2 * self._most * _stacks.MOST_BYTES
        self._notes = log.Recorder(str(directory / f"{ROOT}{NEMESIS_SUFFIX}"), capacity)
        self._alive: dict[int, _peer.Part] = {}
        self._recorders: dict[str, log.Recorder] = {}
        self._is_ready: set[int] = set()
        self._last_messages = 0
        self._permits: Permits | None = None  # of the producer of last messages, while it may get more
        # Whether a consumer has ended since the last message was on its way: whoever gets that one ends.
        self._has_ended = True
        # Last messages go one by one where a peer may be killed, and where one consumer has to make room for the next.
        self._one_by_one = bool(self._plan.faults)
        self._received_last = 0
        self._drained: Latch | None = None  # of the consumer that drains the queue, once there is one
        self._seen_draining: tuple[int, str] = 0, ""
        # How many messages those that were killed may have taken along, and whether one of them was putting one.
        self._excused: float = 0
        self._was_put_in_part = False
        self._harness_kills = False
        self._interrupted = False
        self._parent = Parent()

    def run(self) -> None:
        queue = self._directory / QUEUE_DIRECTORY
        queue.mkdir()
        adapter = _adapter(self._directory, self._plan)
        found = Found(self._plan, adapter, queue)
        self._most_consumers = adapter.guarantees.most_consumers
        self._one_by_one |= self._most_consumers is not None
        found.meet(self._notes, self._directory)
        with _blaming("the adapter's make() failed"):
            adapter.make(queue)
        fifo = adapter.fifo(queue)
        if fifo is not None and fifo == adapter.fifo(queue.with_name("another")):
            self._notes.note(f="shared", process=MAKER, what=f"FIFO {fifo}")
        self._ready, ready = os.pipe()
        self._begin, self._heal_begin, self._last_begin = Latch(), Latch(), Latch()
        self._stage = _peer.Stage(
            adapter=adapter,
            workload=Workload(self._plan.seed, large_every=self._plan.large_every, types=adapter.guarantees.types),
            directory=self._directory,
            ready=ready,
            fifo=fifo,
            seed=self._plan.seed,
        )
        self._outside = Outside(self._plan.faults, self._notes, self._stage.scene)
        for index, fault in enumerate(self._plan.faults):
            if isinstance(fault, Shrink):
                self._notes.note(f="strike", process=fault.peer, fault=index, inside=None)
                fault.strike(self._stage.scene(os.getpid()))
        self._poll = select.poll()
        for descriptor in (self._ready, self._control.fileno(), self._wakeup.fileno()):
            self._poll.register(descriptor, select.POLLIN)
        for name in self._plan.peers:
            self._start(name, self._plan.messages)
        self._conduct()
        self._outside.tell_what_did_not_strike()
        self._kill_alive()
        self._lift()  # what struck after the heal had begun
        with _blaming("the adapter's destroy() failed"):
            adapter.destroy()
        found.leave(self._notes)
        self._leaks(queue)
        shutil.rmtree(queue, ignore_errors=True)

    def _start(self, name: str, messages: int, first: int = 0) -> None:
        plan = self._plan
        producers = producer_indices(plan)
        heal = producers[HEAL_PRODUCER]
        is_producer = name in producers or name.startswith(HEAL_PRODUCERS)
        # A get that failed is tried again.
        operations = messages if is_producer else 2 * plan.messages * plan.producers
        part = _peer.Part(
            name=name,
            role=_peer.PRODUCER if is_producer else _peer.CONSUMER,
            producer=producers.get(name, heal),
            first=first,
            messages=messages,
            last=heal,
            begin=self._begin_of(name),
            drained=self._drained if name == DRAIN_CONSUMER else None,
            permits=self._permits if name.startswith(HEAL_PRODUCERS) else None,
            token=len(self._recorders),
            capacity=_SLACK + log.room_for(operations),
            faults=tuple((index, fault) for index, fault in enumerate(plan.faults) if fault.peer == name),
        )
        recorder = _peer.recorder_of(self._stage, part)
        root = os.getpid()
        pid = os.fork()
        if pid == 0:
            status = _UNTOLD
            try:
                signal.signal(signal.SIGHUP, signal.SIG_DFL)
                self._wakeup.close()
                self._control.close()
                self._begin.forget()
                self._heal_begin.forget()
                self._last_begin.forget()
                if self._permits is not None:
                    self._permits.forget()
                if self._drained is not None:
                    self._drained.forget()
                status = _peer.run(self._stage, part, recorder, root)
            finally:
                os._exit(status)
        self._alive[pid] = part
        self._outside.started(pid, name, recorder)
        self._recorders[name] = recorder

    def _begin_of(self, name: str) -> Latch:
        """Return what a peer waits for before it begins."""
        if name in (HEAL_CONSUMER, DRAIN_CONSUMER):
            return self._heal_begin
        return self._last_begin if name.startswith(HEAL_PRODUCERS) else self._begin

    def _conduct(self) -> None:
        """See the trial through: to its end, to where nobody moves, or to its deadline."""
        watch = _Watch(self._plan)
        seen: tuple[int, ...] = ()
        while True:
            self._advance()
            if not self._alive and not self._drain():
                return
            self._events()
            watch.look()
            self._reap()
            if self._outside.act() or any(recorder.is_delayed() for recorder in self._recorders.values()):
                watch.moved()
            now = (
                len(self._alive),
                len(self._is_ready),
                sum(recorder.whole() for recorder in self._recorders.values()),
            )
            if now != seen:
                seen = now
                watch.moved()
            if self._drained is not None and self._is_draining():
                if self._looks_drained(watch):
                    self._drained.open()
                    watch.moved()
            elif watch.pausing():
                self._end_permits()
            if self._drained is not None and self._drained.is_open and watch.idle_s() > _DRAINED_S:
                return  # the heal is over, and showed what it could: to drain is a favour, and no test
            if watch.still() or self._interrupted:
                self._tell_where("where" if self._interrupted else "stuck", watch)
                return
            if watch.over():
                self._notes.note(f="deadline", seconds=self._plan.deadline_s)
                self._tell_where("where", watch)
                return

    def _advance(self) -> None:
        """Let the peers begin, and start those of the heal, each when it is time for it."""
        if any(part.token not in self._is_ready for part in self._alive.values()):
            return
        if not self._begin.is_open:
            self._prepare()
            self._begin.open()
        self._outside.begin()
        workload = self._plan.peers + self._plan.replacements
        producers, consumers = self._count(_peer.PRODUCER, workload), self._count(_peer.CONSUMER, workload)
        is_room = self._most_consumers is None or self._count(_peer.CONSUMER) < self._most_consumers
        if (not producers or not consumers) and HEAL_CONSUMER not in self._recorders and is_room:
            self._lift()
            # It opens the queue before the last of the others closes it: some queues keep nothing that nobody holds.
            self._start(HEAL_CONSUMER, 0)
            if not producers and not self._last_begin.is_open:
                self._put_last_messages()  # once everybody is ready; to start both at once saves a while
            return
        if HEAL_CONSUMER in self._recorders or not is_room:
            self._last_begin.open()
        if not producers and not self._is_draining():
            self._put_last_messages()
        if not consumers:
            self._heal_begin.open()

    def _put_last_messages(self) -> None:
        """Have a last message put when it is time for one, by the producer that is there, or by a fresh one.

        With faults: while no consumer has ended since the last one, that message is still there. It may be there
        although one has, who was killed; that is one too many then.
        """
        consumers = self._count(_peer.CONSUMER) + self._to_come(_peer.CONSUMER)
        if not consumers:
            self._end_permits()
        done = self._last_messages and not self._one_by_one
        if done or not consumers or not self._has_ended or self._is_putting():
            return
        self._lift()
        self._has_ended = False
        messages = 1 if self._one_by_one else consumers
        self._last_permits().give(messages)
        self._last_messages += messages
        if not self._one_by_one:
            self._end_permits()

    def _last_permits(self) -> Permits:
        """Return what the producer of last messages may do; start one if there is none."""
        if self._permits is None:
            self._permits = Permits()
            self._start(f"{HEAL_PRODUCERS}{self._last_messages}", self._most, self._last_messages)
        return self._permits

    def _is_putting(self) -> bool:
        """Whether the producer of last messages has yet to put one that it may, or to close the queue."""
        producer = next((part.name for part in self._alive.values() if part.role == _peer.PRODUCER), None)
        if producer is None:
            return False
        return self._permits is None or self._recorders[producer].count(log.ENQUEUE_OK) < self._permits.given

    def _end_permits(self) -> None:
        """Have the producer of last messages close the queue, once it has put what it may."""
        if self._permits is not None:
            self._permits.end()
            self._permits = None

    def _drain(self) -> bool:
        """Have one more consumer drain the queue, if none has and more is missing than the dead may have taken along;
        return whether there is one now. With it opens a producer, which puts nothing yet: some queues open in pairs.
        """
        if self._drained is not None or self._is_balanced() or self._missing() <= self._excused:
            return False
        self._drained = Latch()
        self._one_by_one = True
        self._has_ended = True
        self._start(DRAIN_CONSUMER, 0)
        self._last_permits()
        return True

    def _is_draining(self) -> bool:
        return self._drained is not None and not self._drained.is_open

    def _looks_drained(self, watch: _Watch) -> bool:
        """Whether all is there, or nothing comes any more, as far as can be seen."""
        pid = next((pid for pid, part in self._alive.items() if part.name == DRAIN_CONSUMER), None)
        if pid is None:
            return True
        before, whole = self._seen_draining, self._recorders[DRAIN_CONSUMER].whole()
        used = _system.asleep(pid)
        self._seen_draining = whole, used
        if whole != before[0] and not self._missing():
            return True
        if self._stage.adapter.guarantees.order == "none":
            # It may hand out once more, after a while, what somebody took and did not confirm.
            return watch.idle_s() > max(_DRAINED_S, self._plan.patience_s)
        asleep = bool(used) and before == self._seen_draining and watch.idle_s() > 3 * _DRAIN_TICK_S
        return asleep or watch.idle_s() > _DRAINED_S

    def _is_balanced(self) -> bool:
        """Whether all is there for certain, by the numbers of events alone, which is quick."""
        if self._stage.adapter.guarantees.duplicates or self._was_put_in_part:
            return False
        put = got = 0
        for name, recorder in self._recorders.items():
            put += recorder.count(log.ENQUEUE_OK) if not name.startswith(HEAL_PRODUCERS) else 0
            got += recorder.count(log.DEQUEUE_OK)
        return put == got - self._received_last

    def _missing(self) -> int:
        """Return how many messages of the workload have been put and not been received."""
        return len(self._messages(log.ENQUEUE_OK) - self._messages(log.DEQUEUE_OK))

    def _messages(self, code: int) -> set[tuple[int, int]]:
        """Return the messages of the workload of which there is such an event."""
        heal = producer_indices(self._plan)[HEAL_PRODUCER]
        paths = [str(self._directory / f"{name}{LOG_SUFFIX}") for name in self._recorders]
        records = itertools.chain.from_iterable(map(log.read_records, paths))
        return {(each.producer, each.number) for each in records if each.code == code and each.producer != heal}

    def _count(self, role: str, names: Iterable[str] | None = None) -> int:
        """Return how many peers of a role are alive, of all or of those named."""
        return sum(part.role == role and (names is None or part.name in names) for part in self._alive.values())

    def _to_come(self, role: str) -> int:
        """Return how many replacements of a role may still start. Whom they replace may die with a last message."""
        return sum(name.startswith(role) and name not in self._recorders for name in self._plan.replacements)

    def _events(self) -> None:
        """Wait until something happens, or a tick has passed."""
        self._parent.check()
        tick_s = _DRAIN_TICK_S if self._is_draining() else _TICK_S
        for descriptor, _ in self._poll.poll(self._outside.wait_s(tick_s) * 1000):
            if descriptor == self._control.fileno():
                if not self._control.recv(_LONGEST_PACKET):
                    raise Orphaned
                self._interrupted = True  # the one thing that the client says
            if descriptor == self._ready:
                tokens = os.read(self._ready, _peer.TOKEN_BYTES * MOST_PEERS)
                starts = range(0, len(tokens), _peer.TOKEN_BYTES)
                self._is_ready |= {int.from_bytes(tokens[at : at + _peer.TOKEN_BYTES], "little") for at in starts}
        self._wakeup.clear()

    def _prepare(self) -> None:
        """Let the faults strike that may do so only once everybody has the queue open."""
        for fault in self._plan.faults:
            if fault.needs_fifo:
                fault.prepare(self._stage.scene(os.getpid()))

    def _lift(self) -> None:
        """Undo what a newcomer would meet: faults that outlast their strike befall those who were there."""
        for fault in self._plan.faults:
            if fault.needs_fifo:
                fault.lift(self._stage.scene(os.getpid()))

    def _reap(self) -> None:
        """Take note of the peers that have ended."""
        for pid, part in tuple(self._alive.items()):
            reaped, status = os.waitpid(pid, os.WNOHANG)
            if reaped:
                self._ended(pid, part, status)
                self._replace(part)

    def _replace(self, part: _peer.Part) -> None:
        """Start the peer that takes the place of one that was killed, if the plan has one."""
        name = replacement_of(part.name)
        if name in self._plan.replacements and name not in self._recorders:
            self._lift()
            self._start(name, part.messages - self._recorders[part.name].count(log.ENQUEUE_INVOKE))

    def _ended(self, pid: int, part: _peer.Part, status: int) -> None:
        del self._alive[pid]
        self._outside.ended(pid)
        self._has_ended |= part.role == _peer.CONSUMER
        if part.permits is not None:
            self._end_permits()
        if self._recorders[part.name].is_full():
            self._notes.note(f="full", process=part.name)
        code = os.waitstatus_to_exitcode(status)
        # A consumer ends in order when it has received a last message.
        self._received_last += part.role == _peer.CONSUMER and code == 0
        if code != 0:
            self._excuse(part)
        output = _stacks.tail(self._directory / f"{part.name}{OUTPUT_SUFFIX}")
        if output:
            self._notes.note(f="output", process=part.name, text=output)
        if code < 0:
            name = _system.signal_name(-code)
            by_harness = {"by_harness": True} if self._harness_kills else {}
            self._notes.note(
                f="exit",
                process=part.name,
                signal=name,
                **by_harness,
                **({"error": output} if output else {}),
            )
        elif not self._recorders[part.name].exit_is_noted():
            self._notes.note(f="exit", process=part.name, code=code, untold=True)

    def _excuse(self, part: _peer.Part) -> None:
        """Take note of what a peer that did not end in order may have taken along."""
        recorder, guarantees = self._recorders[part.name], self._stage.adapter.guarantees
        cost: float | None = 0
        if part.role == _peer.PRODUCER:
            done = recorder.count(log.ENQUEUE_OK) + recorder.count(log.ENQUEUE_FAIL)
            self._was_put_in_part |= recorder.count(log.ENQUEUE_INVOKE) > done
            cost = guarantees.killed_producer_may_cost
        elif recorder.count(log.DEQUEUE_INVOKE) > recorder.count(log.DEQUEUE_OK) + recorder.count(log.DEQUEUE_FAIL):
            cost = guarantees.killed_consumer_may_cost
        self._excused += math.inf if cost is None else cost

    def _tell_where(self, f: str, watch: _Watch) -> None:
        """Ask every peer that should move where it is: nobody has for too long, or nobody wants to wait any more."""
        for pid, part in self._alive.items():
            if part.token in self._is_ready and not part.begin.is_open:
                continue  # it has not been told to begin
            stacks = _stacks.of(pid, self._directory / f"{part.name}{STACK_SUFFIX}")
            self._notes.note(
                f=f,
                process=part.name,
                seconds=round(watch.idle_s(), 3),
                stack=_nemesis.trim(stacks[-1]) if stacks else [],
                others=[_nemesis.trim(stack) for stack in stacks[:-1]],
            )

    def _kill_alive(self) -> None:
        self._harness_kills = bool(self._alive)
        for pid, part in tuple(self._alive.items()):
            os.kill(pid, signal.SIGKILL)
            self._ended(pid, part, os.waitpid(pid, 0)[1])

    def _leaks(self, queue: Path) -> None:
        """Record what is still there. After kills of the harness's own, files prove nothing; processes do."""
        end = time.monotonic() + _GRACE_S
        while (alive := self._orphans()) and time.monotonic() < end:
            self._events()
        end_children()
        for pid, command in alive.items():
            self._notes.note(f="leak", kind="process", what=f"{pid} ({command})")
        for found in sorted(queue.rglob("*")) if not self._harness_kills else ():
            kind = "FIFO" if stat.S_ISFIFO(found.lstat().st_mode) else "file"
            self._notes.note(f="leak", kind=kind, what=str(found.relative_to(queue)))

    @staticmethod
    def _orphans() -> dict[int, str]:
        """Return the living processes that peers left behind, and what they call themselves."""
        return {pid: command for pid in _system.children() if (command := _system.command_line(pid))}


class _Watch:
    """For how long nobody has moved, and for how long the trial runs."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._began = self._last = self._looked = time.monotonic()
        self._seen_still_s = 0.0

    def look(self) -> None:
        """Take note that time has passed. While this process did not run, the peers may not have either."""
        now = time.monotonic()
        self._seen_still_s += min(now - self._looked, 2 * _TICK_S)
        self._looked = now

    def moved(self) -> None:
        self._last = time.monotonic()
        self._seen_still_s = 0.0

    def idle_s(self) -> float:
        return time.monotonic() - self._last

    def still(self) -> bool:
        return self._seen_still_s > self._plan.patience_s

    def pausing(self) -> bool:
        # A fresh producer of last messages takes less than it takes to notice that one is needed.
        return self._seen_still_s > _TICK_S

    def over(self) -> bool:
        return time.monotonic() - self._began > self._plan.deadline_s


@contextlib.contextmanager
def _blaming(what: str) -> Iterator[None]:
    """Say first whose error it is that goes through here."""
    try:
        yield
    except Exception:
        _system.say(f"{what}:\n")  # the client shows it
        raise


def _adapter(directory: Path, plan: Plan) -> Adapter:
    """Return the adapter that travelled with the plan, or the one which it names."""
    try:
        data = (directory / ADAPTER_FILE).read_bytes()
    except FileNotFoundError:
        with loading():
            return load(plan.queue)
    with loading():
        (adapter,) = pickle.loads(data)
    assert isinstance(adapter, Adapter), adapter
    return adapter
