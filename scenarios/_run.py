"""Run scenarios, and say what came of them."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import itertools
import json
import os
import re
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import click
from monkeywrench.harness import HarnessError, PlanError, runner
from monkeywrench.harness.plan import Plan
from monkeywrench.harness.trial import draw_seed
from monkeywrench.harness.verdict import INVALID, RANK, UNKNOWN, VALID, Verdict

from . import cli
from ._catalogue import Found
from ._document import NOT_APPLICABLE, document_of, status_of
from ._pool import Failed, Pool, Todo, default_jobs, without_events
from ._result import Result
from ._show import Show, counted, explain
from ._terminal import Terminated, console_of, count_of
from .report import ReportError, prepare, refused, write_junit, write_report
from .report._files import JUNIT, PAGE, TRACE

EXIT_STATUS = {VALID: cli.VALID, UNKNOWN: cli.UNKNOWN, INVALID: cli.FINDING}
# A trial that moves, but does not come to its end, is given up.
DEADLINE_S = 60.0
# Valid results that are kept with every event; there may be very many.
_MOST_WHOLE = 200
_TICK_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the command line says of a run. The fields are its options.

    sizes: ``producers``, ``consumers``, ``messages``; ``None`` for what the scenario says.
    count, duration: how many trials of each scenario, and for how many seconds; ``None`` for the default budgets.
    trial: run only the trial with this number of each scenario.
    """

    seed: int
    patience: float
    sizes: Mapping[str, int | None]
    count: int | None
    duration: float | None
    trial: int | None
    jobs: int
    fail_fast: bool
    as_json: bool
    junit: Path | None
    report: Path | None
    quiet: bool
    verbose: bool
    no_color: bool


def run_scenarios(
    chosen: Sequence[Found],
    queue: str,
    *,
    seed: int | None,
    jobs: int | None,
    producers: int | None,
    consumers: int | None,
    messages: int | None,
    **rest: object,
) -> int:
    """Run the scenarios, and return the exit status that sums them up.

    Ctrl-C and SIGTERM end the trials that run; what was done until then is still told, and reported.
    """
    options = Options(
        seed=draw_seed() if seed is None else seed,
        jobs=jobs or default_jobs(),
        sizes={"producers": producers, "consumers": consumers, "messages": messages},
        **rest,  # type: ignore[arg-type]
    )
    _prepare(options)
    return _Run(chosen, queue, options).run()


