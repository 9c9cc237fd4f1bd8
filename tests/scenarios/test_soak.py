"""A soak of a queue that wears out, and of one that does not."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ..attacks.killed_runs import alive

pytestmark = pytest.mark.once

LEAKY = """
import os, tempfile, time
from pathlib import Path
from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter

class Counting(SimplePipeQueueAdapter):
    count = 0
    def get(self, end):
        self.count += 1
        self.wrong(end)
        return super().get(end)

class Leaks(Counting):
    kept = []
    def wrong(self, end):
        self.kept.append(bytes(2000))
        if self.count % 500 == 0:
            below = Path(tempfile.gettempdir(), "below")
            below.mkdir(exist_ok=True)
            (below / f"left-{self.count}").touch()
            if self.count < 400_000:
                os.dup(2)

class Stops(Counting):
    def wrong(self, end):
        while self.count > 2000:
            time.sleep(60)

class Swaps(Counting):
    held = ()
    def wrong(self, end):
        if self.count == 2000:
            self.held = [super().get(end)]
    def get(self, end):
        return self.held.pop() if self.held else super().get(end)

class Loses(Counting):
    def wrong(self, end):
        if self.count == 2000:
            super().get(end)
"""


def soak(wrench, tmp_path, queue):
    """Soak a queue of the file above, and return the findings about the long-lived workload, and its result."""
    (tmp_path / "leaky.py").write_text(LEAKY)
    options = ("--count", 1, "--duration", "1s", "--patience", 1, "--json")
    done = wrench("run", "soak", "--queue", f"leaky.py:{queue}", *options)
    result = json.loads(done.stdout)["results"][-1]
    assert result["trial"] == "soak: the long-lived workload"
    assert done.returncode == 1, done.stderr
    return [(finding["kind"], finding["sentence"]) for finding in result["findings"]], result


def test_soak_of_a_queue_that_leaks_says_what_keeps_growing(wrench, tmp_path):
    findings, result = soak(wrench, tmp_path, "Leaks")
    for what in ("memory", "descriptors", "files"):
        words = f"the queue's {what}, growing all the time: "
        assert any(kind == "leaked" and sentence.startswith(words) for kind, sentence in findings), findings
    assert all(len(series["points"]) > 20 for series in result["series"])


@pytest.mark.parametrize(
    ("queue", "kind", "words"),
    [
        ("Stops", "stuck", "the long-lived workload stands still since message 2000"),
        ("Swaps", "reordered", "consumer-0 got message 2000 before message 1999"),
        ("Loses", "lost", "consumer-0 got message 2000 where message 1999 was to come"),
    ],
)
def test_soak_of_a_queue_that_fails_is_invalid(wrench, tmp_path, queue, kind, words):
    findings, _ = soak(wrench, tmp_path, queue)
    assert any(found == kind and sentence.startswith(words) for found, sentence in findings), findings


def test_soak_tells_its_series_and_its_replay_line(wrench):
    done = wrench("run", "soak", "--seed", 1, "--duration", "1s")
    assert done.returncode == 0, done.stdout
    for whose in ("queue", "harness"):
        for what in ("memory", "descriptors", "throughput"):
            assert f"  the {whose}'s {what}: first " in done.stdout
    assert "1 trial: 1 valid (seed 1)" in done.stdout


def test_soak_goes_on_where_no_trial_applies_and_says_so_once(wrench):
    done = wrench("run", "soak", "--queue", "multiprocessing.Pipe", "--seed", 1, "--duration", "1s")
    assert done.returncode == 0, done.stdout
    assert "2 trials: 1 valid, 1 not applicable (seed 1)" in done.stdout


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_soak_that_is_stopped_tells_and_reports_what_was_done(tmp_path, number, status):
    args = [sys.executable, "-m", "monkeywrench.scenarios", "run", "soak", "--duration", "10m", "--report", "report"]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(args, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True) as process:
        await_file(tmp_path, "plan.json")  # a trial runs beside the workload
        process.send_signal(number)
        told = process.stdout.read()
        assert process.wait(60) == status, told
    assert re.search(r"proves nothing: it was stopped after \d+ of 600 s, with \d+ trials? beside \d", told), told
    assert "1 trial: 1 unknown, stopped after 1 trial (seed " in told
    assert "it was stopped after" in (tmp_path / "report" / "junit.xml").read_text()


def test_soak_that_is_killed_leaves_no_process(tmp_path):
    args = [sys.executable, "-m", "monkeywrench.scenarios", "run", "soak", "--duration", "10m", "-q"]
    with subprocess.Popen(args, cwd=tmp_path, env={**os.environ, "TMPDIR": str(tmp_path)}) as process:
        started = await_file(tmp_path, "counts")
        deadline = time.monotonic() + 60
        (leader,) = descendants(process.pid, "_long_lived")
        pids = [leader, *descendants(leader, "")]
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        while any(alive(pid) for pid in pids) or started.exists():
            assert time.monotonic() < deadline, "waited in vain for the end of what it had started"
            time.sleep(0.01)


def await_file(directory, name):
    """Wait until there is a file of this name in one of the temporary directories, and return it."""
    deadline = time.monotonic() + 60
    while not (found := list(directory.glob(f"monkeywrench-*/{name}"))):
        assert time.monotonic() < deadline, f"waited in vain for {name}"
        time.sleep(0.01)
    return found[0]


def descendants(pid, word):
    """The children of a process whose command line has this word."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            stat, line = (path / "stat").read_text(), (path / "cmdline").read_text()
        except OSError:
            continue
        if stat.rpartition(")")[2].split()[1] == str(pid) and word in line:
            found.append(int(path.name))
    return found
