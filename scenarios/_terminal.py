"""Where the commands print: one console, and one bar of progress."""

from __future__ import annotations

import os

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from . import cli


class Terminated(BaseException):
    """SIGTERM has come."""


def count_of(count: int, what: str) -> str:
    """Return how many there are, as text: 1 trial, 2,000 trials."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


class _Console(Console):
    """Rich's console; but whoever reads its output no longer (``| head``) has found nothing wrong with a queue."""

    def on_broken_pipe(self) -> None:
        """End, as a process ends that SIGPIPE kills."""
        cli.discard_output()
        raise SystemExit(cli.BROKEN_PIPE)


def console_of(*, no_color: bool, stderr: bool = False) -> Console:
    """Return the console of a command. Without colour it is plain text: nothing bold, no bar, no cursor that moves."""
    plain = no_color or bool(os.environ.get("NO_COLOR"))
    return _Console(no_color=plain, force_terminal=False if plain else None, stderr=stderr)


def progress_on(console: Console, *, quiet: bool = False) -> Progress:
    """Return a bar of progress, to be entered; it shows nothing where nobody watches, and vanishes in the end."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal)