class _Run:
    """One run of the command: what is to be done, and what is done already."""

    def __init__(self, chosen: Sequence[Found], queue: str, options: Options) -> None:
        self._queue = queue
        self._options = options
        self._short = [each for each in chosen if not each.scenario.long_lived]
        self._long = [each for each in chosen if each.scenario.long_lived and options.trial is None]
        if options.trial is not None:
            self._short = list(chosen)
        self._order = {each.scenario.name: index for index, each in enumerate(chosen)}
        self._share_s = None if options.duration is None else options.duration / len(chosen)
        self._done: list[Result] = []
        self._numbers: dict[str, int] = {}
        self._whole = 0
        self._skipped: list[str] = []
        self._stopped = ""

    def run(self) -> int:
        options = self._options
        # What a scenario does not allow is refused before anything runs.
        for each in self._long:
            each.scenario.sizes(options.sizes)
        planned = [list(self._budgeted(each)) for each in self._short]
        total = sum(map(len, planned)) if self._share_s is None else None
        show = Show(
            no_color=options.no_color,
            stderr=options.as_json,
            quiet=options.quiet,
            verbose=options.verbose,
            total=total,
        )
        show.say(f"queue {self._queue}, seed {options.seed}")
        status = None
        failed: HarnessError | ReportError | None = None
        try:
            with show, until_signalled():
                try:
                    self._run_short(self._within_budgets(planned) if self._share_s is None else self._in_turn(), show)
                    if self._long and not (options.fail_fast and self._found()):
                        self._run_long(show)
                except KeyboardInterrupt:
                    status = cli.INTERRUPTED
                except Terminated:
                    status = cli.TERMINATED
                except (HarnessError, ReportError) as error:
                    failed = error
            if status is not None:
                done = len(self._done)
                # Of how many is not known where time decides, and not of use where a soak came after all of them.
                told = f"{done} of {count_of(total, 'trial')}" if total and done <= total else count_of(done, "trial")
                self._stopped = f", stopped after {told}"
        finally:
            self._finish(show)
        if failed is not None:
            raise failed
        return status if status is not None else exit_status_of(self._done)

    def _run_short(self, todo: Iterator[Todo], show: Show) -> None:
        with Pool(todo, self._options.jobs) as pool:
            for result in pool.results(_TICK_S):
                if isinstance(result, Failed):
                    raise result.error
                if result is None:
                    show.alive()
                    continue
                self._take(result, show)
                if self._options.fail_fast and self._found():
                    self._stopped = ", stopped at the first finding"
                    return

    def _run_long(self, show: Show) -> None:
        from ._soak import soak  # and statistics, which other scenarios do without

        for each in self._long:
            show.endless(each.scenario.name)
            options = self._options
            trials = self._plans(each)
            seconds = each.scenario.seconds if self._share_s is None else max(self._share_s, cli.SHORTEST_S)
            results = soak(
                itertools.islice(trials, options.count),
                scenario=each.scenario.name,
                queue=self._queue,
                command=f"{self._command(each)} --duration {seconds:g}s",
                seed=options.seed,
                seconds=seconds,
                patience_s=options.patience,
                jobs=options.jobs,
                say=show.say,
                alive=show.alive,
            )
            try:
                for result in results:
                    self._take(result, show)
            except (KeyboardInterrupt, Terminated) as error:
                # It came while a result was taken: there is one more, of the workload. Or the soak itself raised it.
                self._take(results.throw(error), show)
                raise

    def _take(self, result: Result, show: Show) -> None:
        report, failed = self._options.report, None
        if report is not None and result.verdict is not None and result.verdict.history.events:
            directory = report / file_name(result.plan)
            try:
                kept = runner.keep(result.verdict, directory)
            except OSError as error:
                failed = refused(directory, error)
            else:
                result = dataclasses.replace(result, verdict=kept, command=kept.replay or result.command)
        if status_of(result) == VALID:
            self._whole += 1
            if report is None or self._whole > _MOST_WHOLE:
                result = without_events(result)
        self._done.append(result)
        show.done(result)
        if failed is not None:
            raise failed

    def _place(self, result: Result) -> tuple[int, int]:
        """Return where a result belongs, however fast it came: by scenario, and by its trial's number."""
        return self._order[result.scenario], self._numbers.get(result.plan.name, sys.maxsize)

    def _found(self) -> bool:
        return any(result.verdict is not None and result.verdict.findings for result in self._done)

    def _finish(self, show: Show) -> None:
        """Tell what has been done, and write it: in this order, since a disk can be full."""
        self._done.sort(key=self._place)
        self._tell(show)
        if self._options.junit is not None:
            write_junit(self._options.junit, self._done)
        if self._options.report is not None:
            # The trials' own files are there already.
            write_report(self._options.report, self._done, keep_trials=False)

    def _tell(self, show: Show) -> None:
        options = self._options
        if options.as_json:
            document = {
                "queue": self._queue,
                "seed": options.seed,
                "stopped": self._stopped.removeprefix(", ") or None,
                "results": [document_of(result) for result in self._done],
            }
            click.echo(json.dumps(document, indent=2))
        if not self._done:
            show.line(f"stopped before the first trial had ended (seed {options.seed})")
            return
        show.table(self._done)
        show.explain(self._done, more=f"{options.report}" if options.report else "--report DIR keeps them all")
        for line in self._skipped:
            show.line(line)
        counts = Counter(status_of(result) for result in self._done)
        show.line(f"{count_of(len(self._done), 'trial')}: {counted(counts)}{self._stopped} (seed {options.seed})")

    # --- what is to be done ---------------------------------------------------------------------------------------

    def _plans(self, each: Found) -> Iterator[Todo]:
        """Yield the trials of a scenario without end. Each has a number, by which it is found again."""
        options = self._options
        plans = each.scenario.plans(
            self._queue, options.seed, options.sizes, patience_s=options.patience, deadline_s=DEADLINE_S
        )
        for number, plan in enumerate(plans, start=1):
            if not each.scenario.long_lived:  # of a soak's there may be very many, and few are kept
                self._numbers[plan.name] = number
            yield Todo(each.scenario.name, plan, self._command(each, number))

    def _budgeted(self, each: Found) -> Iterator[Todo]:
        scenario, options = each.scenario, self._options
        if options.trial is not None:
            return itertools.islice(self._plans(each), options.trial - 1, options.trial)
        count = options.count or scenario.budget(scenario.sizes(options.sizes))
        return itertools.islice(self._plans(each), count)

    def _within_budgets(self, planned: Sequence[Sequence[Todo]]) -> Iterator[Todo]:
        """Yield scenario after scenario, each for as long as its default budget lasts."""
        for each, todos in zip(self._short, planned, strict=True):
            began = time.monotonic()
            for index, todo in enumerate(todos):
                if self._options.count is None and time.monotonic() - began > each.scenario.seconds:
                    self._skipped.append(
                        f"{each.scenario.name}: {index} of {len(todos)} trials within its budget of "
                        f"{each.scenario.seconds:g} s; --count {len(todos)} runs them all"
                    )
                    break
                yield todo

    def _in_turn(self) -> Iterator[Todo]:
        """Yield a trial of each scenario in turn, once at least, until the time is over or each has had its count."""
        if not self._short or self._share_s is None:
            return
        end = time.monotonic() + self._share_s * len(self._short)
        turns = zip(*(itertools.islice(self._plans(each), self._options.count) for each in self._short), strict=True)
        yield from next(turns, ())
        for todo in itertools.chain.from_iterable(turns):
            if time.monotonic() > end:
                return
            yield todo

    def _command(self, each: Found, number: int | None = None) -> str:
        options = self._options
        words = ["monkeywrench", "run", each.reference, "--queue", self._queue, "--seed", str(options.seed)]
        if options.patience != cli.DEFAULT_PATIENCE_S:
            words += ["--patience", f"{options.patience:g}"]
        for name, value in options.sizes.items():
            words += [] if value is None else [f"--{name}", str(value)]
        if number is not None:
            words += ["--trial", str(number)]
        return shlex.join(words)


