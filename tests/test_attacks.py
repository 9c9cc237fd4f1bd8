"""The attack commands attack: a small helping of each, and each against something broken in its way."""

import collections
import importlib.util
import itertools
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

ATTACKS = Path(__file__).parent / "attacks"


def load(name):
    spec = importlib.util.spec_from_file_location(f"attack_{name}", ATTACKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def attack(name, *args):
    return subprocess.run(
        [sys.executable, str(ATTACKS / f"{name}.py"), *args], capture_output=True, text=True, timeout=170
    )


@pytest.mark.parametrize("args", [[], ["--capacity", "4096"]], ids=["deep", "one page"])
def test_torture_finds_no_violation(args):
    done = attack("torture", "--trials", "6", "--seed", "3", *args)
    assert "6 trials, 0 violations" in done.stdout, done.stdout + done.stderr
    # Six trials may miss the short moment between claim and packet, and say so.
    assert done.returncode in (0, 3)
    assert re.search(r"\d+ inside put", done.stdout)
    assert re.search(r"\d+ inside get", done.stdout)


def test_torture_plans_follow_from_the_seed():
    torture = load("torture")
    assert [torture.plan_of(trial, 5) for trial in range(20)] == [torture.plan_of(trial, 5) for trial in range(20)]
    assert torture.plan_of(0, 5) != torture.plan_of(0, 6)


def test_fuzz_finds_no_violation():
    done = attack("fuzz_decoder", "--inputs", "30000", "--seed", "3")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "30000 inputs, no violation" in done.stdout


def test_fuzz_notices_a_frame_that_is_not_delivered(monkeypatch):
    fuzz = load("fuzz_decoder")
    right = fuzz.split
    monkeypatch.setattr(fuzz, "split", lambda data: (right(data)[0][1:], []))
    with pytest.raises(AssertionError, match="was not delivered"):
        collections.deque(iter(fuzz.Fuzzer(1).packet, "until it is noticed"), maxlen=0)


def test_fuzz_notices_an_error_that_is_not_documented(monkeypatch):
    fuzz = load("fuzz_decoder")
    monkeypatch.setattr(fuzz, "decode", lambda data: data[1000])
    with pytest.raises(IndexError):
        fuzz.Fuzzer(1).message()


def test_wire_agrees_with_itself():
    wire = load("wire")
    assert wire.defects(Path(sys.executable), Path(sys.executable)) == []


def test_wire_notices_a_changed_message(monkeypatch):
    wire = load("wire")
    monkeypatch.setattr(wire, "PRODUCER", wire.PRODUCER.replace("Workload(1", "Workload(2"))
    assert wire.defects(Path(sys.executable), Path(sys.executable))


@pytest.mark.parametrize("whom", load("killed_runs").WHOM)
def test_nothing_is_left_of_a_run_that_is_killed(whom):
    done = attack("killed_runs", "--times", "1", "--whom", whom)
    assert "1 killed, 0 violations" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


def test_killed_runs_notices_what_is_left(monkeypatch, capsys):
    killed_runs = load("killed_runs")
    monkeypatch.setattr(killed_runs.Run, "files", lambda _run: ["monkeywrench-1-left"])
    assert killed_runs.main(["--times", "1", "--whom", "pytest"]) == 1
    assert "left behind when pytest was killed" in capsys.readouterr().out


def test_replayed_plans_come_to_the_same():
    done = attack("replay", "--runs", "3", "--only", " at a byte")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 plans, 3 runs each: 0 differed, 0 did not fail" in done.stdout


def test_replay_notices_what_differs(monkeypatch, capsys):
    replay = load("replay")
    outcomes = itertools.cycle(["('invalid', 1)", "('invalid', 2)"])
    monkeypatch.setattr(replay, "outcome", lambda _verdict: next(outcomes))
    assert replay.main(["--runs", "2", "--only", "kill at a byte of a write"]) == 1
    assert "1 differed" in capsys.readouterr().out


FICKLE = """
from pathlib import Path
from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter
class Fickle(SimplePipeQueueAdapter):
    def make(self, directory):
        with Path(__file__).with_name("made").open("a") as file:
            file.write(".")
        super().make(directory)
    def put(self, end, message):
        if message[:2] != (0, 1) or Path(__file__).with_name("made").stat().st_size % 2:
            super().put(end, message)
"""


def test_cells_without_a_tilde_are_the_same_in_three_runs():
    names = ("killed-in-a-big-message", "system-says-no")
    done = attack("same_matrix", *names, "--seed", "4", "--queue", "pipes.SimplePipeQueue", "--messages", "10")
    assert "2 cells without a tilde, 3 runs: 0 differed" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 0


def test_same_matrix_notices_what_differs(tmp_path):
    (tmp_path / "fickle.py").write_text(FICKLE)
    options = ("--runs", "2", "--jobs", "1", "--queue", f"{tmp_path}/fickle.py:Fickle")
    done = attack("same_matrix", "short-transfer", *options)
    assert "1 cells without a tilde, 2 runs: 1 differed" in done.stdout, done.stdout + done.stderr
    assert "differs: short-transfer on" in done.stdout
    assert "    short-transfer: a write of a small message: lost" in done.stdout
    assert done.returncode == 1
