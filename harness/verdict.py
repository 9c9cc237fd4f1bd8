"""The verdict on a history: valid, invalid or unknown, and what it rests on.

The worst of the checkers' findings wins. What was not tried did not pass: a trial in which nothing was received, or
in which a planned fault never struck, proves nothing and is *unknown*; so is one whose checker crashed.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .checkers import CHECKERS, Checked, Finding
from .history import History
from .ledger import Ledger, frame

VALID, INVALID, UNKNOWN = "valid", "invalid", "unknown"
# From harmless to worst, for what sums up several verdicts.
RANK = (VALID, UNKNOWN, INVALID)
MOST_SHOWN = 3
_BEYOND = "no POSIX system cuts a write so short, and "


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the checkers say of one trial.

    status: ``valid``, ``invalid`` or ``unknown``.
    findings: what is wrong with the queue; not empty exactly if invalid.
    doubts: why the trial proves nothing, one sentence each.
    counts: how many messages were put, received, recovered, maybe taken, and so on.
    struck: what befell whom, one sentence for each fault that struck.
    history: what it rests on.
    replay: the line that runs the same trial again, if it can be.
    not_applicable: why the trial is not one for this queue, if it is *unknown* for that reason alone: what was done is
        held against no queue that does not promise to withstand it, the queue makes no call that it could be done to,
        or a signal did not end its peer. ``None`` otherwise.
    """

    status: str
    findings: tuple[Finding, ...]
    doubts: tuple[str, ...]
    counts: dict[str, int]
    struck: tuple[str, ...]
    history: History
    replay: str | None = None
    not_applicable: str | None = None

    @property
    def valid(self) -> bool:
        """Whether the trial proves that the queue kept its guarantees. *Unknown* is not valid."""
        return self.status == VALID

    def __bool__(self) -> bool:
        return self.valid

    def replayed_by(self, line: str) -> Verdict:
        """Return the same verdict, with the line that runs the same trial again."""
        return dataclasses.replace(self, replay=line)

    def summary(self) -> str:
        """Return the verdict in one line."""
        kinds = Counter(finding.kind for finding in self.findings)
        what = ", ".join(kind if count == 1 else f"{count} {kind}" for kind, count in kinds.items())
        return f"{self.status}: {what}" if what else self.status

    def explain(self) -> str:
        """Return the verdict as a person reads it: what was found, its evidence, and how to see it again."""
        plan = self.history.plan
        lines = [f"{self.summary()} ({plan.name} on {plan.queue}, seed {plan.seed})"]
        for kind in dict.fromkeys(finding.kind for finding in self.findings):
            found = [finding for finding in self.findings if finding.kind == kind]
            for finding in found[:MOST_SHOWN]:
                lines.append(f"  {kind}: {finding.sentence}")
                lines += [f"      {line}" for line in finding.details]
            if len(found) > MOST_SHOWN:
                lines.append(f"  {kind}: … and {len(found) - MOST_SHOWN} more")
        lines += [f"  proves nothing: {doubt}" for doubt in self.doubts]
        lines += [f"  fault: {sentence}" for sentence in self.struck]
        counts = ", ".join(f"{count} {what}" for what, count in self.counts.items() if count)
        lines.append(f"  messages: {counts or 'none'}")
        if self.replay:
            lines.append(f"  replay: {self.replay}")
        return "\n".join(lines)

    __str__ = explain

    def __repr__(self) -> str:
        # pytest shows an assertion's message by its repr, and cuts it: the whole is in the report's own section.
        plan = self.history.plan
        why = [finding.sentence for finding in self.findings] or list(self.doubts)
        return f"<{self.summary()}: {plan.name} on {plan.queue}, seed {plan.seed}{f': {why[0]}' if why else ''}>"


def judge(
    history: History,
    *,
    replay: str | None = None,
    checkers: Iterable[Callable[[Ledger], Checked]] = CHECKERS,
) -> Verdict:
    """Return the verdict of all checkers on a history. Reads nothing but the history, and runs nothing."""
    ledger = Ledger(history)
    findings: list[Finding] = []
    # What a queue is excused from, and what nobody knows.
    excused, doubts = [*_never_struck(ledger, impossible=True), *_survived(ledger)], list(_doubts(ledger))
    crashed = []
    for checker in checkers:
        try:
            findings += checker(ledger)
        except Exception:  # whatever it was, what this checker looks for is not known
            crashed.append(f"the checker {checker.__name__} crashed:\n{traceback.format_exc()}")
    beyond = [strike for strike in ledger.strikes if strike.beyond_posix]
    if beyond and findings and not history.guarantees.foreign_bytes:
        what = "; ".join(f"{finding.kind} {', '.join(finding.peers[:1])}".strip() for finding in findings[:MOST_SHOWN])
        why = f"{history.plan.queue} does not promise foreign_bytes; not held against it: {what}"
        # Whatever else there is to doubt may have come of it.
        excused = [f"{strike.planned}: {_BEYOND if strike.planned.posix else ''}{why}" for strike in beyond] + excused
        excused += doubts
        findings, doubts = [], []
    doubts += crashed
    status = INVALID if findings else UNKNOWN if excused or doubts else VALID
    not_applicable = "; ".join(excused) if excused and not (doubts or findings) else None
    struck = tuple(strike.sentence for strike in ledger.strikes)
    told = (*excused, *doubts)
    return Verdict(status, tuple(findings), told, ledger.counts(), struck, history, replay, not_applicable)


def _doubts(ledger: Ledger) -> Iterable[str]:
    if not ledger.received and not ledger.stuck:
        yield "no message was received"
    yield from _never_struck(ledger, impossible=False)
    for event in ledger.deadlines:
        yield f"it was given up after {event.value['seconds']:.3g} s, its deadline, before all peers had ended"
    for process in ledger.full:
        yield f"{process} did more than its log has room for: what it did then, nobody knows"
    for event in ledger.where:
        stack = "".join(f"; {frame(place)}" for place in reversed(event.value.get("stack") or []))
        why = "by then" if ledger.deadlines else "it was interrupted;"
        doing = ledger.doing(event.process)
        # Its events say what it has begun of its messages, and no more.
        between = "between two messages, or " if doing == "close" else ""
        yield f"{why} {event.process} was {between}in its {doing}{stack}"
    if not ledger.healed and not ledger.stuck and not ledger.where:
        yield "the heal did not take place"


def _never_struck(ledger: Ledger, *, impossible: bool) -> Iterable[str]:
    """Yield a sentence for each fault that did not strike: for those that could not, or for all others."""
    struck = {strike.fault for strike in ledger.strikes}
    for index, fault in enumerate(ledger.history.plan.faults):
        if index not in struck and ledger.impossible(index) == impossible:
            yield f"{fault}: it never struck{ledger.why_missed(index)}"


def _survived(ledger: Ledger) -> Iterable[str]:
    """Yield a sentence for each fault that was to end its peer, and did not: this queue withstands it."""
    for strike in ledger.strikes:
        if strike.planned.final and not ledger.was_final(strike):
            yield f"{strike.planned}: it did not end by it"