def exit_status_of(results: Sequence[Result]) -> int:
    """Return the exit status of the worst verdict. What was not tried did not pass."""
    statuses = {status_of(result) for result in results} - {NOT_APPLICABLE} or {UNKNOWN}
    return EXIT_STATUS[max(statuses, key=RANK.index)]


def replay_plan(plan: Plan, *, no_color: bool) -> int:
    """Run one plan again, show its verdict, and return the exit status."""
    return show_verdict(runner.run(plan), no_color=no_color)


def show_verdict(verdict: Verdict, *, no_color: bool) -> int:
    """Show one verdict, and return the exit status that says the same."""
    explain(console_of(no_color=no_color), verdict)
    return EXIT_STATUS[verdict.status]


def prepare_report(report: Path, names: Sequence[str] = (PAGE, TRACE, JUNIT), parts: Iterable[Path] = ()) -> None:
    """Make a report's directory, and see that the files *names*, and reports in its *parts*, can be written there; or
    say what is wrong with ``--report``.
    """
    try:
        report.mkdir(parents=True, exist_ok=True)
        prepare(report, names)
        for part in parts:
            prepare(part)
    except OSError as error:
        raise click.UsageError(f"--report {report}: {error.strerror}") from None
    except ReportError as error:
        raise click.UsageError(f"--report {report}: {error.message}") from None


def _prepare(options: Options) -> None:
    """Refuse what would be noticed only when everything has run."""
    if options.trial is not None and (options.count is not None or options.duration is not None):
        raise PlanError("--trial names one trial; leave --count and --duration away")
    if options.report is not None:
        prepare_report(options.report)
    if options.junit is not None and (why := _why_no_file(options.junit)):
        raise click.UsageError(f"--junit {options.junit}: {why}")


def _why_no_file(path: Path) -> str:
    """Return why no file can be written at a path, or an empty text. An empty path is the working directory's."""
    if path.is_dir():
        return f"{os.strerror(errno.EISDIR)}; give the path of a file"
    if not path.parent.is_dir():
        return os.strerror(errno.ENOENT)
    return "" if os.access(path.parent, os.W_OK) else os.strerror(errno.EACCES)


@contextlib.contextmanager
def until_signalled() -> Iterator[None]:
    """Have SIGTERM end a run as Ctrl-C does."""

    def terminate(_number: int, _frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def file_name(plan: Plan) -> str:
    """Return what a trial's own directory is called in a report."""
    return re.sub(r"\W+", "-", plan.name)
