"""Run a plan: real processes, then the history of what they did, then the verdict."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

from . import _client, _system
from ._errors import HarnessError, PlanError
from ._files import ADAPTER_FILE, PLAN_FILE, ROOT_OUTPUT_FILE
from ._imports import imports, modules_of
from .adapters import Adapter, load
from .history import History
from .plan import Plan
from .triggers import ANY
from .verdict import Verdict, judge

HISTORY_FILE = "history.jsonl"
# Beyond the plan's deadline: for making the queue, stacks, and cleaning up.
_GRACE_S = 60.0


def run(
    plan: Plan,
    *,
    adapter: Adapter | None = None,
    progress: Callable[[], None] | None = None,
    interrupted: Callable[[Verdict], object] | None = None,
) -> Verdict:
    """Run one trial, and return the verdict on it. When this returns or raises, nothing of the trial is left.

    adapter: the queue, if it is not the one that the plan names; it travels to the peers by value.
    progress: called about ten times a second while the trial runs.
    interrupted: called with the verdict on what was done, when the trial is interrupted (by Ctrl-C, a time-out of
        pytest's); it says where every peer was. Then the interruption goes on.

    Raises PlanError if it is no plan, or there is no such queue; HarnessError if the harness failed, with what it said.
    """
    if not isinstance(plan, Plan):
        raise PlanError(f"plan={plan!r}: a Plan is expected; Plan.loads(text) reads the text of one")
    queue = adapter or load(plan.queue)
    check_reach(plan, queue)
    with _client.directory() as directory:
        (directory / PLAN_FILE).write_text(plan.dumps())
        places: tuple[str, ...] = ()
        if adapter is None:
            large = imports(modules_of(queue))
        else:
            from . import _travel  # and cloudpickle, which a queue that has a name does without

            data, large, places = _travel.parcel(adapter)
            (directory / ADAPTER_FILE).write_bytes(data)
        try:
            _client.ancestor().prepare(large)
            status = _client.ancestor().run(directory, plan.deadline_s + _GRACE_S, progress, places)
        except BaseException as error:
            if interrupted is not None and not isinstance(error, HarnessError):
                interrupted(judge(History.collect(plan, queue.guarantees, directory)))
            raise
        if status != 0:
            full = f"; there is no room left in {directory.parent}" if _system.has_no_room(directory) else ""
            said = _said(directory / ROOT_OUTPUT_FILE)
            raise HarnessError(f"the trial root ended by {_system.ended_by(status)}{full}. {said}")
        history = History.collect(plan, queue.guarantees, directory)
    return judge(history)


def check_reach(plan: Plan, queue: Adapter) -> None:
    """Raise PlanError for a fault that cannot reach this queue, and for more peers than it is made for."""
    fifo: object = queue.fifo(Path())
    if fifo is not None and not isinstance(fifo, Path):
        raise PlanError(f"{plan.queue}: its fifo() returned {fifo!r}: a pathlib.Path is expected, or None")
    for role, planned, most in (
        ("producer", plan.producers, queue.guarantees.most_producers),
        ("consumer", plan.consumers, queue.guarantees.most_consumers),
    ):
        if most is not None and planned > most:
            raise PlanError(
                f"{role}s={planned}: {plan.queue} is made for {most} {role}{'' if most == 1 else 's'} at a time; "
                f"plan {role}s={most}, or take another queue"
            )
    seen = queue.guarantees.gate
    for fault in plan.faults:
        kind = fault.at.call_kind
        if kind is not None and not (seen if kind == ANY else kind in seen):
            which = f"its {' and '.join(seen)} only" if seen else "none of its calls, for they are C code's"
            raise PlanError(
                f"{fault}: {plan.queue} says that the gate sees {which}; "
                "messages(n), elapsed(seconds) and blocked() reach every queue"
            )
        if fault.needs_fifo and fifo is None:
            raise PlanError(
                f"{fault}: {plan.queue} has no FIFO that a stranger could open: none that its fifo(directory) names"
            )


def keep(verdict: Verdict, directory: Path) -> Verdict:
    """Write plan and history to *directory*, made if it is missing, and return the verdict with its replay line."""
    directory.mkdir(parents=True, exist_ok=True)
    plan = directory / PLAN_FILE
    plan.write_text(verdict.history.plan.dumps())
    verdict.history.save(directory / HISTORY_FILE)
    return verdict.replayed_by(f"monkeywrench replay {shlex.quote(str(plan))}")


def _said(path: Path) -> str:
    try:
        text = path.read_text(errors="replace").strip()
    except FileNotFoundError:
        text = ""
    return f"It said:\n{text}" if text else "It said nothing."
