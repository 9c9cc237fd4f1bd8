"""Reports: what came of the trials, as a page for people, and as files for machines.

A report is whole or not there: every file takes its place when all are written. It is made of histories alone, in one
pass over each, and holds no more of one than the page shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from .._result import Result
from ._files import (
    JUNIT,
    PAGE,
    TRACE,
    ReportError,
    directory_names,
    earlier_trials,
    keep,
    prepare,
    refused,
    remove_trial,
    whole,
)

__all__ = ["ReportError", "directory_names", "prepare", "refused", "write_junit", "write_report"]


def write_report(directory: Path, results: Sequence[Result], *, keep_trials: bool = True) -> None:
    """Write ``report.html``, ``trace.json`` and ``junit.xml`` to *directory*, made if it is missing; and each trial's
    ``plan.json`` and ``history.jsonl`` to a directory of its own in there, named by ``directory_names``.

    keep_trials: False if the trials' own files are there already.

    Files of an earlier report are replaced, each at once, and its trials' removed; whatever else is there stays as it
    is. Raises ReportError for what cannot be written, or is in the place of a report's file and is none.
    """
    from ._junit import write_cases  # and what they need, which a run without a report does without
    from ._page import Page
    from ._trace import Trace

    prepare(directory)
    names = directory_names(results)
    kept = [name for result, name in zip(results, names, strict=True) if result.verdict is not None]
    earlier = earlier_trials(directory)
    with ExitStack() as stack:
        page = Page(stack.enter_context(whole(directory / PAGE)), results)
        trace = Trace(stack.enter_context(whole(directory / TRACE)), kept)
        write_cases(stack.enter_context(whole(directory / JUNIT)), results)
        for result, name in zip(results, names, strict=True):
            if result.verdict is None:
                page.add(result)
                continue
            if keep_trials:
                keep(directory / name, result)
            history = result.verdict.history
            summary, traced = page.summary(result.verdict), trace.begin(history, result.plan.name)
            for event in history.events:
                summary.see(event)
                traced.see(event)
            traced.finish()
            page.add(result, summary, name)
        trace.finish()
        page.finish()
    for name in earlier:
        if name not in kept:
            remove_trial(directory / name)


def write_junit(path: Path, results: Sequence[Result]) -> None:
    """Write the verdicts to *path* as JUnit's XML, replacing what was there. Raises ReportError if that fails."""
    from ._junit import write_cases

    with whole(path, own=False) as file:
        write_cases(file, results)
