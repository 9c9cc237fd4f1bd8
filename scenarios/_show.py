"""What a run looks like: how it goes while it goes, and what came of it.

In a terminal a bar moves, and vanishes in the end. Elsewhere (a pipe, a log of CI) each trial is a line; when nobody
knows how many there will be, only those that are not valid are, and a sign of life now and then.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from monkeywrench.harness.verdict import INVALID, RANK, UNKNOWN, VALID, Verdict
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ._document import NOT_APPLICABLE, status_of
from ._result import Result
from ._terminal import console_of, count_of, progress_on

STYLE = {VALID: "green", UNKNOWN: "yellow", INVALID: "bold red", NOT_APPLICABLE: "dim"}
# A table narrower than this is no table.
NARROW = 60
_MOST_ROWS = 100
_MOST_EXPLAINED = 40
_SIGN_OF_LIFE_S = 10.0


class Show:
    """The face of a run, as long as the context lasts.

    total: how many trials there will be, or ``None`` if nobody knows.
    """

    def __init__(self, *, no_color: bool, stderr: bool, quiet: bool, verbose: bool, total: int | None) -> None:
        self.console = console_of(no_color=no_color, stderr=stderr)
        self._quiet = quiet
        self._verbose = verbose
        self._total = total
        self._progress = progress_on(self.console, quiet=quiet)
        self._task = self._progress.add_task("", total=total)
        self._count = 0
        self._began = self._told = time.monotonic()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def endless(self, what: str) -> None:
        """From now on, nobody knows how many trials there will be."""
        self._total = None
        self._progress.update(self._task, total=None, description=escape(what))

    def say(self, text: str) -> None:
        """Print a line, unless quiet."""
        if not self._quiet:
            self.line(text)

    def line(self, text: str, style: str = "") -> None:
        """Print a line, whatever."""
        self.console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)

    def done(self, result: Result) -> None:
        """Say that one more trial is done."""
        self._count += 1
        self._progress.update(self._task, advance=1, description=escape(result.plan.name))
        if self._quiet or self.console.is_terminal:
            return
        if self._total is not None or status_of(result) in (INVALID, UNKNOWN):
            self.line(_line(result))
        self.alive()

    def alive(self, what: str = "") -> None:
        """Give a sign of life: on the bar, or if nobody sees it, as a line now and then.

        what: has been done; by default, how many trials.
        """
        if what:
            self._progress.update(self._task, description=escape(what))
        now = time.monotonic()
        if self._quiet or self.console.is_terminal or self._total is not None or now - self._told < _SIGN_OF_LIFE_S:
            return
        self._told = now
        self.line(f"{what or count_of(self._count, 'trial')}, {now - self._began:.0f} s")

    def table(self, results: Sequence[Result]) -> None:
        """Show every trial as a row, or every scenario, if there are very many trials."""
        if self._quiet or not results:
            return
        if len(results) > _MOST_ROWS:
            self.console.print(_by_scenario(results))
        elif self.console.width >= NARROW:
            self.console.print(_by_trial(results))
        elif self.console.is_terminal:  # elsewhere they have just been told so
            for result in results:
                self.console.print(escape(_line(result)), style=STYLE[status_of(result)], highlight=False)

    def explain(self, results: Sequence[Result], more: str) -> None:
        """Explain what is not valid; the valid ones, too, if verbose.

        more: where the rest can be found, if there are too many.
        """
        verdicts = [result.verdict for result in results if result.verdict is not None]
        told = [verdict for verdict in verdicts if self._verbose or not verdict.valid]
        # The worst first: there may be too many.
        told.sort(key=lambda verdict: RANK.index(verdict.status), reverse=True)
        for verdict in told[:_MOST_EXPLAINED]:
            explain(self.console, verdict)
        if len(told) > _MOST_EXPLAINED:
            self.line(f"… and {len(told) - _MOST_EXPLAINED} more; {more}")
        for result in results if self._verbose else ():
            if result.not_applicable:
                self.line(f"not applicable: {result.plan.name}: {result.not_applicable}")


def explain(console: Console, verdict: Verdict) -> None:
    """Print one verdict, with its evidence."""
    first, *rest = verdict.explain().splitlines()
    console.print(first, style=STYLE[verdict.status], highlight=False, markup=False, soft_wrap=True)
    for line in rest:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print()


def counted(statuses: Counter[str]) -> str:
    """Return how many there are of each status, as text."""
    return ", ".join(f"{statuses[status]} {status}" for status in STYLE if statuses[status]) or "none"


def _line(result: Result) -> str:
    return f"{'n/a' if result.verdict is None else result.verdict.status:<8} {result.plan.name}"


def _by_trial(results: Sequence[Result]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("trial")
    table.add_column("verdict")
    table.add_column("received", justify="right")
    table.add_column("s", justify="right")
    for result in results:
        verdict = result.verdict
        counts = {} if verdict is None else verdict.counts
        put = counts.get("put", 0) + counts.get("recovered", 0)
        table.add_row(
            escape(result.plan.name),
            f"[{STYLE[status_of(result)]}]{escape(NOT_APPLICABLE if verdict is None else verdict.summary())}[/]",
            f"{counts.get('received', 0)}/{put}" if verdict is not None else "",
            f"{result.seconds:.2f}",
        )
    return table


def _by_scenario(results: Sequence[Result]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("scenario")
    table.add_column("trials", justify="right")
    table.add_column("verdicts")
    for name in dict.fromkeys(result.scenario for result in results):
        statuses = Counter(status_of(result) for result in results if result.scenario == name)
        table.add_row(escape(name), str(statuses.total()), counted(statuses))
    return table
