#!/usr/bin/env python3
"""Kill whole runs: pytest, an xdist worker, the ancestor, a trial root, or the command line, each at a random moment.

Whoever is killed, all below it has to end, and nothing may be left behind. Of a worker, an ancestor and a root, the
others go on, and the run comes to its end; then nothing may be left. Exit status: 0 if so each time, and within 5
seconds; 1 if not, with what is left.

    python tests/attacks/killed_runs.py --times 200 --seed 1
    python tests/attacks/killed_runs.py --times 20 --whom root
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

WHOM = ("pytest", "worker", "ancestor", "root", "command line")
ALLOWED_S = 5.0
LONGEST_S = 90.0
# What the victims run: trial after trial, and FIFOs of a test's own.
SUITE = """
import os
import pytest
from monkeywrench.harness import messages

@pytest.mark.parametrize("number", range(8))
def test_it(monkeywrench, fifo_path, number):
    os.mkfifo(fifo_path)
    trial = monkeywrench.trial(producers=2, consumers=2, messages=200)
    assert trial.kill("producer-0", at=messages(50)).run().valid
    fifo_path.unlink()
"""
PYTEST = ("-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:timeout")
COMMAND_LINE = ("-m", "monkeywrench.scenarios", "run", "--queue", "multiprocessing.Queue", "--patience", "600")


class Run:
    """One run in a directory of its own, all of whose processes carry a mark in their environment."""

    def __init__(self, directory: Path, whom: str) -> None:
        self.temporary = directory / "temporary"
        self.temporary.mkdir()
        suite = directory / "suite"
        suite.mkdir()
        (suite / "test_suite.py").write_text(SUITE)
        self._mark = f"MONKEYWRENCH_VICTIM={directory.name}".encode()
        name, _, value = self._mark.decode().partition("=")
        args = COMMAND_LINE if whom == "command line" else (*PYTEST, *(("-n", "2") if whom == "worker" else ()))
        self.process = subprocess.Popen(
            [sys.executable, *args],
            cwd=suite,
            env={**os.environ, name: value, "TMPDIR": str(self.temporary), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def processes(self) -> dict[int, str]:
        """Return the living processes of this run, and what they call themselves. A zombie is dead."""
        found = {}
        for path in Path("/proc").iterdir():
            with contextlib.suppress(FileNotFoundError, PermissionError, ProcessLookupError):
                if path.name.isdigit() and self._mark in (path / "environ").read_bytes() and alive(int(path.name)):
                    found[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def files(self) -> list[str]:
        """Return what is there of the harness's own."""
        return left_at(self.temporary)

    def trial_runs(self) -> bool:
        """Whether peers are at work."""
        assert self.process.poll() is None, f"it ended with {self.process.returncode} before a trial ran"
        with contextlib.suppress(FileNotFoundError):
            return any(self.temporary.glob("monkeywrench-*/*.events"))
        return False

    def target(self, whom: str) -> int | None:
        """Return the pid of who is to be killed, if there is such a process now."""
        if whom in ("pytest", "command line"):
            return self.process.pid
        if whom == "worker":
            return next((pid for pid in children(self.process.pid) if alive(pid)), None)
        ancestors = [pid for pid, command in self.processes().items() if "_ancestor" in command and leads_session(pid)]
        if whom == "ancestor" or not ancestors:
            return next(iter(ancestors), None)
        return next(iter(children(ancestors[0])), None)

    def end(self) -> None:
        """End it, whatever became of it."""
        self.process.kill()
        self.process.wait()
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    """Whether a process still runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid: int) -> list[int]:
    """Return the pids of a process's children."""
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def left_at(directory: Path) -> list[str]:
    """Return what is there of the harness's own in a temporary directory; pytest keeps its own there."""
    return [path.name for path in directory.iterdir() if path.name.startswith("monkeywrench-")]


def leads_session(pid: int) -> bool:
    """Whether a process leads a session: the ancestor, and none of those that it forks."""
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


def wait_for(what: str, condition: Callable[[], object]) -> object:
    """Return what the condition returns, once that is true."""
    end = time.monotonic() + LONGEST_S
    while not (result := condition()):
        assert time.monotonic() < end, f"waited {LONGEST_S:g} s in vain until {what}"
        select.select([], [], [], 0.01)
    return result


@contextlib.contextmanager
def started(whom: str) -> Iterator[Run]:
    """Start a run, and end it whatever happens."""
    with tempfile.TemporaryDirectory(prefix="killed-runs-") as directory:
        run = Run(Path(directory), whom)
        try:
            yield run
        finally:
            run.end()


def kill_one(whom: str, draw: random.Random) -> float:
    """Kill one at a random moment, and return after how many seconds nothing was left. Raises AssertionError if not."""
    with started(whom) as run:
        wait_for("a trial runs", run.trial_runs)
        select.select([], [], [], draw.random() / 10)  # at no moment in particular
        target = wait_for(f"there is a {whom}", lambda: run.target(whom))
        assert isinstance(target, int)
        with contextlib.suppress(ProcessLookupError):
            os.kill(target, signal.SIGKILL)
        run.process.wait(LONGEST_S)
        began = time.monotonic()
        wait_for("no process is left", lambda: not run.processes())
        took = time.monotonic() - began
        assert run.files() == [], f"left behind when {whom} was killed: {run.files()}"
        return took


def main(args: list[str] | None = None) -> int:
    """Kill, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=200)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--whom", choices=WHOM, help="only this one; all in turn otherwise")
    options = parser.parse_args(args)
    draw = random.Random(options.seed)
    longest = 0.0
    violations = 0
    for time_ in range(options.times):
        whom = options.whom or WHOM[time_ % len(WHOM)]
        try:
            took = kill_one(whom, draw)
        except AssertionError as error:
            print(f"{whom}, time {time_ + 1} of seed {options.seed}: {error}", flush=True)
            violations += 1
            continue
        longest = max(longest, took)
        if took > ALLOWED_S:
            print(f"{whom}, time {time_ + 1} of seed {options.seed}: nothing was left after {took:.1f} s", flush=True)
            violations += 1
    print(f"{options.times} killed, {violations} violations, nothing left after {longest:.2f} s, seed {options.seed}")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
