"""The trial root: makes the queue, forks the peers, watches over them, heals, and leaves nothing behind.

One process a trial, forked by the ancestor, at the head of a process group of its own. It never puts or gets, so that
no queue can make it hang in the middle. How it goes on follows from who is alive, not from a clock:

* when no producer of the workload is left, or no consumer, a fresh consumer opens the queue;
* when no producer is left, a fresh one puts a last message for every consumer;
* a consumer ends at the first such message that it gets;
* when no consumer of the workload is left, the fresh one begins, and takes what there is, up to a last message.

That is the heal: it ends an orderly trial at once, and proves that the queue still works for newcomers.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import select
import shutil
import signal
import socket
import stat
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path

from . import _eventlog as log
from . import _gate, _nemesis, _peer, _system
from ._latch import Latch
from ._wakeup import Wakeup
from .adapters import Adapter, load
from .history import LOG_SUFFIX, NEMESIS_SUFFIX, producer_indices
from .plan import HEAL_CONSUMER, HEAL_PRODUCER, MOST_PEERS, Plan, replacement_of
from .triggers import Elapsed
from .workload import Workload

PLAN_FILE, ADAPTER_FILE, OUTPUT_FILE = "plan.json", "adapter.pickle", "root.output"
# Made before peers exist, and checked for leftovers when they are gone.
QUEUE_DIRECTORY = "queue"
_TICK_S = 0.05
_STACK_S = 2.0
# For helpers of a queue that end by themselves once its last user has gone.
_GRACE_S = 1.0
_SLACK = 1 << 20


class Orphaned(BaseException):
    """The ancestor is gone: nobody wants to know any more."""


def main(directory: Path, control: socket.socket, ancestor: int) -> int:
    """Run the trial whose plan is in *directory*, and return the exit status of this process."""
    signal.signal(signal.SIGHUP, _orphaned)
    try:
        _system.die_with_parent(ancestor, signal.SIGHUP)
        _system.adopt_orphans()
        output = os.open(directory / OUTPUT_FILE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.close(output)
        with Wakeup(signal.SIGCHLD) as wakeup:
            _Trial(directory, control, wakeup).run()
    except Orphaned:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        end_children()
        shutil.rmtree(directory, ignore_errors=True)
        return 1
    except BaseException:  # the client shows it; peers end with this process
        traceback.print_exc()
        end_children()
        return 1
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    return 0


def _orphaned(_number: int, _frame: object) -> None:
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
        self._notes = log.Recorder(str(directory / f"root{NEMESIS_SUFFIX}"), _SLACK)
        self._alive: dict[int, _peer.Part] = {}
        self._recorders: dict[str, log.Recorder] = {}
        self._due: list[tuple[float, int, str]] = []
        self._is_ready: set[int] = set()
        self._scheduled: set[int] = set()
        self._harness_kills = False

    def run(self) -> None:
        queue = self._directory / QUEUE_DIRECTORY
        queue.mkdir()
        adapter = _adapter(self._directory, self._plan)
        with _blaming("the adapter's make() failed"):
            adapter.make(queue)
        self._ready, ready = os.pipe()
        self._begin, self._heal_begin = Latch(), Latch()
        self._stage = _peer.Stage(
            adapter=adapter,
            workload=Workload(self._plan.seed, large_every=self._plan.large_every, types=adapter.guarantees.types),
            directory=self._directory,
            ready=ready,
        )
        self._poll = select.poll()
        for descriptor in (self._ready, self._control.fileno(), self._wakeup.fileno()):
            self._poll.register(descriptor, select.POLLIN)
        for name in self._plan.peers:
            self._start(name, self._plan.messages)
        self._conduct()
        self._kill_alive()
        with _blaming("the adapter's destroy() failed"):
            adapter.destroy()
        self._leaks(queue)
        shutil.rmtree(queue, ignore_errors=True)

    def _start(self, name: str, messages: int) -> None:
        plan = self._plan
        producers = producer_indices(plan)
        is_producer = name in producers
        part = _peer.Part(
            name=name,
            role=_peer.PRODUCER if is_producer else _peer.CONSUMER,
            index=producers.get(name, 0),
            messages=messages,
            last=producers[HEAL_PRODUCER],
            begin=self._heal_begin if name == HEAL_CONSUMER else self._begin,
            token=len(self._recorders),
            capacity=_SLACK + log.RECORD.size * (2 * messages if is_producer else 4 * plan.messages * plan.producers),
            faults=tuple((index, fault) for index, fault in enumerate(plan.faults) if fault.peer == name),
        )
        recorder = _peer.recorder_of(self._stage, part)
        root = os.getpid()
        pid = os.fork()
        if pid == 0:
            status = _peer.CRASHED
            try:
                signal.signal(signal.SIGHUP, signal.SIG_DFL)
                self._wakeup.close()
                self._control.close()
                self._begin.forget()
                self._heal_begin.forget()
                status = _peer.run(self._stage, part, recorder, root)
            finally:
                os._exit(status)
        self._alive[pid] = part
        self._recorders[name] = recorder

    def _conduct(self) -> None:
        """See the trial through: to its end, to where nobody moves, or to its deadline."""
        watch = _Watch(self._plan)
        seen: tuple[int, ...] = ()
        while True:
            self._advance()
            if not self._alive:
                return
            self._events()
            self._strike_due()
            self._reap()
            now = (
                len(self._alive),
                len(self._is_ready),
                sum(recorder.whole() for recorder in self._recorders.values()),
            )
            if now != seen:
                seen = now
                watch.moved()
            if watch.still():
                self._stuck(watch)
                return
            if watch.over():
                self._notes.note(f="deadline", seconds=self._plan.deadline_s)
                return

    def _advance(self) -> None:
        """Let the peers begin, and start those of the heal, each when it is time for it."""
        if any(part.token not in self._is_ready for part in self._alive.values()):
            return
        self._begin.open()
        self._schedule()
        workload = self._plan.peers + self._plan.replacements
        producers, consumers = self._count(_peer.PRODUCER, workload), self._count(_peer.CONSUMER, workload)
        if (not producers or not consumers) and HEAL_CONSUMER not in self._recorders:
            # It opens the queue before the last of the others closes it: some queues keep nothing that nobody holds.
            self._start(HEAL_CONSUMER, 0)
            return
        if not producers and HEAL_PRODUCER not in self._recorders:
            self._start(HEAL_PRODUCER, self._count(_peer.CONSUMER))
        if not consumers:
            self._heal_begin.open()

    def _count(self, role: str, names: Iterable[str] | None = None) -> int:
        """Return how many peers of a role are alive, of all or of those named."""
        return sum(part.role == role and (names is None or part.name in names) for part in self._alive.values())

    def _events(self) -> None:
        """Wait until something happens, or a tick has passed."""
        wait_s = min([_TICK_S, *(due - time.monotonic() for due, _, _ in self._due)])
        for descriptor, _ in self._poll.poll(max(0, wait_s * 1000)):
            if descriptor == self._control.fileno():
                raise Orphaned
            if descriptor == self._ready:
                tokens = os.read(self._ready, _peer.TOKEN_BYTES * MOST_PEERS)
                starts = range(0, len(tokens), _peer.TOKEN_BYTES)
                self._is_ready |= {int.from_bytes(tokens[at : at + _peer.TOKEN_BYTES], "little") for at in starts}
        self._wakeup.clear()

    def _schedule(self) -> None:
        """Set the time for each fault that goes by the clock, of peers that begin."""
        for index, fault in enumerate(self._plan.faults):
            if isinstance(fault.at, Elapsed) and index not in self._scheduled and fault.peer in self._recorders:
                self._scheduled.add(index)
                self._due.append((time.monotonic() + fault.at.seconds, index, fault.peer))

    def _strike_due(self) -> None:
        """Apply the faults whose time has come, and take note of where that found their peers."""
        for entry in [entry for entry in self._due if entry[0] <= time.monotonic()]:
            self._due.remove(entry)
            _, index, name = entry
            pid = next((pid for pid, part in self._alive.items() if part.name == name), None)
            if pid is None:
                self._notes.note(f="missed", process=name, fault=index, why="the peer had ended by then")
                continue
            # Stopped first: what is noted of where it is, is where it dies.
            os.kill(pid, signal.SIGSTOP)
            os.waitid(os.P_PID, pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            count, number, done = self._recorders[name].last_call()
            call = {"call": {"n": count, "name": _gate.name_of(number), "done": done}} if count else {}
            self._notes.note(f="strike", process=name, fault=index, **call)
            self._plan.faults[index].strike(pid)

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
            begun = sum(
                record.code == log.ENQUEUE_INVOKE
                for record in log.read_records(str(self._directory / f"{part.name}{LOG_SUFFIX}"))
            )
            self._start(name, part.messages - begun)

    def _ended(self, pid: int, part: _peer.Part, status: int) -> None:
        del self._alive[pid]
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
            by_harness = {"by_harness": True} if self._harness_kills else {}
            output = _tail(self._directory / f"{part.name}{_peer.OUTPUT_SUFFIX}")
            self._notes.note(
                f="exit",
                process=part.name,
                signal=name,
                **by_harness,
                **({"error": output} if output else {}),
            )
        elif code not in (0, _peer.CRASHED):
            self._notes.note(f="exit", process=part.name, code=code)

    def _stuck(self, watch: _Watch) -> None:
        """Ask every peer that should move where it is."""
        for pid, part in self._alive.items():
            if part.token in self._is_ready and not part.begin.is_open:
                continue  # it has not been told to begin
            stacks = _stacks(pid, self._directory / f"{part.name}{_peer.STACK_SUFFIX}")
            self._notes.note(
                f="stuck",
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
        self._began = self._last = time.monotonic()

    def moved(self) -> None:
        self._last = time.monotonic()

    def idle_s(self) -> float:
        return time.monotonic() - self._last

    def still(self) -> bool:
        return self.idle_s() > self._plan.patience_s

    def over(self) -> bool:
        return time.monotonic() - self._began > self._plan.deadline_s


@contextlib.contextmanager
def _blaming(what: str) -> Iterator[None]:
    """Say first whose error it is that goes through here."""
    try:
        yield
    except Exception:
        print(f"{what}:", file=sys.stderr)  # noqa: T201 -- the client shows it
        raise


def _adapter(directory: Path, plan: Plan) -> Adapter:
    """Return the adapter that travelled with the plan, or the one which it names."""
    try:
        data = (directory / ADAPTER_FILE).read_bytes()
    except FileNotFoundError:
        return load(plan.queue)
    adapter = pickle.loads(data)
    assert isinstance(adapter, Adapter), adapter
    return adapter


def _tail(path: Path) -> str:
    try:
        return path.read_text(errors="replace")[-4000:]
    except FileNotFoundError:
        return ""


def _stacks(pid: int, path: Path) -> list[list[dict[str, object]]]:
    """Have a peer write where each of its threads is, and return that: outermost frames first, main thread last."""
    os.kill(pid, _peer.STACK_SIGNAL)
    end = time.monotonic() + _STACK_S
    text = ""
    while time.monotonic() < end:
        time.sleep(0.02)  # nobody tells when the dump is whole: it is when it no longer grows
        now = _tail(path)
        if now and now == text:
            break
        text = now
    threads: list[list[dict[str, object]]] = []
    for line in text.splitlines():
        if "most recent call first" in line:
            threads.append([])
        elif threads and (found := re.match(r'  File "(.*)", line (\d+) in (.*)', line)):
            threads[-1].insert(0, _nemesis.place(found[1], int(found[2]), found[3]))
    return threads
