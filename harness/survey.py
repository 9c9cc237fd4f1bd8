"""Crash points, all of them: a dry run counts a workload's calls; then one trial for each call in which a peer is
killed before it, after it, and torn inside it. Exhaustive where random would be lucky.
"""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from . import runner
from ._errors import PlanError
from .adapters import Adapter
from .faults import Kill
from .faults.census import Census
from .guarantees import Guarantees
from .ledger import frame
from .plan import Plan
from .triggers import Call
from .verdict import INVALID, RANK, UNKNOWN, VALID, Verdict

ROLES = ("producer", "consumer")
MOST_SHOWN = 3
_DRY_PATIENCE = 4
# Some calls are there only if timing has it so: what a queue needs to wait may be made by the first get that has to.
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True)
class CountedCall:
    """One call of a peer that counts, as a census has found it.

    kind, n: what a trigger calls it, as ``call(kind, n)``.
    inside: the operation that it is in: ``open``, ``put 2``, ``get 7``, ``close``; empty between two of them.
    size: how many bytes it transferred; 0 for a call that transfers none.
    torn: whether a peer can be killed with a part of them through.
    posix: whether a POSIX system can cut it. It cuts no write of at most ``PIPE_BUF`` bytes to a pipe.
    packet: whether it read a whole packet, of which nothing returns a part.
    where: the line of code that made it; empty if that is the harness's own.
    path: is the same for calls that came by the same lines of code; by which a waiting peer's came rests on timing.
    """

    peer: str
    kind: str
    n: int
    inside: str
    size: int
    torn: bool
    posix: bool
    packet: bool
    where: str
    path: int = field(default=0, compare=False)

    @property
    def operation(self) -> str:
        """The operation without its number: ``open``, ``put``, ``get`` or ``close``; else ``between``."""
        return _operation(self.inside)


def _operation(inside: str | None) -> str:
    return (inside or "").partition(" ")[0] or "between"


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """One place to be killed at: a call, and the trigger that says which side of it, or where inside."""

    call: CountedCall
    at: Call

    def __str__(self) -> str:
        return f"{self.call.peer} {self.place}"

    @property
    def alike(self) -> tuple[object, ...]:
        """What it has in common with points that are the same place in the peer's program, at other times."""
        return self._seen_at(self.call.operation, self.call.path)

    def struck_alike(self, verdict: Verdict) -> tuple[object, ...] | None:
        """Return the same of where the peer was when it was killed, or None if it was not."""
        kill = len(verdict.history.plan.faults) - 1
        for event in verdict.history.events:
            if event.f == "strike" and event.value["fault"] == kill:
                return self._seen_at(_operation(event.value.get("inside")), event.value.get("path"))
        return None

    def _seen_at(self, operation: str, path: int | None) -> tuple[object, ...]:
        return self.call.peer, operation, path, self.at.kind, self.at.after, self.at.byte is None

    @property
    def place(self) -> str:
        """Where it is, without the peer."""
        return f"{self.at}, {f'in its {self.call.inside}' if self.call.inside else 'between two operations'}"


def censused(plan: Plan, peers: Sequence[str]) -> Plan:
    """Return the dry run of a plan: the same, with a census of the calls of these peers."""
    return dataclasses.replace(
        plan.with_faults(*map(Census, peers)),
        name=f"{plan.name}: dry run",
        # A queue that goes byte by byte makes so many calls that to write them down takes its time.
        patience_s=_DRY_PATIENCE * plan.patience_s,
    )


def counted(verdict: Verdict) -> list[CountedCall]:
    """Return what the census of a dry run has counted, in the order of the calls."""
    calls = []
    for event in verdict.history.events:
        if event.f == "call":
            fields = dict(event.value)
            stack = fields.pop("stack")
            inside = fields.pop("inside", None) or ""
            where = frame(stack[-1]) if stack else ""
            calls.append(CountedCall(peer=event.process, inside=inside, where=where, **fields))
    return calls


