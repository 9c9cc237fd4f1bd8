"""The attack commands attack: a small helping of each, and each against something broken in its way."""

import collections
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

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
    done = attack("torture", "--trials", "10", "--seed", "3", *args)
    assert "10 trials, 0 violations" in done.stdout, done.stdout + done.stderr
    # Ten trials may miss the short moment between claim and packet, and say so.
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
