"""A trial in the making: what a test says step by step, until it runs."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import partial

from ._errors import PlanError
from .adapters import DEFAULT, Adapter, absolute, made, reference_of
from .faults import Delay, Error, Fault, Foreign, Kill, Limit, Pause, Remove, Short, Shrink, Stale
from .plan import Plan
from .runner import run
from .survey import ROLES, CountedCall, Survey, censused, counted, named, survey
from .triggers import Elapsed, Ended, Start, Trigger
from .verdict import Verdict

DEADLINE_S = 120.0


def draw_seed() -> int:
    """Return a seed that nobody chose. It is printed with every verdict."""
    return random.SystemRandom().randrange(1 << 32)


class Trial:
    """One plan in the making. Each method checks what it is told at once, and returns the trial.

    queue: an adapter, its class, or what ``harness.adapters.load`` takes; the built-in queue by default.
    producers, consumers: how many peers of each role.
    messages: how many each producer puts.
    seed: draws the messages; a new one by default.
    runner: runs a plan; ``harness.run`` by default.
    surveyor: surveys a plan's crash points; by default with the runner.

    All other arguments are those of ``Plan``. Raises PlanError for values that cannot be.
    """

    def __init__(
        self,
        queue: Adapter | type[Adapter] | str = DEFAULT,
        *,
        producers: int = 1,
        consumers: int = 1,
        messages: int = 100,
        large_every: int = 10,
        seed: int | None = None,
        patience_s: float = 5.0,
        deadline_s: float = DEADLINE_S,
        name: str = "trial",
        runner: Callable[[Plan, Adapter | None], Verdict] | None = None,
        surveyor: Callable[[Plan, Adapter | None, Sequence[str]], Survey] | None = None,
    ) -> None:
        adapter = made(queue)
        self._adapter = None if isinstance(queue, str) else adapter
        self.has_run = False
        self._runner = runner or (lambda plan, adapter: run(plan, adapter=adapter))
        self._surveyor = surveyor or (lambda plan, adapter, of: survey(plan, of, run=partial(run, adapter=adapter)))
        self.plan = Plan(
            queue=absolute(queue) if isinstance(queue, str) else reference_of(adapter),
            producers=producers,
            consumers=consumers,
            messages=messages,
            large_every=large_every,
            seed=draw_seed() if seed is None else seed,
            patience_s=patience_s,
            deadline_s=deadline_s,
            name=name,
        )

    def kill(self, peer: str, at: Trigger, *, signal: str = "SIGKILL", replace: bool = False) -> Trial:
        """Have *peer* killed at the place or moment that the trigger names.

        signal: ``SIGKILL``, ``SIGTERM`` or ``SIGINT``.
        replace: whether a fresh peer then takes its place and does what it had left to do: ``producer-0.1`` that of
            ``producer-0``, ``producer-0.2`` that of ``producer-0.1``.
        """
        return self.add(Kill(peer, at, signal, replace))

    def kill_all(self, at: Trigger, *, peer: str = "producer-0") -> Trial:
        """Have all peers that the plan starts with killed at once by SIGKILL, when *peer* is where the trigger says."""
        self.kill(peer, at=at)
        same = isinstance(at, (Elapsed, Start))
        others = (other for other in self.plan.peers if other != peer)
        return self.add(*(Kill(other, at if same else Ended(peer)) for other in others))

    def full(self, at: Trigger, *, seconds: float = 0.2, size: int = 4096) -> Trial:
        """Have the pipe full for a while: so small, and every consumer stopped by SIGSTOP for so long."""
        self.shrink(size)
        return self.add(*(Pause(consumer, at, seconds) for consumer in self.plan.consumer_names))

    def pause(self, peer: str, at: Trigger, *, seconds: float = 0.2) -> Trial:
        """Have *peer* stopped by SIGSTOP for so long, all of its threads, and let it go on by SIGCONT."""
        return self.add(Pause(peer, at, seconds))

    def delay(self, peer: str, at: Trigger, *, seconds: float = 0.001) -> Trial:
        """Have *peer* wait for so long, in the thread that is there: with ``every(1, "read")``, a slow reader."""
        return self.add(Delay(peer, at, seconds))

    def short(self, peer: str, at: Trigger, *, size: int = 1) -> Trial:
        """Have a read or write of *peer* transfer *size* bytes only, and return that it did."""
        return self.add(Short(peer, at, size))

    def error(self, peer: str, at: Trigger, *, errno: str) -> Trial:
        """Have a system call of *peer* fail, with ``ENOSPC`` for one. The operation that makes it may fail, too."""
        return self.add(Error(peer, at, errno))

    def limit(self, peer: str, at: Trigger, *, descriptors: int = 0) -> Trial:
        """Leave *peer* so few descriptors to open, until an operation has failed of it."""
        return self.add(Limit(peer, at, descriptors))

    def foreign(self, peer: str, at: Trigger, *, size: int = 64) -> Trial:
        """Have a stranger write *size* bytes that are no message into the FIFO, where *peer* is then."""
        return self.add(Foreign(peer, at, size, seed=self.plan.seed))

    def remove(self, peer: str, at: Trigger, *, replace_it: bool = False) -> Trial:
        """Take the FIFO from its path, where *peer* is then; or put another one in its place. The heal puts it back."""
        return self.add(Remove(peer, at, replace_it))

    def stale(self, thing: str) -> Trial:
        """Put something in the FIFO's place before the queue is made: ``fifo``, ``bytes``, ``file``, ``directory``,
        ``socket``, ``symlink`` or ``dangling``; a FIFO with the ``torn`` message of a dead run in it; or a place where
        no FIFO can be: ``no permission``, ``no parent``, ``name too long``. The queue may use a FIFO, and refuse
        anything by an OSError.
        """
        return self.add(Stale(thing))

    def shrink(self, size: int = 4096) -> Trial:
        """Leave the pipe so many bytes of room, a page at least (Linux)."""
        return self.add(Shrink(size))

    def add(self, *faults: Fault) -> Trial:
        """Add faults to the plan."""
        self.plan = self.plan.with_faults(*faults)
        return self

    def run(self) -> Verdict:
        """Run the trial, and return the verdict on it. See ``harness.run``."""
        self.has_run = True
        return self._runner(self.plan, self._adapter)

    def crash_points(self, of: Sequence[str] = ROLES) -> Survey:
        """Run a trial for every crash point, and return what became of them: each call of a peer that counts, killed
        before it, after it, and torn inside it. A dry run of this trial comes first, and counts the calls.

        of: whose: ``producer`` or ``consumer`` for all of that role, or names of peers.
        """
        self.has_run = True
        return self._surveyor(self.plan, self._adapter, of)

    def calls(self, peer: str) -> list[CountedCall]:
        """Run a dry run of this trial, and return the calls of *peer* that count: the places where faults can strike.

        Raises PlanError if the queue fails in it, without a fault.
        """
        self.has_run = True
        verdict = self._runner(censused(self.plan, named(self.plan, (peer,))), self._adapter)
        if not verdict.valid:
            raise PlanError(f"its dry run is {verdict.explain()}")
        return counted(verdict)
