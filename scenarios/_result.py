"""What has become of one trial: what ``run``, ``replay`` and ``matrix`` show, and what reports are written from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from monkeywrench.harness.plan import Plan
from monkeywrench.harness.verdict import Verdict

if TYPE_CHECKING:
    from ._trend import Series


@dataclass(frozen=True, slots=True)
class Result:
    """One trial that has been run, or could not be.

    scenario: the name of the scenario that the plan belongs to.
    plan: what was to be done.
    verdict: what the checkers say of what was done; ``None`` exactly if the trial is not applicable.
    not_applicable: why this trial cannot be run on this queue, one sentence; else ``None``.
    seconds: how long it took.
    command: the line that runs the same trial again.
    series: what was measured over time; of a soak's long-lived workload alone.
    """

    scenario: str
    plan: Plan
    verdict: Verdict | None
    not_applicable: str | None
    seconds: float
    command: str
    series: tuple[Series, ...] = ()
