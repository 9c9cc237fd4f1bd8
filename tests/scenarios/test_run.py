"""What `monkeywrench run` does beyond running: budgets, choices, output for programs, terminals of any width."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from xml.etree import ElementTree

import pytest
from monkeywrench.harness import Finding, Guarantees, History, Plan, Verdict
from monkeywrench.scenarios._result import Result
from monkeywrench.scenarios._show import Show

STANDARD = "multiprocessing.Queue"


def lines(done):
    """The lines that tell of a trial."""
    return [line for line in done.stdout.splitlines() if re.match(r"(valid|invalid|unknown|n/a) +\S+: ", line)]


def test_count_goes_on_past_the_cases_with_other_draws(wrench, tmp_path):
    done = wrench("run", "killed-producer", "--count", 5, "--seed", 3, "--report", "r")
    assert done.returncode == 0, done.stdout
    first, fourth = (
        Plan.loads((tmp_path / "r" / f"killed-producer-between-two-messages{suffix}" / "plan.json").read_text())
        for suffix in ("", "-2")
    )
    assert first.seed != fourth.seed
    assert first.faults != fourth.faults
    assert "5 trials: 5 valid" in done.stdout


def test_duration_repeats_until_it_is_over(wrench):
    done = wrench("run", "killed-politely", "foreign-bytes", "--duration", "1s", "-q")
    assert done.returncode == 0, done.stdout
    assert int(re.match(r"(\d+) trials", done.stdout)[1]) > 1


SLOW = """
import time
from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter
class Slow(SimplePipeQueueAdapter):
    def open(self, role):
        time.sleep(0.3)
        return super().open(role)
