"""Whoever is killed, and whenever: nothing is left behind."""

import contextlib
import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from monkeywrench.harness import HarnessError, Trial, _client, read

GRACE_S = 60
# What the victims run: trial after trial, and FIFOs of a test's own.
SUITE = """
import os
import pytest
from monkeywrench.harness import messages

@pytest.mark.parametrize("number", range(12))
def test_it(monkeywrench, fifo_path, number):
    os.mkfifo(fifo_path)
    trial = monkeywrench.trial(producers=2, consumers=2, messages=200)
    assert trial.kill("producer-0", at=messages(50)).run().valid
    fifo_path.unlink()
"""


def alive(pid):
    """Whether a process still runs; a zombie that nobody reaps does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def processes(mark):
    """Return the pids of all living processes whose environment carries *mark*, and what they call themselves."""
    found = {}
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                marked = mark.encode() in (path / "environ").read_bytes()
                command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except (FileNotFoundError, PermissionError, ProcessLookupError):
                continue
            if marked and alive(path.name):
                found[int(path.name)] = command
    return found


@pytest.fixture
def victim(tmp_path):
    """Start a command whose every descendant carries a mark, with a temporary directory of its own."""
    mark = f"MONKEYWRENCH_VICTIM={tmp_path.name}-{os.getpid()}"
    (tmp_path / "temporary").mkdir()
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "test_suite.py").write_text(SUITE)
    started = []

    def start(*args):
        name, _, value = mark.partition("=")
        process = subprocess.Popen(
            [sys.executable, *args],
            cwd=tmp_path / "suite",
            env={
                **os.environ,
                name: value,
                "TMPDIR": str(tmp_path / "temporary"),
                "PYTHONDONTWRITEBYTECODE": "1",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        started.append(process)
        return process

    yield start, mark, tmp_path / "temporary"
    for process in started:
        process.kill()
        process.wait()
    for pid in processes(mark):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def left_at(directory):
    """Return what is left of the harness's own in a temporary directory; pytest keeps its own there."""
    return [path for path in directory.iterdir() if path.name.startswith("monkeywrench-")]


def wait_for(what, condition):
    end = time.monotonic() + GRACE_S
    while not (result := condition()):
        assert time.monotonic() < end, f"waited {GRACE_S} s in vain until {what}"
        select.select([], [], [], 0.01)
    return result


PYTEST = ("-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:timeout")


@pytest.mark.parametrize("round_", range(3))
@pytest.mark.parametrize("whom", ["pytest", "worker", "ancestor", "command line"])
def test_nothing_is_left_of_a_run_that_is_killed(victim, whom, round_):
    start, mark, temporary = victim
    if whom == "command line":
        process = start("-m", "monkeywrench.scenarios", "run", "--queue", "multiprocessing.Queue", "--patience", "600")
    else:
        process = start(*PYTEST, *(["-n", "2"] if whom == "worker" else []))

    def trial_runs():
        assert process.poll() is None
        return any(path.name.endswith(".events") for directory in left_at(temporary) for path in entries(directory))

    wait_for("a trial runs", trial_runs)
    ancestors = [pid for pid, command in processes(mark).items() if "_ancestor" in command and leads_session(pid)]
    target = {
        "pytest": [process.pid],
        "command line": [process.pid],
        "worker": [pid for pid in children(process.pid) if alive(pid)][:1],
        "ancestor": ancestors,
    }[whom]
    assert target
    # At no moment in particular.
    select.select([], [], [], random.random() / 10)
    for pid in target:
        os.kill(pid, signal.SIGKILL)
    # Of a worker, or an ancestor, the others go on: xdist starts a new worker, and the next test a new ancestor.
    process.wait(GRACE_S)
    wait_for("no process is left", lambda: not processes(mark))
    assert left_at(temporary) == []


def entries(directory):
    try:
        return list(directory.iterdir())
    except FileNotFoundError:
        return []


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def leads_session(pid):
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


def test_ancestor_that_was_killed_is_told_and_replaced():
    assert Trial(messages=3).run().valid
    ancestor = _client.ancestor()
    ancestor.process.kill()
    ancestor.process.wait()
    assert Trial(messages=3).run().valid
    assert _client.ancestor().process.pid != ancestor.process.pid


def test_ancestor_killed_in_the_middle_is_a_clear_error(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    trial = Trial("multiprocessing.Queue", messages=5, patience_s=600, deadline_s=900).kill("consumer-0", at=read(1))
    pid = _client.ancestor().process.pid
    killed = []

    def kill_once(plan, adapter):
        from monkeywrench.harness import run

        def progress():
            if children(pid) and not killed:
                killed.extend(descendants(pid))
                os.kill(pid, signal.SIGKILL)

        return run(plan, adapter=adapter, progress=progress)

    trial._runner = kill_once
    with pytest.raises(HarnessError, match=rf"the ancestor \(pid {pid}\) ended while it was awaited"):
        trial.run()
    assert len(killed) >= 2
    wait_for("root and peers are gone", lambda: not any(alive(each) for each in killed))
    wait_for("its files are gone", lambda: left_at(tmp_path) == [])


def descendants(pid):
    found = children(pid)
    return found + [below for child in found for below in descendants(child)]


def test_descriptors_do_not_grow_with_trials():
    assert Trial(messages=3).run().valid
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        assert Trial(messages=3).run().valid
    assert len(os.listdir("/proc/self/fd")) == before
    ancestor = _client.ancestor().process.pid
    count = len(os.listdir(f"/proc/{ancestor}/fd"))
    assert Trial(messages=3).run().valid
    # It may just be looking at a directory.
    wait_for("the ancestor has no more than before", lambda: len(os.listdir(f"/proc/{ancestor}/fd")) <= count)
