"""The command line. Each command is a thin skin over a module of its own, imported when the command runs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import click

# Exit statuses; click itself exits with 2 for what it does not understand.
VALID, FINDING, USAGE, UNKNOWN, HARNESS = 0, 1, 2, 3, 4
INTERRUPTED = 130
BROKEN_PIPE = 141

DEFAULT_PATIENCE_S = 5.0


class _Group(click.Group):
    """A group which suggests what was meant, and maps the project's errors to exit statuses."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            raise click.UsageError(_unknown("command", args[0], self.list_commands(ctx)), ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        from monkeywrench.harness import HarnessError, HistoryError, PlanError

        # So that module:object finds what is in the working directory; last, so that it hides nothing.
        sys.path.append(os.getcwd())
        try:
            return super().invoke(ctx)
        except (PlanError, HistoryError) as error:
            raise click.UsageError(str(error)) from error
        except HarnessError as error:
            click.echo(f"Error: the harness itself, or the adapter, failed: {error}", err=True)
            ctx.exit(HARNESS)
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(INTERRUPTED)


def _unknown(what: str, name: str, known: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return f"No {what} is called {name!r}.{hint} There are: {', '.join(known)}."


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit status: 0 all valid, 1 a finding, 2 usage, 3 unknown, 4 the harness itself failed.",
)
@click.version_option(package_name="monkeywrench")
def main() -> None:
    """Throw a wrench into your queue before production does.

    Starts real producers and consumers around a queue, breaks them at exactly the wrong moment, and proves from the
    recorded history that nothing was reordered, corrupted, lost, stuck or left behind.
    """


_no_color = click.option("--no-color", is_flag=True, help="Plain text. So does the environment's NO_COLOR.")


@main.command(epilog="Example: monkeywrench run killed-consumer --queue multiprocessing.Queue")
@click.argument("scenario", nargs=-1)
@click.option(
    "--queue",
    metavar="QUEUE",
    help="The queue to break: a name out of 'list', module:object or file.py:object.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**63 - 1),
    metavar="N",
    help="Draws everything that is drawn. Default: a new one, printed.",
)
@click.option(
    "--patience",
    type=click.FloatRange(0.1, 86_400),
    default=DEFAULT_PATIENCE_S,
    show_default=True,
    metavar="SECONDS",
    help="Without any event for so long, peers are stuck.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Keep each trial's plan.json and history.jsonl below this directory.",
)
@click.option("-q", "--quiet", is_flag=True, help="Only what is not valid, and the last line.")
@click.option("-v", "--verbose", is_flag=True, help="Explain the valid verdicts too.")
@_no_color
def run(scenario: tuple[str, ...], queue: str | None, **options: Any) -> None:
    """Run every scenario, or those named."""
    from monkeywrench.harness.adapters import DEFAULT, absolute, load
    from monkeywrench.scenarios import SCENARIOS
    from monkeywrench.scenarios._run import run_scenarios

    for name in scenario:
        if name not in SCENARIOS:
            raise click.UsageError(_unknown("scenario", name, list(SCENARIOS)))
    queue = absolute(queue or DEFAULT)
    load(queue)
    chosen = [SCENARIOS[name] for name in dict.fromkeys(scenario)] or list(SCENARIOS.values())
    sys.exit(run_scenarios(chosen, queue, **options))


@main.command("list")
def list_() -> None:
    """Show the scenarios and the queues that there are."""
    from monkeywrench.harness.adapters import ADAPTERS, DEFAULT
    from monkeywrench.scenarios import SCENARIOS

    formatter = click.HelpFormatter()
    with formatter.section("Scenarios"):
        formatter.write_dl([(scenario.name, scenario.sentence) for scenario in SCENARIOS.values()])
    with formatter.section("Queues"):
        own = ("module:object", "an adapter of your own; or file.py:object")
        formatter.write_dl([*((name, "the default" if name == DEFAULT else "") for name in ADAPTERS), own])
    click.echo(formatter.getvalue(), nl=False)


@main.command()
@click.argument("plan", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_no_color
def replay(plan: Path, no_color: bool) -> None:
    """Run the trial in the file PLAN again."""
    from monkeywrench.harness.plan import Plan
    from monkeywrench.scenarios._run import replay_plan

    sys.exit(
        replay_plan(Plan.loads(plan.read_text(encoding="utf-8", errors="replace"), source=str(plan)), no_color=no_color)
    )


@main.command()
@click.argument("history", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_no_color
def check(history: Path, no_color: bool) -> None:
    """Judge the recorded trial in the file HISTORY again; nothing runs."""
    from monkeywrench.harness import History, judge
    from monkeywrench.scenarios._run import show_verdict

    sys.exit(show_verdict(judge(History.load(history)), no_color=no_color))


@main.command(epilog="Example: monkeywrench bench small batches --rounds 9 --json")
@click.argument("shape", nargs=-1)
@click.option("--rounds", type=click.IntRange(1, 1000), default=9, show_default=True, help="How often each is timed.")
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


_timeout = click.option(
    "--timeout", type=click.FloatRange(0), metavar="SECONDS", help="Give up then, with exit status 1."
)
_path = click.argument("path", type=click.Path(path_type=Path))


@queue.command(short_help="Put a message.", epilog="Example: monkeywrench queue put jobs.fifo --json '[1, null]'")
@_path
@click.argument("message")
@click.option("--json", "as_json", is_flag=True, help="MESSAGE is JSON: put what it means, not its text.")
@_timeout
def put(path: Path, message: str, as_json: bool, timeout: float | None) -> None:
    """Put MESSAGE into the queue at PATH, which is made if it is missing.

    A FIFO forgets its bytes when its last holder goes. So if nobody else has it open, this waits until somebody has
    taken the message.
    """
    from monkeywrench.scenarios._queue import put_message

    sys.exit(put_message(path, message, as_json=as_json, timeout=timeout))


@queue.command(short_help="Get messages, and print them.")
@_path
@click.option("--count", type=click.IntRange(1), default=1, show_default=True, help="How many messages to get.")
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
