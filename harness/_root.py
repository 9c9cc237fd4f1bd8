"""The trial root: makes the queue, forks the peers, watches over them, heals, and leaves nothing behind.

One process a trial, forked by the ancestor, at the head of a process group of its own. It never puts or gets, so that no
queue can make it hang in the middle. How it goes on follows from who is alive, not from a clock:

* when no producer of the workload is left, a fresh one puts a last message for every consumer alive and one more;
* when no consumer of the workload is left, a fresh one takes what there is, up to such a last message;
* a consumer ends at the first such message that it gets.

That is the heal: it ends an orderly trial at once, and proves that the queue still works for newcomers.
"""

from __future__ import annotations

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
from pathlib import Path

from . import _eventlog as log
from . import _nemesis, _peer, _system
from ._wakeup import Wakeup
from .adapters import Adapter, load
from .history import NEMESIS_SUFFIX
from .plan import HEAL_CONSUMER, HEAL_PRODUCER, Plan
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
        self._recorders: list[log.Recorder] = []
        self._started: set[str] = set()
        self._heal = self._plan.producers
        self._harness_kills = False

    def run(self) -> None:
        queue = self._directory / QUEUE_DIRECTORY
        queue.mkdir()
        adapter = _adapter(self._directory, self._plan)
        adapter.make(queue)
        ready, self._ready = os.pipe()
        go, self._go = os.pipe()
        self._stage = _peer.Stage(
            adapter=adapter,
            workload=Workload(
                self._plan.seed, large_every=self._plan.large_every, types=adapter.guarantees.types
            ),
            directory=self._directory,
            ready=self._ready,
            go=go,
        )
        self._poll = select.poll()
        for descriptor in (ready, self._control.fileno(), self._wakeup.fileno()):
            self._poll.register(descriptor, select.POLLIN)
        for name in self._plan.peers:
            self._start(name)
        if self._handshake(ready):
            os.close(self._go)
            self._poll.unregister(ready)
            self._conduct()
        self._kill_alive()
        adapter.destroy()
        self._leaks(queue)
        shutil.rmtree(queue, ignore_errors=True)

    def _start(self, name: str) -> None:
        plan = self._plan
        producers = (*plan.producer_names, HEAL_PRODUCER)
        is_producer = name in producers
        total = plan.messages * plan.producers
        healers = len([part for part in self._alive.values() if part.role == _peer.CONSUMER]) + 1
        messages = healers if name == HEAL_PRODUCER else plan.messages
        part = _peer.Part(
            name=name,
            role=_peer.PRODUCER if is_producer else _peer.CONSUMER,
            index=producers.index(name) if is_producer else 0,
            messages=messages,
            last=self._heal,
            capacity=_SLACK + log.RECORD.size * (2 * messages if is_producer else 4 * total),
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
                for descriptor in {self._go} - {-1}:
                    os.close(descriptor)
                status = _peer.run(self._stage, part, recorder, root)
            finally:
                os._exit(status)
        self._alive[pid] = part
        self._recorders.append(recorder)
        self._started.add(name)

    def _handshake(self, ready: int) -> bool:
        """Wait until every peer has opened the queue or ended; return whether they did."""
        waiting = len(self._alive)
        watch = _Watch(self._plan)
        while waiting > 0 and self._alive:
            for descriptor, _ in self._events():
                if descriptor == ready:
                    waiting -= len(os.read(ready, waiting))
            ended = self._reap()
            waiting -= ended  # one that ended before it was ready will not be; one that was is ready no more
            if ended:
                watch.moved()
            if watch.still():
                self._stuck(watch)
                return False
        return True

    def _conduct(self) -> None:
        """See the trial through: to its end, to where nobody moves, or to its deadline."""
        self._go = -1
        watch = _Watch(self._plan)
        seen = -1
        while True:
            self._advance()
            if not self._alive:
                return
            self._events()
            ended = self._reap()
            whole = sum(recorder.whole() for recorder in self._recorders)
            if ended or whole != seen:
                seen = whole
                watch.moved()
            if watch.still():
                self._stuck(watch)
                return
            if watch.over():
                self._notes.note(f="deadline", seconds=self._plan.deadline_s)
                return

    def _advance(self) -> None:
        """Start the fresh peers of the heal where it is their time."""
        roles = {part.role for part in self._alive.values() if part.name not in (HEAL_PRODUCER, HEAL_CONSUMER)}
        if _peer.PRODUCER not in roles and HEAL_PRODUCER not in self._started:
            self._start(HEAL_PRODUCER)
        if _peer.CONSUMER not in roles and HEAL_CONSUMER not in self._started:
            self._start(HEAL_CONSUMER)

    def _events(self) -> list[tuple[int, int]]:
        """Wait until something happens, or a tick has passed."""
        events = self._poll.poll(_TICK_S * 1000)
        for descriptor, _ in events:
            if descriptor == self._control.fileno():
                raise Orphaned
        self._wakeup.clear()
        return events

    def _reap(self) -> int:
        """Take note of the peers that have ended, and return how many."""
        count = 0
        for pid, part in tuple(self._alive.items()):
            reaped, status = os.waitpid(pid, os.WNOHANG)
            if reaped:
                self._ended(pid, part, status)
                count += 1
        return count

    def _ended(self, pid: int, part: _peer.Part, status: int) -> None:
        del self._alive[pid]
        code = os.waitstatus_to_exitcode(status)
        if code < 0:
            name = signal.Signals(-code).name if -code in set(signal.Signals) else str(-code)
            by_harness = {"by_harness": True} if self._harness_kills else {}
            output = _tail(self._directory / f"{part.name}{_peer.OUTPUT_SUFFIX}")
            self._notes.note(f="exit", process=part.name, signal=name, **by_harness, **({"error": output} if output else {}))
        elif code not in (0, _peer.CRASHED):
            self._notes.note(f="exit", process=part.name, code=code)

    def _stuck(self, watch: _Watch) -> None:
        """Ask every peer that is alive where it is."""
        for pid, part in self._alive.items():
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