def points_of(calls: Sequence[CountedCall], guarantees: Guarantees) -> list[CrashPoint]:
    """Return the crash points of these calls: before each, after its first byte, in its middle, before its last byte,
    and after it. What the guarantees say that the gate does not see is left out; and torn where no POSIX system tears,
    unless the queue promises to withstand it.
    """
    found = []
    for call in calls:
        if call.kind not in guarantees.gate:
            continue
        found.append(CrashPoint(call, Call(call.kind, call.n)))
        if call.torn and (call.posix or guarantees.foreign_bytes):
            bytes_through = sorted({1, call.size // 2, call.size - 1})
            found += [CrashPoint(call, Call(call.kind, call.n, byte)) for byte in bytes_through]
        found.append(CrashPoint(call, Call(call.kind, call.n, after=True)))
    return found


def crash_points(plan: Plan, of: Sequence[str] = ROLES, *, adapter: Adapter | None = None) -> Iterator[Plan]:
    """Yield a plan for each crash point of *plan*: the same, with one peer killed there. Runs the dry run first.

    of: whose: ``producer`` or ``consumer`` for all of that role, or names of peers.
    adapter: as ``run`` takes it.

    Raises PlanError if the queue fails without any fault: then its crash points would prove nothing.
    """
    dry_run = runner.run(censused(plan, named(plan, of)), adapter=adapter)
    if not dry_run.valid:
        raise PlanError(f"without any fault, its dry run is {dry_run.explain()}")
    for point in points_of(counted(dry_run), dry_run.history.guarantees):
        yield killed_at(plan, point)


def killed_at(plan: Plan, point: CrashPoint) -> Plan:
    """Return the plan with a peer killed at this point."""
    return dataclasses.replace(plan.with_faults(Kill(point.call.peer, point.at)), name=f"{plan.name}: {point}")


def named(plan: Plan, of: Sequence[str]) -> list[str]:
    """Return the names of the peers that *of* means. Raises PlanError for what is none, and for none at all."""
    names: list[str] = []
    for who in (of,) if isinstance(of, str) else of:
        known = {"producer": plan.producer_names, "consumer": plan.consumer_names}.get(who, (who,))
        if not set(known) <= set(plan.peers):
            raise PlanError(f"of={who!r}: allowed are producer, consumer, {', '.join(plan.peers)}")
        names += (name for name in known if name not in names)
    if not names:
        raise PlanError(f"of={of!r}: allowed are producer, consumer, {', '.join(plan.peers)}, or several of them")
    return names


@dataclass(frozen=True, slots=True, repr=False)
class Survey:
    """What became of all crash points of a plan.

    dry_run: the verdict on the trial that counted the calls. Unless that is valid, there are no points.
    points: the places.
    verdicts: one for each point that was tried, in the same order.
    beyond: how many torn writes were left out: no POSIX system tears them, and the queue does not promise
        ``foreign_bytes``.
    unseen: how many calls were left out because the queue's guarantees say that the gate does not see them.
    repeats: how many points were left out because their peer was not there as often as in the dry run, whose call it
        makes again and again; it was killed there at another time.
    """

    dry_run: Verdict
    points: tuple[CrashPoint, ...]
    verdicts: tuple[Verdict, ...]
    beyond: int = 0
    unseen: int = 0
    repeats: int = 0

    @property
    def status(self) -> str:
        """The worst of all verdicts; *unknown* at best if points were not tried, or if there are none."""
        known = [self.dry_run.status, *(verdict.status for verdict in self.verdicts)]
        if not self.points or len(self.verdicts) < len(self.points):
            known.append(UNKNOWN)
        return max(known, key=RANK.index)

    @property
    def valid(self) -> bool:
        """Whether every point was tried, and its verdict is valid."""
        return self.status == VALID

    @property
    def failed(self) -> tuple[tuple[CrashPoint, Verdict], ...]:
        """The points whose verdict is not valid: invalid ones first."""
        tried = [(point, verdict) for point, verdict in zip(self.points, self.verdicts, strict=False) if not verdict]
        return tuple(sorted(tried, key=lambda pair: -RANK.index(pair[1].status)))

    def __bool__(self) -> bool:
        return self.valid

    def __len__(self) -> int:
        return len(self.points)

    def counts(self) -> dict[str, int]:
        """Return how many points lie in each operation: ``open``, ``put``, ``get``, ``close``."""
        found = Counter(point.call.operation for point in self.points)
        return {name: found[name] for name in (*("open", "put", "get", "close"), *found) if name in found}

    def summary(self) -> str:
        """Return in one line how many points there are, and how many of them failed."""
        if not self.dry_run.valid:
            return f"{self.status}: the queue fails without any fault, and no crash point was tried"
        where = ", ".join(f"{count} in {name}" for name, count in self.counts().items())
        bad = Counter(verdict.status for verdict in self.verdicts)
        what = ", ".join(f"{bad[status]} {status}" for status in (INVALID, UNKNOWN) if bad[status])
        left = len(self.points) - len(self.verdicts)
        tried = f"{left} not tried, for the time was up (pytest-timeout's, if that is set)" if left else ""
        failed = "; ".join(filter(None, (what, tried)))
        return f"{self.status}: {f'{failed}, of ' if failed else ''}{len(self.points)} crash points ({where or 'none'})"

    def explain(self) -> str:
        """Return the survey as a person reads it: the points that failed, those that failed alike together."""
        plan = self.dry_run.history.plan
        lines = [f"{self.summary()}; {plan.name.removesuffix(': dry run')} on {plan.queue}, seed {plan.seed}"]
        if not self.dry_run.valid:
            return "\n".join([*lines, *(f"  {line}" for line in self.dry_run.explain().splitlines())])
        for alike in self._groups():
            point, verdict = alike[0]
            kinds = _kinds(verdict)
            number = f"{len(alike)} crash {'point' if len(alike) == 1 else 'points'}"
            at = f" ({point.call.where})" if point.call.where else ""
            lines.append(f"  {kinds}: {number} of {point.call.peer} in {point.call.operation}{at}")
            for point, verdict in alike[:MOST_SHOWN]:
                why = [finding.sentence for finding in verdict.findings] or list(verdict.doubts)
                lines.append(f"    {point.place}: {why[0]}")
                lines += [f"      replay: {verdict.replay}"] if verdict.replay else []
            if rest := alike[MOST_SHOWN:]:
                lines.append(f"    … and {', '.join(str(point.at) for point, _ in rest)}")
        if self.beyond:
            lines.append(
                f"  left out: {self.beyond} writes, torn where no POSIX system tears them; the queue does not promise "
                "foreign_bytes"
            )
        if self.unseen:
            lines.append(f"  left out: {self.unseen} calls; the gate does not see them, as the queue's guarantees say")
        if self.repeats:
            lines.append(
                f"  left out: {self.repeats} crash points of calls that are made again and again, more often in the "
                "dry run than ever since; their peers were killed there at another time"
            )
        return "\n".join(lines)

    __str__ = explain

    def __repr__(self) -> str:
        return f"<{self.summary()}>"

    def _groups(self) -> list[list[tuple[CrashPoint, Verdict]]]:
        groups: dict[Any, list[tuple[CrashPoint, Verdict]]] = {}
        for point, verdict in self.failed:
            call = point.call
            groups.setdefault((_kinds(verdict), call.peer, call.operation, call.where), []).append((point, verdict))
        return list(groups.values())


def _kinds(verdict: Verdict) -> str:
    return ", ".join(dict.fromkeys(finding.kind for finding in verdict.findings)) or verdict.status


def survey(
    plan: Plan,
    of: Sequence[str] = ROLES,
    *,
    run: Callable[[Plan], Verdict] = runner.run,
    keep: Callable[[Verdict], Verdict] = lambda verdict: verdict,
    within_s: float | None = None,
) -> Survey:
    """Run the dry run, then a trial for each crash point, and return what became of them.

    A point whose call is not made this time is tried up to five times in all. If it never is, its verdict is *unknown*;
    but it is left out if peers were killed at all the same places of the program at other times: how often somebody who
    waits looks for what comes is nobody's affair.

    of: as ``crash_points`` takes it.
    run: runs each plan.
    keep: is handed each verdict that counts, and returns what stands in its place.
    within_s: seconds after which no further point is tried. Those left are counted: they did not pass.
    """
    end = None if within_s is None else time.monotonic() + within_s
    dry_run = keep(run(censused(plan, named(plan, of))))
    guarantees = dry_run.history.guarantees
    calls = counted(dry_run) if dry_run.valid else []
    points = points_of(calls, guarantees)
    verdicts = []
    for point in points:
        if end is not None and time.monotonic() > end:
            break
        verdicts.append(keep(_reached(killed_at(plan, point), run)))
    seen = [call for call in calls if call.kind in guarantees.gate]
    beyond = 0 if guarantees.foreign_bytes else sum(call.torn and not call.posix for call in seen)
    unseen = len(calls) - len(seen)
    there = {point.struck_alike(verdict) for point, verdict in zip(points, verdicts, strict=False)}
    never = {index for index, verdict in enumerate(verdicts) if verdict.status == UNKNOWN and not _has_struck(verdict)}
    gone = never if there.issuperset(point.alike for point in points) else set()
    points = [point for index, point in enumerate(points) if index not in gone]
    verdicts = [verdict for index, verdict in enumerate(verdicts) if index not in gone]
    return Survey(dry_run, tuple(points), tuple(verdicts), beyond, unseen, len(gone))


def _has_struck(verdict: Verdict) -> bool:
    return len(verdict.struck) == len(verdict.history.plan.faults)


def _reached(plan: Plan, run: Callable[[Plan], Verdict]) -> Verdict:
    """Run a plan until all of its faults have struck, or as often as is worth it. The last verdict counts."""
    for _ in range(_ATTEMPTS):
        verdict = run(plan)
        if verdict.status != UNKNOWN or _has_struck(verdict):
            break
    return verdict
