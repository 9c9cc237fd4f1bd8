"""The matrix's cells: what became of one scenario on one queue, and whether timing had a say in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from monkeywrench.harness.guarantees import Guarantees
from monkeywrench.harness.plan import Plan
from monkeywrench.harness.verdict import INVALID, RANK, UNKNOWN, VALID

from ._document import NOT_APPLICABLE, document_of
from ._pool import Failed
from ._result import Result

HARNESS_FAILED = "harness failed"
NOT_RUN = "not run"
SURVIVED = "survived"


def _rests_on_timing(plan: Plan, guarantees: Guarantees) -> str | None:
    """Return why the verdict on a plan may differ from run to run, or ``None`` if nothing says that it may.

    A rule, and no list: it asks the plan who races whom, the guarantees whether that matters to the queue, and the
    faults how they are triggered and how long they last.
    """
    if plan.producers > 1:
        return "producers race each other"
    if plan.consumers > 1:
        return "consumers race each other"
    if not guarantees.any_pace:
        return "the queue does otherwise when its consumer is faster, or its producer"
    for fault in plan.faults:
        if fault.at.by_clock:
            return f"{fault}: that goes by the clock"
        if fault.pause_s is not None or hasattr(fault, "seconds"):
            return f"{fault}: that lasts for a time"
        # Such a queue says that put returns before the message has gone; a thread of its own is somewhere then.
        hands_on = guarantees.killed_producer_may_cost is None
        if hands_on and fault.peer.startswith("producer"):
            return f"{fault}: a thread of the queue's own is somewhere in its work then"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One scenario on one queue.

    results, failed: its trials, those that the harness failed in apart.
    not_run: how many of its trials were not run, since the matrix was stopped.
    timing: why it may differ from run to run; ``None`` if it may not.
    missing: why the queue cannot be tried at all; ``None`` if it can.
    """

    scenario: str
    queue: str
    results: tuple[Result, ...] = ()
    failed: tuple[Failed, ...] = ()
    not_run: int = 0
    timing: str | None = None
    missing: str | None = None

    @property
    def status(self) -> str:
        """The worst of its trials; *not applicable* only if all are, *not run* if some were not, and might be worse."""
        if self.failed:
            return HARNESS_FAILED
        tried = [result.verdict.status for result in self.results if result.verdict is not None]
        if self.not_run and INVALID not in tried:
            return NOT_RUN
        return max(tried, key=RANK.index) if tried else NOT_APPLICABLE

    @property
    def text(self) -> str:
        """What the table says: that it survived, which kinds of findings there are, or why there is nothing to say."""
        if self.status == NOT_RUN and self.results:
            return f"{NOT_RUN}: {self.not_run} of {self.not_run + len(self.results)}"
        if self.status in (HARNESS_FAILED, NOT_RUN):
            return self.status
        verdicts = [result.verdict for result in self.results if result.verdict is not None]
        kinds = sorted({finding.kind for verdict in verdicts for finding in verdict.findings})
        said = {VALID: SURVIVED, UNKNOWN: UNKNOWN, INVALID: ", ".join(kinds), NOT_APPLICABLE: "n/a"}
        text = said[self.status]
        return f"{text} ~" if self.timing else text

    @property
    def evidence(self) -> list[str]:
        """What the text rests on, a line each: what was found, and how to see it again."""
        if self.missing:
            return [self.missing]
        lines = [f"{each.todo.plan.name}: {each.error}\n{each.todo.command}" for each in self.failed]
        for result in self.results:
            if result.verdict is None:
                if self.status == NOT_APPLICABLE:
                    lines.append(str(result.not_applicable))
            elif result.verdict.status == self.status != VALID:
                why = [f"{each.kind}: {each.sentence}" for each in result.verdict.findings] or result.verdict.doubts
                lines.append(f"{result.plan.name}: {why[0]}\n{result.command}")
        return list(dict.fromkeys(lines))

    def to_json(self) -> dict[str, Any]:
        """Return the cell and its trials as JSON's types."""
        return {
            "scenario": self.scenario,
            "queue": self.queue,
            "status": self.status,
            "text": self.text,
            "rests_on_timing": self.timing,
            "missing": self.missing,
            "failed": [{"trial": each.todo.plan.name, "error": str(each.error)} for each in self.failed],
            "trials": [document_of(result) for result in self.results],
        }


def timing_of(plans: Sequence[Plan], guarantees: Guarantees) -> str | None:
    """Return why the verdicts on these plans may differ from run to run: the first reason that there is."""
    return next((reason for plan in plans if (reason := _rests_on_timing(plan, guarantees))), None)
