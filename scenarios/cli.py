"""The command line. Each command is a thin skin over a module of its own, imported when the command runs."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

# Exit statuses; click itself exits with 2 for what it does not understand.
VALID, FINDING, USAGE, UNKNOWN, HARNESS = 0, 1, 2, 3, 4
INTERRUPTED = 130
BROKEN_PIPE = 141
TERMINATED = 143

# What --duration takes at least.
SHORTEST_S = 1.0
DEFAULT_PATIENCE_S = 5.0
MATRIX_PATIENCE_S = 3.0


class _Whole(click.IntRange):
    name = "whole number"  # as an error calls it


class _Seconds(click.FloatRange):
    name = "number of seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        seconds = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is no number of seconds.", param, ctx)
        return seconds


class _Group(click.Group):
    """A group which suggests what was meant, and maps the project's errors to exit statuses."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise click.UsageError(_unknown("command", args[0], self.list_commands(ctx)), ctx)
        return super().resolve_command(ctx, args)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _with_exit_status():  # --help and --version print while the arguments are read
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        with _with_exit_status():
            return self._invoke(ctx)

    def _invoke(self, ctx: click.Context) -> Any:
        from monkeywrench.harness import HarnessError, HistoryError, PlanError

        # So that module:object finds what is in the working directory; last, so that it hides nothing.
        with contextlib.suppress(FileNotFoundError):  # it has been removed
            sys.path.append(os.getcwd())
        try:
            return super().invoke(ctx)
        except (PlanError, HistoryError) as error:
            raise click.UsageError(str(error)) from error
        except HarnessError as error:
            said = "\n".join([str(error), *getattr(error, "__notes__", ())])
            click.echo(f"Error: the harness itself, or the adapter, failed: {said}", err=True)
            ctx.exit(HARNESS)