"""


def test_each_scenario_is_run_once_however_short_the_time(wrench, tmp_path):
    (tmp_path / "slow.py").write_text(SLOW)
    names = ("killed-politely", "foreign-bytes", "odd-messages", "killed-in-a-big-message")
    done = wrench("run", *names, "--queue", "slow.py:Slow", "--duration", "1s", "--jobs", 2, "--json")
    assert {result["scenario"] for result in json.loads(done.stdout)["results"]} == set(names)


def test_trial_is_the_same_as_in_the_whole(wrench, tmp_path):
    assert wrench("run", "killed-consumer", "--seed", 3, "--report", "whole").returncode == 0
    assert wrench("run", "killed-consumer", "--seed", 3, "--trial", 2, "--report", "one").returncode == 0
    (one,) = (tmp_path / "one").glob("*/plan.json")
    assert one.read_text() == (tmp_path / "whole" / one.parent.name / "plan.json").read_text()


def test_sizes_are_taken(wrench, tmp_path):
    args = ("--producers", 5, "--consumers", 3, "--messages", 12, "--trial", 1, "--report", "r")
    assert wrench("run", "torn-write", *args).returncode == 0
    plan = Plan.loads(next((tmp_path / "r").glob("*/plan.json")).read_text())
    assert (plan.producers, plan.consumers, plan.messages) == (5, 3, 12)


def test_fail_fast_stops_at_the_first_finding(wrench):
    args = ("run", "killed-consumer", "--queue", STANDARD, "--patience", 0.5, "--fail-fast", "--jobs", 1)
    done = wrench(*args)
    assert done.returncode == 1, done.stdout
    assert "1 trial: 1 invalid, stopped at the first finding" in done.stdout


def test_fault_that_cannot_reach_the_queue_is_not_applicable(wrench):
    done = wrench("run", "slow-reader", "--queue", STANDARD, "-v", "--seed", 1)
    assert done.returncode == 0, done.stdout
    assert "5 trials: 4 valid, 1 not applicable (seed 1)" in done.stdout
    assert "not applicable: slow-reader: a pipe of one page: the pipe shrunk to 4096 bytes: " in done.stdout
    nothing = wrench("run", "removed-fifo", "--queue", STANDARD)
    assert nothing.returncode == 3, nothing.stdout
    assert "2 trials: 2 not applicable" in nothing.stdout


def test_what_a_queue_does_not_promise_and_what_it_never_does_is_not_applicable(wrench):
    names = ("odd-messages", "foreign-bytes", "short-transfer")
    done = wrench("run", *names, "--queue", "naive.JsonLines", "--trial", 3, "--messages", 10, "--seed", 1, "-v")
    assert done.returncode == 0, done.stdout
    assert "3 trials: 1 valid, 2 not applicable (seed 1)" in done.stdout
    for reason in (
        r"foreign-bytes: before the first message: .*does not promise foreign_bytes; not held against it: crashed ",
        r"short-transfer: a read of a large message: .*: it never struck: that read had 1 byte only$",
    ):
        assert re.search(f"^not applicable: {reason}", done.stdout, re.MULTILINE), done.stdout
    assert "POSIX" not in done.stdout


def test_json_and_junit_say_the_same_as_the_verdicts(wrench, tmp_path):
    names = ("killed-consumer", "removed-fifo")
    done = wrench("run", *names, "--queue", STANDARD, "--patience", 0.5, "--seed", 1, "--json", "--junit", "j.xml")
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert document["seed"] == 1
    assert "6 trials: " in done.stderr
    statuses = [result["status"] for result in document["results"]]
    assert statuses.count("not applicable") == 2
    wedged = document["results"][0]
    assert wedged["status"] == "invalid"
    assert {finding["kind"] for finding in wedged["findings"]} == {"stuck"}
    assert Plan.from_json(wedged["plan"]).queue == STANDARD
    assert wedged["replay"].endswith("--seed 1 --patience 0.5 --trial 1")
    suites = ElementTree.parse(tmp_path / "j.xml").getroot()
    assert [suite.get("name") for suite in suites] == list(names)
    assert int(suites[0].get("failures")) == statuses.count("invalid")
    assert int(suites[1].get("skipped")) == 2
    assert "stuck: " in suites[0].find("testcase/failure").text


def screen_of(args, cwd, columns):
    """Run a command in a terminal of so many columns, and return its exit status and all that it wrote."""
    parent, child = pty.openpty()
    try:
        env = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm"}
        with subprocess.Popen(args, cwd=cwd, stdin=child, stdout=child, stderr=child, env=env) as process:
            os.close(child)
            shown = b""
            try:
                while chunk := os.read(parent, 1 << 16):
                    shown += chunk
            except OSError:  # EIO: nobody has the other end any more
                pass
            return process.wait(60), shown.decode()
    finally:
        os.close(parent)


@pytest.mark.parametrize("columns", [20, 100])
def test_terminal_of_any_width_shows_progress_and_verdicts(tmp_path, columns):
    args = [sys.executable, "-m", "monkeywrench.scenarios", "run", "killed-producer", "--seed", "1"]
    status, shown = screen_of(args, tmp_path, columns)
    assert status == 0, shown
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert "3 trials: 3 valid (seed 1)" in " ".join(text.split())
    assert "\x1b[2K" in shown  # the bar, and that it was wiped away
    if columns == 20:
        assert "valid" in text
    else:
        assert re.search(r"killed-producer: after a write +valid +\d+/\d+", text)


@pytest.mark.parametrize("how", [["--no-color"], []])
def test_terminal_without_colour_shows_plain_text(tmp_path, monkeypatch, how):
    if not how:
        monkeypatch.setenv("NO_COLOR", "1")
    args = [sys.executable, "-m", "monkeywrench.scenarios", "run", "killed-politely", "--trial", "1", *how]
    status, shown = screen_of(args, tmp_path, 100)
    assert status == 0, shown
    assert "1 trial: 1 valid" in shown
    assert "\x1b" not in shown


def test_verbose_hides_nothing_invalid_behind_what_is_valid(capsys):
    plan = Plan(queue=STANDARD, seed=1, name="a trial")
    found = [Finding("lost", "it is gone")]

    def result(status, findings=(), doubts=()):
        verdict = Verdict(status, tuple(findings), tuple(doubts), {}, (), History(plan, Guarantees(), ()))
        return Result("a scenario", plan, verdict, None, 0.1, "a command")

    results = [*(result("valid") for _ in range(60)), result("unknown", doubts=["who knows"]), result("invalid", found)]
    show = Show(no_color=True, stderr=False, quiet=False, verbose=True, total=None)
    show.explain(results, more="the rest")
    told = [line for line in capsys.readouterr().out.splitlines() if "a trial on" in line]
    assert [line.split()[0].strip(":") for line in told[:3]] == ["invalid", "unknown", "valid"]


def test_interrupted_json_is_whole_json(tmp_path):
    args = [sys.executable, "-m", "monkeywrench.scenarios", "run", "killed-consumer", "--queue", STANDARD]
    args += ["--patience", "60", "--seed", "1", "--jobs", "4", "--json"]
    with subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        for line in process.stderr:
            if "the only one, between two gets" in line:
                break
        process.send_signal(signal.SIGTERM)
        document = json.loads(process.stdout.read())
        process.stderr.read()
        assert process.wait(60) == 143
    assert [result["status"] for result in document["results"]] == ["valid"]
    assert document["stopped"] == "stopped after 1 of 4 trials"
