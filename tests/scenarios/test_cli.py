"""The command line, as a person at a shell meets it."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from monkeywrench.harness import History, Plan
from monkeywrench.harness.holders import Holder
from monkeywrench.pipes import SimplePipeQueue
from monkeywrench.scenarios import _queue

STANDARD = "multiprocessing.Queue"


def command(*args):
    return [sys.executable, "-m", "monkeywrench.scenarios", *map(str, args)]


@pytest.mark.parametrize("scenario", ["killed-producer", "killed-consumer", "torn-write"])
def test_run_of_one_scenario_is_valid(wrench, scenario):
    done = wrench("run", scenario, "-q")
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("\n") == 1


def test_same_seed_makes_the_same_plans_however_many_jobs(wrench, tmp_path):
    plans = []
    for jobs in (1, 3):
        args = ("run", "everything-at-once", "killed-producer", "--seed", 5, "--jobs", jobs, "--report", f"r{jobs}")
        assert wrench(*args).returncode == 0
        found = (tmp_path / f"r{jobs}").glob("*/plan.json")
        plans.append({path.parent.name: path.read_text() for path in sorted(found)})
    assert plans[0] == plans[1]
    assert len(plans[0]) == 9


def test_killed_consumer_wedges_the_standard_queue_and_the_replay_line_shows_it_again(wrench):
    done = wrench("run", "killed-consumer", "--queue", STANDARD, "--patience", 0.5, "--jobs", 4)
    assert done.returncode == 1, done.stdout
    # How far the other consumer got before, nobody knows.
    told = [
        r"invalid: (\d )?stuck",
        r"consumer-\d waits inside its get \d+; no peer has moved for \d\.\d s since consumer-0 was killed",
        r"in get: with self\._rlock:",
        r"fault: SIGKILL to consumer-0 before read 1, inside its get 1 \(multiprocessing/connection\.py:",
    ]
    for words in told:
        assert re.search(words, done.stdout), done.stdout
    replay = re.search(r"replay: monkeywrench (.*)", done.stdout)[1].split()
    again = wrench(*replay, "--patience", 0.5)
    assert again.returncode == 1
    for words in told:
        assert re.search(words, again.stdout), again.stdout


def test_report_is_replayed_and_checked(wrench, tmp_path):
    done = wrench("run", "killed-consumer", "--queue", STANDARD, "--patience", 0.5, "--trial", 2, "--report", "report")
    assert done.returncode == 1
    directory = tmp_path / "report" / "killed-consumer-the-only-one-before-a-read"
    assert f"replay: monkeywrench replay {directory.relative_to(tmp_path)}/plan.json" in done.stdout
    assert Plan.loads((directory / "plan.json").read_text()).queue == STANDARD
    assert History.load(directory / "history.jsonl").events
    replayed = wrench("replay", directory / "plan.json")
    assert replayed.returncode == 1
    checked = wrench("check", directory / "history.jsonl")
    assert checked.returncode == 1
    first = checked.stdout.splitlines()[0]
    assert first in done.stdout
    # How many producers are stuck as well, and how many reads a message takes, depends on how fast they were; which
    # read the fault struck at does not.
    struck = re.compile(r"  fault: SIGKILL to consumer-0 before read \d+, inside its get ")
    assert struck.search(replayed.stdout)[0] == struck.search(checked.stdout)[0]


def test_unknown_has_an_exit_status_of_its_own(wrench, tmp_path):
    plan = Plan.from_json(
        {
            "plan": 1,
            "queue": "pipes.SimplePipeQueue",
            "messages": 3,
            "seed": 1,
            "faults": [{"fault": "kill", "peer": "producer-0", "at": {"trigger": "call", "kind": "write", "n": 99}}],
        }
    )
    (tmp_path / "plan.json").write_text(plan.dumps())
    done = wrench("replay", "plan.json")
    assert done.returncode == 3
    assert "it never struck" in done.stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["rnu"], "No command is called 'rnu'. Did you mean 'run'? There are: "),
        (
            ["run", "kiled-producer"],
            "No scenario is called 'kiled-producer'. Did you mean 'killed-producer'?",
        ),
        (["run", "--sed", "1"], "No such option"),
        (["run", "torn-write", "--producers", "1"], "producers=1: torn-write takes 2 to 1000"),
        (["run", "--duration", "3x"], "such as 90s, 10m or 1h"),
        (["run", "--trial", "1", "--count", "2"], "--trial names one trial"),
        (["run", "--junit", "no/such.xml"], "--junit no/such.xml: No such file or directory"),
        (["run", "mine.py"], "mine.py: No such file or directory"),
        (["run", "mine.toml"], "mine.toml: No such file or directory"),
        (["matrix", "--json", "--markdown"], "room for one of them"),
        (["list", "kiled-producer"], "Did you mean 'killed-producer'?"),
        (["run", "--queue", "multiprocessing.Qeue"], "did you mean 'multiprocessing.Queue'?"),
        (["run", "--queue", ""], "no queue is called ''"),
        (["run", "--junit", ""], "--junit .: Is a directory; give the path of a file"),
        (["run", "--seed", "-1"], "-1 is not in the range"),
        (["run", "--seed", "abc"], "'abc' is not a valid whole number"),
        (["run", "--patience", "long"], "'long' is not a valid number of seconds"),
        (["queue", "get", "jobs.fifo", "--timeout", "nan"], "'nan' is no number of seconds"),
        (["replay", "missing.json"], "'missing.json' does not exist"),
        (["run", "--report", "/proc/no/such"], "--report /proc/no/such: "),
        (["run", "--report", ""], "it is empty: a directory is expected"),
        (["matrix", "--report", ""], "it is empty: a directory is expected"),
        (["queue", "pt"], "Did you mean 'put'?"),
        (["queue", "put", "x.fifo", "{", "--json"], "MESSAGE is not JSON"),
        (["queue", "put", "x.fifo", "9" * 5000, "--json"], "MESSAGE is not JSON: a whole number in it has"),
        (["queue", "put", "x.fifo", "[" * 100_000, "--json"], "in it are nested more than 100 levels deep"),
    ],
)
def test_wrong_usage_says_what_is_right(wrench, tmp_path, args, message):
    done = wrench(*args)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split()), done.stderr
    assert list(tmp_path.iterdir()) == []


def test_report_in_the_place_of_another_file_is_wrong_usage(wrench, tmp_path):
    (tmp_path / "report.html").write_text("mine")
    done = wrench("run", "torn-write", "--report", ".")
    assert done.returncode == 2
    assert "is there already" in done.stderr
    assert (tmp_path / "report.html").read_text() == "mine"


@pytest.mark.parametrize("name", ["plan.json", "history.jsonl"])
def test_file_that_is_none_is_refused_with_its_line(wrench, tmp_path, name):
    (tmp_path / name).write_text("{\n")
    done = wrench("replay" if name == "plan.json" else "check", name)
    assert done.returncode == 2
    assert re.search(rf"{name}, line \d: ", done.stderr), done.stderr


def test_reader_that_goes_away_is_no_finding(tmp_path):
    with subprocess.Popen(command("run", "--seed", 3), stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 141


@pytest.mark.parametrize(("name", "form"), [("run", "--json"), ("matrix", "--json"), ("matrix", "--markdown")])
def test_reader_that_has_gone_before_the_result_is_no_finding(tmp_path, name, form):
    words = command(name, "killed-politely", "--queue", "multiprocessing.Pipe", "--messages", 10, form)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        process.stdout.close()
        told = process.stderr.read()
        assert process.wait(60) == 141, told
        assert "Traceback" not in told


def test_reader_that_has_gone_before_the_help_is_no_finding():
    with subprocess.Popen(command("--help"), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert (process.stderr.read(), process.wait(60)) == (b"", 141)


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["list"],
        ["doctor"],
        ["run", "torn-write", "--trial", 1],
        ["run", "torn-write", "--trial", 1, "--json"],
        ["matrix", "torn-write", "--queue", "pipes.SimplePipeQueue", "--markdown"],
    ],
    ids=str,
)
def test_full_disk_is_no_finding(args):
    with open("/dev/full", "w") as full:
        done = subprocess.run(command(*args), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60)
    assert done.returncode == 4, done.stderr
    assert done.stderr.splitlines()[-1] == "Error: the system refuses: No space left on device"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("args", [["list"], ["run", "torn-write", "--trial", 1]], ids=str)
def test_commands_work_in_a_directory_that_is_gone(tmp_path, args):
    gone = tmp_path / "gone"
    gone.mkdir()
    script = 'rmdir "$PWD"; exec "$@"'
    words = ["sh", "-c", script, "sh", sys.executable, "-P", *command(*args)[1:]]
    done = subprocess.run(words, cwd=gone, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_harness_that_fails_has_an_exit_status_of_its_own(wrench, tmp_path):
    (tmp_path / "mine.py").write_text(
        "from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter\n"
        "class Mine(SimplePipeQueueAdapter):\n"
        "    def make(self, directory):\n        raise OSError('not today')\n"
    )
    for reference in ("mine.py:Mine", "mine:Mine"):
        done = wrench("run", "torn-write", "--queue", reference)
        assert done.returncode == 4, done.stderr
        assert "the adapter's make() failed:" in done.stderr
        assert "not today" in done.stderr


def test_colour_is_for_terminals(wrench):
    plain = wrench("run", "torn-write", "--seed", 1, NO_COLOR="1", FORCE_COLOR="1").stdout
    assert "\033[3" not in plain
    coloured = wrench("run", "torn-write", "--seed", 1, FORCE_COLOR="1").stdout
    assert "\033[32m" in coloured


def test_help_has_examples_and_the_exit_statuses(wrench):
    assert "4 the harness itself failed" in " ".join(wrench("--help").stdout.split())
    for name in ("run", "matrix", "list", "replay", "check", "bench"):
        assert re.search(r"Examples?:\s+monkeywrench " + name, wrench(name, "--help").stdout), name
    told = " ".join(wrench("run", "-h").stdout.split())
    for words in ("2 usage", "130 Ctrl-C", "143 SIGTERM", "Write report.html here"):
        assert words in told


def test_list_names_every_scenario_and_queue(wrench):
    text = wrench("list").stdout
    for name in ("killed-producer", "killed-consumer", "torn-write", "pipes.SimplePipeQueue", STANDARD):
        assert name in text


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupt_ends_cleanly_and_tells_what_is_done(tmp_path, number, status):
    # Its put writes in the caller's own thread: no other holds its lock when the producer is killed between two.
    queue = "multiprocessing.SimpleQueue"
    args = command("run", "killed-producer", "killed-consumer", "--queue", queue, "--patience", 60, "--seed", 1)
    args += ["--jobs", "1", "--junit", "junit.xml", "--report", "report"]
    with subprocess.Popen(args, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        for line in process.stdout:
            if "between two messages" in line:
                break
        process.send_signal(number)  # the next trial is wedged, and waits for a minute
        rest = process.stdout.read()
        assert process.wait(60) == status
    assert "1 trial: 1 valid, stopped after 1 of 7 trials (seed 1)" in rest
    assert 'tests="1"' in (tmp_path / "junit.xml").read_text()
    assert [path.parent.name for path in (tmp_path / "report").glob("*/plan.json")] == [
        "killed-producer-between-two-messages"
    ]


def test_interrupt_while_the_command_is_imported_is_quiet(tmp_path):
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command("run"), env=env, cwd=tmp_path, capture_output=True, text=True, timeout=170)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


# --- monkeywrench queue -------------------------------------------------------------------------------------------


def test_message_goes_from_shell_to_shell(wrench, tmp_path, fifo_path):
    with SimplePipeQueue(fifo_path, history=False):
        assert wrench("queue", "put", fifo_path, "hello").returncode == 0
        assert wrench("queue", "put", fifo_path, '[1, {"a": null}]', "--json").returncode == 0
        done = wrench("queue", "get", fifo_path, "--count", 2)
    assert (done.returncode, done.stdout) == (0, "hello\n[1, {'a': None}]\n")


def test_message_of_any_kind_is_printed_once_it_is_taken(wrench, fifo_path):
    with SimplePipeQueue(fifo_path, history=False) as queue:
        queue.put_many([10**5000, "\ud800", ["\ud800"], "é"])
        done = wrench("queue", "get", fifo_path, "--count", 4)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"1{'0' * 5000}\n\\ud800\n['\\ud800']\né\n"


def test_bytes_that_are_no_message_are_told_in_a_line(wrench, fifo_path):
    with SimplePipeQueue(fifo_path, history=False) as queue:
        for number in range(2):
            os.write(queue._in, b"garbage!")
            queue.put(number)
        done = wrench("queue", "get", fifo_path, "--count", 2)
    assert (done.returncode, done.stdout) == (0, "0\n1\n")
    line = rf"Warning: skipped 8 bytes in '{fifo_path}': no frame starts here .*\n"
    assert re.fullmatch(line * 2, done.stderr), done.stderr


def test_get_that_cannot_print_has_the_status_of_its_output(fifo_path):
    with SimplePipeQueue(fifo_path, history=False) as queue, open("/dev/full", "w") as full:
        queue.put("x")
        done = subprocess.run(command("queue", "get", fifo_path), stdout=full, stderr=subprocess.PIPE, timeout=60)
        assert (done.returncode, done.stderr) == (4, b"Error: the system refuses: No space left on device\n")


def test_put_that_nobody_else_holds_waits_for_a_taker(fifo_path):
    args = command("queue", "put", fifo_path, "stay")
    with subprocess.Popen(args, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr.readline().startswith("Nobody else holds this FIFO; waiting")
        with SimplePipeQueue(fifo_path) as queue:
            assert queue.get(timeout=60) == "stay"
            assert process.wait(60) == 0
    Path(fifo_path).unlink()


def test_put_and_get_give_up_when_told(wrench, fifo_path):
    done = wrench("queue", "get", fifo_path, "--timeout", "0.1")
    assert (done.returncode, done.stderr) == (1, f"Error: no message in {fifo_path} for 0.1 s\n")
    done = wrench("queue", "put", fifo_path, "x", "--timeout", "0.1")
    assert done.returncode == 1
    assert "nobody took the message for 0.1 s; it is gone" in done.stderr
    assert "Warning" not in done.stderr
    Path(fifo_path).unlink()


def test_put_says_so_if_the_message_goes_with_its_taker(fifo_path, monkeypatch, capsys):
    # As if that process had ended as soon as it was seen.
    monkeypatch.setattr(_queue, "holders", lambda _path: [Holder(os.getppid(), (3,), "python")])
    assert _queue.put_message(fifo_path, "precious", as_json=False, timeout=1) == 1
    assert "has gone, and what was unread with it" in capsys.readouterr().err
    Path(fifo_path).unlink()


def test_inspect_tells_who_holds_it_and_what_is_unread(wrench, fifo_path):
    with SimplePipeQueue(fifo_path, history=False) as queue:
        queue.put("x" * 100)
        queue.put("y" * 10_000)
        done = wrench("queue", "inspect", fifo_path)
        unread = queue.unread
        assert queue.get() == "x" * 100
        assert queue.get() == "y" * 10_000
    assert done.returncode == 0
    assert f"held by {os.getpid()} (" in done.stdout
    assert f"unread: {unread} bytes" in done.stdout
    assert "long messages in files beside it: 1" in done.stdout


def test_inspect_of_a_stale_fifo_does_not_open_it(wrench, fifo_path):
    os.mkfifo(fifo_path)
    assert "stale: no process holds it" in wrench("queue", "inspect", fifo_path).stdout
    writer = subprocess.Popen([sys.executable, "-c", f"open({str(fifo_path)!r}, 'w')"])
    try:
        # It waits in open() for a reader; a probe that opened the FIFO would let it go on.
        assert wrench("queue", "inspect", fifo_path).returncode == 0
        assert writer.poll() is None
    finally:
        writer.kill()
        writer.wait()
        Path(fifo_path).unlink()


@pytest.mark.parametrize("verb", [["put", "PATH", "x"], ["get", "PATH"], ["inspect", "PATH"]])
def test_queue_commands_refuse_what_is_no_fifo_and_leave_it(wrench, tmp_path, verb):
    (tmp_path / "file").write_text("mine")
    done = wrench("queue", *(word.replace("PATH", "file") for word in verb))
    assert done.returncode == 1
    assert "regular file" in done.stderr, done.stderr
    assert (tmp_path / "file").read_text() == "mine"
    assert wrench("queue", *(word.replace("PATH", "no/such") for word in verb)).returncode == 1


def test_history_of_a_run_names_its_format(wrench, tmp_path):
    wrench("run", "torn-write", "--report", "r")
    header = json.loads(next((tmp_path / "r").glob("*/history.jsonl")).read_text().splitlines()[0])
    assert header["history"] == 1
