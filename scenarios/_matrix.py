"""Every scenario on every queue, as one table."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
from monkeywrench.harness import PlanError, runner
from monkeywrench.harness.adapters import Adapter, absolute, load
from monkeywrench.harness.plan import Plan
from monkeywrench.harness.trial import draw_seed
from monkeywrench.harness.verdict import INVALID, UNKNOWN, VALID
from rich.markup import escape

from . import cli
from ._catalogue import Found
from ._cells import HARNESS_FAILED, Cell, timing_of
from ._pool import Failed, Pool, Todo, default_jobs
from ._queues import missing, names, short_names
from ._result import Result
from ._run import prepare_report, until_signalled
from ._table import markdown_of, page_of, show
from ._terminal import Terminated, console_of, count_of, progress_on
from .report import write_report
from .report._files import BEGINNINGS, MATRIX, PAGE, whole

# A wedged trial costs its patience; one that crawls costs this.
DEADLINE_S = 20.0
# Trials that only wait for their patience to end use no core.
_JOBS_A_CORE = 3


def run_matrix(
    chosen: Sequence[Found],
    queues: Sequence[str],
    *,
    seed: int | None,
    patience: float,
    producers: int | None,
    consumers: int | None,
    messages: int | None,
    jobs: int | None,
    as_json: bool,
    markdown: bool,
    report: Path | None,
    no_color: bool,
) -> int:
    """Run all, show the table, and return the exit status of the worst cell."""
    if as_json and markdown:
        raise click.UsageError("--json and --markdown: standard output has room for one of them")
    seed = draw_seed() if seed is None else seed
    console = console_of(no_color=no_color, stderr=as_json or markdown)
    sizes = {"producers": producers, "consumers": consumers, "messages": messages}
    # What takes long, and is about time, has no place in a table of what survives.
    scenarios = [each for each in chosen if not each.scenario.long_lived]
    absent, present = _queues(queues)
    everyone = [*present, *absent]
    todo: dict[tuple[str, str], list[Todo]] = {}
    for each in scenarios:
        for queue in present:
            todo[each.scenario.name, queue] = list(_trials(each, queue, seed, sizes, patience))
    if not todo:
        raise click.UsageError("nothing to compare: no such queue is installed, or no scenario is left")
    if report is not None:
        _prepare(report, everyone)
    what = f"{count_of(len(scenarios), 'scenario')} × {count_of(len(present), 'queue')}"
    console.print(f"{what}, seed {seed}", highlight=False)
    # All queues in turn, so that what slows the machine down for a while slows all of them down.
    in_turn = itertools.chain.from_iterable(todo.values())
    done: list[Result | Failed] = []
    status = None
    with progress_on(console) as progress, until_signalled():
        task = progress.add_task("", total=sum(map(len, todo.values())))
        try:
            with Pool(in_turn, jobs or default_jobs() * _JOBS_A_CORE) as pool:
                for result in pool.results():
                    if result is None:
                        continue
                    done.append(result)
                    plan = result.todo.plan if isinstance(result, Failed) else result.plan
                    progress.update(task, advance=1, description=escape(f"{plan.name} on {plan.queue}"))
        except KeyboardInterrupt:
            status = cli.INTERRUPTED
        except Terminated:
            status = cli.TERMINATED
    cells = [*_cells(todo, done), *(_absent(each, *queue) for each in scenarios for queue in absent.items())]
    document = {
        "generator": "monkeywrench matrix",
        "seed": seed,
        "patience_s": patience,
        "cells": [cell.to_json() for cell in cells],
    }
    if as_json:
        click.echo(json.dumps(document, indent=2))
    elif markdown:
        click.echo(markdown_of(cells, everyone, seed))
    else:
        show(console, cells, everyone)
    if report is not None:
        _keep(report, cells, everyone, seed, json.dumps(document, indent=2))
    if status is not None:
        console.print(f"stopped after {len(done)} of {count_of(sum(map(len, todo.values())), 'trial')} (seed {seed})")
        return status
    found = {cell.status for cell in cells}
    worst = {HARNESS_FAILED: cli.HARNESS, INVALID: cli.FINDING, UNKNOWN: cli.UNKNOWN, VALID: cli.VALID}
    return next((value for each, value in worst.items() if each in found), cli.UNKNOWN)


def _queues(asked: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """Return the queues that cannot be tried, each with the reason, and those that can."""
    found = {name: missing(name) for name in dict.fromkeys(map(absolute, asked or names()))}
    absent = {name: reason for name, reason in found.items() if reason is not None}
    if asked and absent:
        raise PlanError(next(iter(absent.values())))
    return absent, [name for name in found if name not in absent]


def _trials(each: Found, queue: str, seed: int, sizes: dict[str, int | None], patience: float) -> Iterator[Todo]:
    scenario = each.scenario
    plans = scenario.plans(queue, seed, sizes, patience_s=patience, deadline_s=DEADLINE_S)
    command = ["monkeywrench", "run", each.reference, "--queue", queue, "--seed", str(seed)]
    command += ["--patience", f"{patience:g}"]
    for name, value in sizes.items():
        command += [] if value is None else [f"--{name}", str(value)]
    for number, plan in enumerate(itertools.islice(plans, scenario.budget(scenario.sizes(sizes))), start=1):
        yield Todo(scenario.name, plan, shlex.join([*command, "--trial", str(number)]))


def _cells(todo: dict[tuple[str, str], list[Todo]], done: Sequence[Result | Failed]) -> Iterator[Cell]:
    results = {(each.scenario, each.plan.queue, each.plan.name): each for each in done if isinstance(each, Result)}
    failed = {
        (each.todo.scenario, each.todo.plan.queue, each.todo.plan.name): each
        for each in done
        if isinstance(each, Failed)
    }
    for (scenario, queue), todos in todo.items():
        keys = [(scenario, queue, each.plan.name) for each in todos]
        mine = tuple(results[key] for key in keys if key in results)
        adapter = load(queue)
        # What cannot be tried has no timing. What was, and turned out not to be applicable, may turn out otherwise.
        tried = [each.plan for each in todos if _reaches(each.plan, adapter)]
        yield Cell(
            scenario=scenario,
            queue=queue,
            results=mine,
            failed=tuple(failed[key] for key in keys if key in failed),
            not_run=sum(key not in results and key not in failed for key in keys),
            timing=timing_of(tried, adapter.guarantees),
        )


def _reaches(plan: Plan, adapter: Adapter) -> bool:
    try:
        runner.check_reach(plan, adapter)
    except PlanError:
        return False
    return True


def _absent(each: Found, queue: str, reason: str) -> Cell:
    return Cell(scenario=each.scenario.name, queue=queue, missing=reason)


def _directories(report: Path, queues: Sequence[str]) -> dict[str, Path]:
    """Return each queue's own directory in the report."""
    return {queue: report / re.sub(r"[^\w.]+", "-", name) for queue, name in short_names(queues).items()}


def _prepare(report: Path, queues: Sequence[str]) -> None:
    """Refuse what would be noticed only when everything has run."""
    there = (each for each in _directories(report, queues).values() if os.path.lexists(each))
    prepare_report(report, MATRIX, there)


def _keep(report: Path, cells: Sequence[Cell], queues: Sequence[str], seed: int, document: str) -> None:
    results = {queue: [each for cell in cells if cell.queue == queue for each in cell.results] for queue in queues}
    directories = {queue: directory for queue, directory in _directories(report, queues).items() if results[queue]}
    links = {queue: f"{directory.name}/{PAGE}" for queue, directory in directories.items()}
    texts = document, markdown_of(cells, queues, seed), page_of(cells, queues, seed, links)
    for name, text in zip(MATRIX, texts, strict=True):
        with whole(report / name) as file:
            file.write(f"{BEGINNINGS[name]}{text.removeprefix(BEGINNINGS[name])}\n")
    for queue, directory in directories.items():
        write_report(directory, results[queue])
