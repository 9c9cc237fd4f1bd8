"""Files of a report: whole or not at all, and never in place of somebody else's."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import click

from .._result import Result

PAGE, TRACE, JUNIT, PLAN, HISTORY = "report.html", "trace.json", "junit.xml", "plan.json", "history.jsonl"
# What a matrix's report has beside the reports of its queues.
MATRIX = MATRIX_DATA, MATRIX_TABLE, MATRIX_PAGE = "matrix.json", "matrix.md", "matrix.html"
# What each file of a report begins with. Any other file of that name is somebody else's.
BEGINNINGS = {
    PAGE: "<!doctype html>\n<!-- monkeywrench report -->\n",
    TRACE: '{"otherData": {"generator": "monkeywrench"',
    JUNIT: '<?xml version="1.0" encoding="utf-8"?>\n<testsuites name="monkeywrench"',
    PLAN: '{\n  "plan": ',
    HISTORY: '{"history": ',
    MATRIX_DATA: '{\n  "generator": "monkeywrench matrix"',
    MATRIX_TABLE: "<!-- monkeywrench matrix -->\n",
    MATRIX_PAGE: "<!doctype html>\n<!-- monkeywrench matrix -->\n",
}


class ReportError(click.ClickException):
    """A report, or a part of it, was not written. What was there before is as it was."""

    exit_code = 4


def prepare(directory: Path, names: Sequence[str] = (PAGE, TRACE, JUNIT)) -> None:
    """Make *directory* if it is missing, and see that a report can be written there, before anything runs.

    names: the report's own files.

    Raises ReportError for a directory that cannot be written to, and for a file in the place of one of the report's
    own which no report has left there. Changes nothing else.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe = directory / f".{PAGE}.{os.urandom(6).hex()}.part"
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        probe.unlink()
    except OSError as error:
        raise refused(directory, error) from error
    for name in names:
        _check_is_own(directory / name)


class _Part(io.TextIOWrapper):
    """A file beside the one that it is to become. What goes wrong with it is a ReportError that names the latter."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.{os.urandom(6).hex()}.part")
        # What a queue says may have parts that are no text, such as a lone surrogate.
        super().__init__(open(self._part, "xb"), encoding="utf-8", errors="backslashreplace", newline="\n")

    def write(self, text: str, /) -> int:
        try:
            return super().write(text)
        except OSError as error:
            raise refused(self._path, error) from error

    def take_its_place(self) -> None:
        self.flush()
        os.fsync(self.fileno())  # some file systems find out only now that they are full
        self.close()
        self._part.replace(self._path)

    def abandon(self) -> None:
        with contextlib.suppress(OSError):  # what could not be written before cannot be now
            self.close()
        with contextlib.suppress(OSError):
            self._part.unlink()


@contextlib.contextmanager
def whole(path: Path, *, own: bool = True) -> Iterator[IO[str]]:
    """Open a file to write, which takes its place at *path* when the context ends in order, and never before.

    own: whether what is there already must be an earlier report's.

    Raises ReportError if it cannot be written: a full disk, no permission, something else in its place.
    """
    if own:
        _check_is_own(path)
    try:
        file = _Part(path)
    except OSError as error:
        raise refused(path, error) from error
    try:
        yield file
        try:
            file.take_its_place()
        except OSError as error:
            raise refused(path, error) from error
    except BaseException:
        file.abandon()
        raise


def keep(directory: Path, result: Result) -> None:
    """Write a trial's plan and history to *directory*, made if it is missing."""
    if result.verdict is None:
        return
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise refused(directory, error) from error
    with whole(directory / PLAN) as file:
        file.write(result.plan.dumps())
    with whole(directory / HISTORY) as file:
        file.writelines(f"{line}\n" for line in result.verdict.history.lines())


def directory_names(results: Sequence[Result]) -> list[str]:
    """Return the name of each trial's own directory in the report, no two the same."""
    names: dict[str, None] = {}
    for result in results:
        name = unique = re.sub(r"\W+", "-", result.plan.name)
        more = 1
        while unique in names:
            more += 1
            unique = f"{name}-{more}"
        names[unique] = None
    return list(names)


def earlier_trials(directory: Path) -> list[str]:
    """Return the names of the trials' own directories which the report that is there lists."""
    try:
        with open(directory / TRACE, encoding="utf-8") as file:
            listed = json.loads(f"{file.readline()}]}}")["otherData"]["trials"]
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [name for name in listed if isinstance(name, str) and re.fullmatch(r"[\w-]+", name)]


def remove_trial(directory: Path) -> None:
    """Remove a trial's plan and history, and its directory if nothing else is in there."""
    if directory.is_symlink():
        return
    with contextlib.suppress(OSError, ReportError):
        for name in (PLAN, HISTORY):
            _check_is_own(directory / name)
            (directory / name).unlink(missing_ok=True)
        directory.rmdir()


def _check_is_own(path: Path) -> None:
    """Raise ReportError if there is something at *path* that no report has left there."""
    beginning = BEGINNINGS[path.name]
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            found = file.read(len(beginning))
    except FileNotFoundError:
        return
    except OSError as error:
        raise refused(path, error) from error
    if found != beginning:
        raise ReportError(
            f"{path} is there already, and is no {path.name} of an earlier report: it was left as it is. "
            "Move it away, or choose another directory."
        )


def refused(path: Path, error: OSError) -> ReportError:
    """Return the error for what cannot be written."""
    why = os.strerror(error.errno) if error.errno else str(error)
    return ReportError(
        f"{path} cannot be written: {why}. Nothing of it is there, and an earlier one is as it was. "
        "Make room or give permission, or choose another directory."
    )