@contextlib.contextmanager
def _with_exit_status() -> Iterator[None]:
    """End with the exit status that says so when somebody interrupts, or the system refuses something."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo("Interrupted.", err=True)
        raise click.exceptions.Exit(INTERRUPTED) from None
    except OSError as error:
        raise refused(error) from None


def refused(error: OSError) -> click.exceptions.Exit:
    """Say what the system refuses, and return the end of the command. Nothing more is printed."""
    discard_output()
    if isinstance(error, BrokenPipeError):  # nobody reads what it prints: that is no finding
        return click.exceptions.Exit(BROKEN_PIPE)
    with contextlib.suppress(OSError):  # of standard error as well
        click.echo(f"Error: the system refuses: {words(error)}", err=True)
    return click.exceptions.Exit(HARNESS)


def discard_output() -> None:
    """Have nothing printed any more: what could not be written would be tried again at the very end."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def words(error: Exception) -> str:
    """Return what an error says, without its number."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)


def _unknown(what: str, name: str, known: list[str]) -> str:
    from monkeywrench.harness._errors import meant

    return f"No {what} is called {name!r}.{meant(name, known, ' Did you mean {}?')} There are: {', '.join(known)}."


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 all valid, 1 a finding, 2 usage, 3 unknown, 4 the harness itself failed, 130 Ctrl-C, 143 "
    "SIGTERM.",
)
@click.version_option(package_name="monkeywrench")
def main() -> None:
    """Throw a wrench into your queue before production does.

    Starts real producers and consumers around a queue, breaks them at exactly the wrong moment, and proves from the
    recorded history that nothing was reordered, corrupted, lost, stuck or left behind.
    """


def _seconds(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    """Return how many seconds a duration is, written as people write them."""
    import re

    if value is None:
        return None
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|m|h|)", value.strip())
    seconds = float(found[1]) * {"s": 1, "m": 60, "h": 3600, "": 1}[found[2]] if found else 0.0
    if not SHORTEST_S <= seconds <= 720 * 3600:
        raise click.BadParameter(f"{value!r}: from 1s to 720h is allowed, such as 90s, 10m or 1h")
    return seconds


def _directory(_ctx: click.Context, _param: click.Parameter, value: str | None) -> Path | None:
    """Return the directory that is named; an empty name is none, and not the working directory."""
    if value is None:
        return None
    if not value:
        raise click.BadParameter("it is empty: a directory is expected, such as report, or . for this one")
    if Path(value).exists() and not Path(value).is_dir():
        raise click.BadParameter(f"{value!r} is no directory")
    return Path(value)


def _complete_scenario(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Any]:
    from click.shell_completion import CompletionItem
    from monkeywrench.scenarios._catalogue import all_scenarios

    found = [each.reference for each in all_scenarios()[0] if each.reference.startswith(incomplete)]
    return [CompletionItem(name) for name in found] or [CompletionItem(incomplete, type="file")]


def _complete_queue(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[Any]:
    from click.shell_completion import CompletionItem
    from monkeywrench.scenarios._queues import names

    found = [name for name in names() if name.startswith(incomplete)]
    return [CompletionItem(name) for name in found] or [CompletionItem(incomplete, type="file")]


_no_color = click.option("--no-color", is_flag=True, help="Plain text. So does the environment's NO_COLOR.")
_scenarios = click.argument("scenario", nargs=-1, shell_complete=_complete_scenario)
_seed = click.option(
    "--seed",
    type=_Whole(0, 2**63 - 1),
    metavar="N",
    help="Draws everything that is drawn. Default: a new one, printed.",
)


def _jobs(default: str) -> Callable[[Any], Any]:
    return click.option("-j", "--jobs", type=_Whole(1, 256), metavar="N", help=f"Trials at a time. Default: {default}.")


def _patience(default: float) -> Callable[[Any], Any]:
    return click.option(
        "--patience",
        type=_Seconds(0.1, 86_400),
        default=default,
        show_default=True,
        metavar="SECONDS",
        help="Without any event for so long, peers are stuck.",
    )


def _sizes(command: Any) -> Any:
    for name, where in {"messages": "of each producer", "consumers": "in a trial", "producers": "in a trial"}.items():
        text = f"So many {name} {where}."
        command = click.option(f"--{name}", type=_Whole(1), metavar="N", help=text)(command)
    return command


def _chosen(references: tuple[str, ...]) -> list[Any]:
    """Return the scenarios that are named, or all, and warn of those that could not be had."""
    from monkeywrench.scenarios._catalogue import all_scenarios, choose

    known, problems = all_scenarios()
    for problem in problems:
        click.echo(f"Warning: {problem}", err=True)
    return choose(references, known) if references else known


@main.command(
    epilog="""Examples:

    \b
      monkeywrench run
      monkeywrench run killed-consumer --queue multiprocessing.Queue
      monkeywrench run crowd --producers 50 --messages 100 --count 20 --fail-fast
      monkeywrench run path/to/mine.py --queue path/to/mine.py:MyQueue
      monkeywrench run soak --duration 10m --report report
      monkeywrench run --json --junit junit.xml > results.json

    Exit status: 0 all valid, 1 a finding, 2 usage, 3 unknown, or nothing applied, 4 the harness itself failed, 130
    Ctrl-C, 143 SIGTERM.
    """
)
@_scenarios
@click.option(
    "--queue",
    metavar="QUEUE",
    shell_complete=_complete_queue,
    help="The queue to break: a name out of 'list', module:object or file.py:object.",
)
@_seed
@click.option("--count", type=_Whole(1), metavar="N", help="So many trials of each scenario.")
@click.option("--duration", callback=_seconds, metavar="TIME", help="Repeat for so long: 90s, 10m, 1h.")
@click.option("--trial", type=_Whole(1), metavar="N", help="Only the N-th trial of each scenario.")
@_sizes
@_patience(DEFAULT_PATIENCE_S)
@_jobs("one a core")
@click.option("--fail-fast", is_flag=True, help="Stop at the first finding.")
@click.option("--json", "as_json", is_flag=True, help="Every result as JSON on standard output, all else elsewhere.")
@click.option(
    "--junit",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Write the results as JUnit's XML, for CI.",
)
@click.option(
    "--report",
    callback=_directory,
    metavar="DIR",
    help="Write report.html here, with trace.json, junit.xml, and each trial's plan.json and history.jsonl.",
)
@click.option("-q", "--quiet", is_flag=True, help="Only what is not valid, and the last line.")
@click.option("-v", "--verbose", is_flag=True, help="Explain the valid verdicts too, and what is not applicable.")
@_no_color
def run(scenario: tuple[str, ...], queue: str | None, **options: Any) -> None:
    """Run every scenario, or those named.

    SCENARIO is a name out of 'list', or a file of your own: file.py, file.py:NAME or file.toml.
    """
    from monkeywrench.harness.adapters import DEFAULT, absolute, load
    from monkeywrench.scenarios._run import run_scenarios

    chosen = _chosen(scenario)
    queue = absolute(DEFAULT if queue is None else queue)
    load(queue)
    sys.exit(run_scenarios(chosen, queue, **options))


@main.command(
    epilog="""Examples:

    \b
      monkeywrench matrix
      monkeywrench matrix killed-producer killed-consumer --markdown
      monkeywrench matrix --queue multiprocessing.Queue --queue mine.py:MyQueue --json
    """
)
@_scenarios
@click.option(
    "--queue",
    "queues",
    multiple=True,
    metavar="QUEUE",
    shell_complete=_complete_queue,
    help="A queue to compare; again for each. Default: every one that is installed.",
)
@_seed
@_sizes
@_patience(MATRIX_PATIENCE_S)
@_jobs("three a core, for many only wait")
@click.option("--json", "as_json", is_flag=True, help="Every cell and its trials as JSON on standard output.")
@click.option("--markdown", is_flag=True, help="The table as Markdown on standard output.")
@click.option(
    "--report",
    callback=_directory,
    metavar="DIR",
    help="Keep matrix.md, matrix.json, matrix.html and each queue's report below this directory.",
)
@_no_color
def matrix(scenario: tuple[str, ...], queues: tuple[str, ...], **options: Any) -> None:
    """Run every scenario on every queue, and show who survives what.

    A cell says "survived", what was found, or n/a. One with a tilde (~) rests on timing, and may differ from run to
    run; the others are the same for the same seed.
    """
    from monkeywrench.scenarios._matrix import run_matrix

    sys.exit(run_matrix(_chosen(scenario), queues, **options))


@main.command("list", epilog="Example: monkeywrench list torn-write path/to/mine.toml")
@_scenarios
def list_(scenario: tuple[str, ...]) -> None:
    """Show the scenarios and the queues that there are; or all about the scenarios named."""
    from monkeywrench.harness.adapters import DEFAULT
    from monkeywrench.scenarios._queues import missing, names
    from monkeywrench.scenarios._terminal import count_of

    formatter = click.HelpFormatter(max_width=100)
    chosen = _chosen(scenario)
    if scenario:
        for each in chosen:
            found = each.scenario
            trials = count_of(found.budget(found.sizes()), "trial")
            budget = trials if not found.long_lived else f"{found.seconds:g} s"
            with formatter.section(found.name):
                rows = [(name, str(parameter)) for name, parameter in found.parameters.items()]
                formatter.write_dl([("befalls", found.sentence), ("expects", found.expects), *rows, ("budget", budget)])
        click.echo(formatter.getvalue(), nl=False)
        return
    with formatter.section("Scenarios"):
        own = ("file.py, file.toml", "scenarios of your own")
        formatter.write_dl([*((each.reference, each.scenario.sentence) for each in chosen), own])
    with formatter.section("Queues"):
        own = ("module:object", "an adapter of your own; or file.py:object")
        rows = [(name, "the default" if name == DEFAULT else missing(name) or "") for name in names()]
        formatter.write_dl([*rows, own])
    click.echo(formatter.getvalue(), nl=False)


@main.command(epilog="Example: monkeywrench replay report/torn-write-a-small-message/plan.json")
@click.argument("plan", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_no_color
def replay(plan: Path, no_color: bool) -> None:
    """Run the trial in the file PLAN again."""
    from monkeywrench.harness.plan import Plan
    from monkeywrench.scenarios._run import replay_plan

    sys.exit(
        replay_plan(Plan.loads(plan.read_text(encoding="utf-8", errors="replace"), source=str(plan)), no_color=no_color)
    )


@main.command(epilog="Example: monkeywrench check report/torn-write-a-small-message/history.jsonl")
@click.argument("history", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_no_color
def check(history: Path, no_color: bool) -> None:
    """Judge the recorded trial in the file HISTORY again; nothing runs."""
    from monkeywrench.harness import History, judge
    from monkeywrench.scenarios._run import show_verdict

    sys.exit(show_verdict(judge(History.load(history)), no_color=no_color))


@main.command(epilog="Example: monkeywrench bench small batches --rounds 9 --json")
@click.argument("shape", nargs=-1)
@click.option("--rounds", type=_Whole(1, 1000), default=9, show_default=True, help="How often each is timed.")
@click.option("--json", "as_json", is_flag=True, help="Every figure as JSON on standard output, progress elsewhere.")
@_no_color
def bench(shape: tuple[str, ...], rounds: int, as_json: bool, no_color: bool) -> None:
    """Time the built-in queue beside its peers, in every SHAPE or in those named.

    The shapes: small, batches, "1 MiB", "4 to 1", "1 to 4", "round trips". A queue that is not installed is named and
    skipped.
    """
    from monkeywrench.scenarios._bench import run_bench
    from monkeywrench.scenarios._measure import SHAPES

    for name in shape:
        if name not in SHAPES:
            raise click.UsageError(_unknown("shape", name, list(SHAPES)))
    sys.exit(run_bench(list(dict.fromkeys(shape)) or list(SHAPES), rounds=rounds, as_json=as_json, no_color=no_color))


@main.group(cls=_Group)
def queue() -> None:
    """Send and receive over a named-pipe queue from the shell, and look at one."""


_timeout = click.option("--timeout", type=_Seconds(0), metavar="SECONDS", help="Give up then, with exit status 1.")
_path = click.argument("path", type=click.Path(path_type=Path))


@queue.command(short_help="Put a message.", epilog="Example: monkeywrench queue put jobs.fifo --json '[1, null]'")
@_path
@click.argument("message")
@click.option("--json", "as_json", is_flag=True, help="MESSAGE is JSON: put what it means, not its text.")
@_timeout
def put(path: Path, message: str, as_json: bool, timeout: float | None) -> None:
    """Put MESSAGE into the queue at PATH, which is made if it is missing.

    A FIFO forgets its bytes when its last holder goes. So if nobody else has it open, this waits until somebody has
    taken the message. Write -- before a MESSAGE that begins with a dash.
    """
    from monkeywrench.scenarios._queue import put_message

    sys.exit(put_message(path, message, as_json=as_json, timeout=timeout))


@queue.command(short_help="Get messages, and print them.")
@_path
@click.option("--count", type=_Whole(1), default=1, show_default=True, help="How many messages to get.")
@_timeout
def get(path: Path, count: int, timeout: float | None) -> None:
    """Get messages from the queue at PATH: text as it is, anything else as Python writes it.

    The FIFO is made if it is missing. Without --timeout, this waits until messages come.
    """
    from monkeywrench.scenarios._queue import get_messages

    sys.exit(get_messages(path, count=count, timeout=timeout))


@queue.command(short_help="Show who holds it, and what is unread.")
@_path
def inspect(path: Path) -> None:
    """Show who holds the FIFO at PATH, how much is unread, and whether it is stale; disturb nobody."""
    from monkeywrench.scenarios._queue import inspect_fifo

    sys.exit(inspect_fifo(path))


@main.command(
    short_help="Look at this system, and for what earlier runs have left.",
    epilog="Exit status: 0 nothing of earlier runs is left, 1 something is. A warning changes nothing.",
)
@click.option("--clean", is_flag=True, help="Remove what is left of earlier runs, if nobody uses it; and nothing else.")
def doctor(clean: bool) -> None:
    """Tell what on this system matters here, each with one word and why, and what earlier runs have left behind.

    Left behind are directories of temporary files whose owner is dead, with the FIFOs in them, and processes that
    outlived the one which they worked for.
    """
    from monkeywrench.scenarios._doctor import show

    sys.exit(show(clean=clean))
