"""Run scenarios, show how they go, and say what came of them."""

from __future__ import annotations

import re
import shlex
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click
from monkeywrench.harness import runner
from monkeywrench.harness.plan import Plan
from monkeywrench.harness.trial import draw_seed
from monkeywrench.harness.verdict import INVALID, UNKNOWN, VALID, Verdict
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from . import cli
from ._scenario import Scenario
from ._terminal import console_of, progress_on

EXIT_STATUS = {VALID: cli.VALID, UNKNOWN: cli.UNKNOWN, INVALID: cli.FINDING}
_STYLE = {VALID: "green", UNKNOWN: "yellow", INVALID: "bold red"}


def run_scenarios(
    scenarios: Sequence[Scenario],
    queue: str,
    *,
    seed: int | None,
    patience: float,
    report: Path | None,
    quiet: bool,
    verbose: bool,
    no_color: bool,
) -> int:
    """Run the scenarios one after the other, and return the exit status that sums them up.

    Ctrl-C ends the trial that runs; what was done until then is still told.
    """
    if report is not None:
        try:
            report.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise click.UsageError(f"--report {report}: {error.strerror}") from None
    console = console_of(no_color=no_color)
    seed = draw_seed() if seed is None else seed
    if not quiet:
        console.print(f"queue {queue}, seed {seed}", highlight=False)
    todo = [(scenario, plan) for scenario in scenarios for plan in scenario.plans(queue, seed, patience_s=patience)]
    done: list[tuple[Verdict, float]] = []
    interrupted = False
    with progress_on(console, quiet=quiet) as progress:
        task = progress.add_task("", total=len(todo))
        try:
            for scenario, plan in todo:
                progress.update(task, description=escape(plan.name))
                began = time.monotonic()
                again = f"monkeywrench run {scenario.name} --queue {shlex.quote(queue)} --seed {seed}"
                if patience != cli.DEFAULT_PATIENCE_S:
                    again += f" --patience {patience:g}"
                verdict = runner.run(plan).replayed_by(again)
                if report is not None:
                    verdict = runner.keep(verdict, report / _file_name(plan))
                done.append((verdict, time.monotonic() - began))
                progress.advance(task)
                if not quiet and not console.is_terminal:
                    console.print(f"{verdict.status:<8} {plan.name}", highlight=False, markup=False)
        except KeyboardInterrupt:
            interrupted = True
    if interrupted and not done:
        console.print(f"stopped before the first trial had ended (seed {seed})", highlight=False)
        return cli.INTERRUPTED
    if not quiet:
        console.print(_table(done))
    for verdict, _ in done:
        if verbose or not verdict.valid:
            _explain(console, verdict)
    counts = Counter(verdict.status for verdict, _ in done)
    total = ", ".join(f"{counts[status]} {status}" for status in _STYLE if counts[status])
    stopped = f", stopped after {len(done)} of {len(todo)} trials" if interrupted else ""
    console.print(f"{len(done)} trials: {total or 'none'}{stopped} (seed {seed})", highlight=False)
    if interrupted:
        return cli.INTERRUPTED
    return EXIT_STATUS[max((verdict.status for verdict, _ in done), key=list(_STYLE).index)]


def replay_plan(plan: Plan, *, no_color: bool) -> int:
    """Run one plan again, show its verdict, and return the exit status."""
    return show_verdict(runner.run(plan), no_color=no_color)


def show_verdict(verdict: Verdict, *, no_color: bool) -> int:
    """Show one verdict, and return the exit status that says the same."""
    _explain(console_of(no_color=no_color), verdict)
    return EXIT_STATUS[verdict.status]


def _file_name(plan: Plan) -> str:
    return re.sub(r"\W+", "-", plan.name)


def _explain(console: Console, verdict: Verdict) -> None:
    first, *rest = verdict.explain().splitlines()
    console.print(first, style=_STYLE[verdict.status], highlight=False, markup=False, soft_wrap=True)
    for line in rest:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print()


def _table(done: Sequence[tuple[Verdict, float]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("trial")
    table.add_column("verdict")
    table.add_column("received", justify="right")
    table.add_column("s", justify="right")
    for verdict, seconds in done:
        table.add_row(
            escape(verdict.history.plan.name),
            f"[{_STYLE[verdict.status]}]{escape(verdict.summary())}[/]",
            f"{verdict.counts['received']}/{verdict.counts['put'] + verdict.counts['recovered']}",
            f"{seconds:.2f}",
        )
    return table
