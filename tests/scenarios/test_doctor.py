"""The doctor: what it says of the system is so, and what it removes is what dead runs have left, and nothing else."""

import contextlib
import fcntl
import os
import re
import resource
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

# A client that holds a directory with a FIFO, stops its ancestor, and is killed: nobody is left to tidy up.
KILLED_CLIENT = """
import os, signal
from monkeywrench.harness import _client
with _client.directory() as directory:
    os.mkfifo(directory / "queue.fifo")
    ancestor = _client.ancestor().process.pid
    os.kill(ancestor, signal.SIGSTOP)
    print(os.getpid(), ancestor, directory, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
HOLDING_CLIENT = """
import sys
from monkeywrench.harness import _client
with _client.directory() as directory:
    print(directory, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def place(tmp_path):
    place = tmp_path / "temporary"
    place.mkdir()
    return place


@pytest.fixture
def doctor(place):
    def run(*args, limit=None):
        return subprocess.run(
            [sys.executable, "-m", "monkeywrench.scenarios", "doctor", *args],
            capture_output=True,
            text=True,
            timeout=120,
            env=env_of(place),
            stdin=subprocess.DEVNULL,
            preexec_fn=limit,
        )

    return run


def env_of(place):
    return {**os.environ, "TMPDIR": str(place)}


@pytest.fixture
def killed(place):
    """What a run left that was killed in the worst moment: pid, ancestor's pid, and directory."""
    # The ancestor stays, stopped, and with it what it inherits: no pipe that is read to its end.
    done = subprocess.run(
        [sys.executable, "-c", KILLED_CLIENT],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        timeout=60,
        env=env_of(place),
    )
    assert done.returncode == -signal.SIGKILL
    pid, ancestor, directory = done.stdout.split()
    handle = os.pidfd_open(int(ancestor))
    yield int(pid), int(ancestor), Path(directory)
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    os.close(handle)


def test_every_check_has_one_word_and_its_reason(doctor):
    done = doctor()
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    checks = [re.match(r"(ok|warn) +([^:]+): .", line)[2] for line in lines[:-1:2]]
    assert checks == [
        "Python",
        "pytest plugin",
        "queues",
        "PIPE_BUF",
        "packet mode",
        "pipe sizes",
        "quota of pipe pages",
        "descriptors",
        "/proc",
        "prctl",
        "temporary files",
    ]
    assert all(re.match(r" {6}\S", line) for line in lines[1:-1:2])
    assert lines[-1] == "ok    nothing of earlier runs is left"


def test_what_it_says_is_so(doctor, place):
    text = doctor().stdout
    reader, writer = os.pipe()
    default = fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ)
    os.close(reader)
    os.close(writer)
    assert f"PIPE_BUF: {select.PIPE_BUF} bytes" in text
    assert f"pipe sizes: {default:,} bytes by default" in text
    assert f"temporary files: {place} on " in text
    kind = subprocess.run(["findmnt", "-n", "-o", "FSTYPE", "-T", place], capture_output=True, text=True, check=True)
    assert f"temporary files: {place} on {kind.stdout.strip()}, " in text
    assert "pytest plugin: pytest " + pytest.__version__ in text


def test_low_limit_of_descriptors_is_a_warning_and_no_failure(doctor):
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    done = doctor(limit=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard)))
    assert re.search(r"^warn  descriptors: 200, ", done.stdout, re.MULTILINE), done.stdout
    assert done.returncode == 0


def test_what_a_killed_run_left_is_told_and_nothing_is_touched(doctor, killed):
    pid, ancestor, directory = killed
    done = doctor()
    assert done.returncode == 1
    assert f"warn  left behind: process {ancestor}, which worked for {pid}, and that is dead" in done.stdout
    assert f"warn  left behind: directory {directory} of {pid}, which is dead, with 1 FIFO\n" in done.stdout
    assert "doctor --clean removes" in done.stdout
    assert (directory / "queue.fifo").is_fifo()
    os.kill(ancestor, 0)


def test_clean_removes_what_is_left_and_nothing_else(doctor, place, killed):
    pid, ancestor, directory = killed
    others = [
        place / f"monkeywrench-{os.getpid()}-0123456789ab",  # its owner lives
        place / "monkeywrench-notes",
        place / f"monkeywrench-{pid}-a.b",
        place / f"monkey-{pid}-ab",
    ]
    for other in others:
        other.mkdir()
        (other / "file").write_text("mine")
    (place / f"monkeywrench-{pid}-file").write_text("mine")
    (place / f"monkeywrench-{pid}-link").symlink_to(others[1])
    with subprocess.Popen(
        [sys.executable, "-c", HOLDING_CLIENT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=env_of(place),
    ) as living:
        held = Path(living.stdout.readline().strip())
        done = doctor("--clean")
        assert done.returncode == 0, done.stdout
        assert f"clean left behind: process {ancestor}, " in done.stdout
        assert f"clean left behind: directory {directory} " in done.stdout
        assert done.stdout.splitlines()[-1] == "ok    nothing of earlier runs is left"
        assert not directory.exists()
        assert held.is_dir()
        assert living.poll() is None
        living.stdin.close()
        assert living.wait(60) == 0
    assert sorted(path.name for path in place.iterdir()) == sorted(
        [*(path.name for path in others), f"monkeywrench-{pid}-file", f"monkeywrench-{pid}-link"]
    )
    assert all((path / "file").read_text() == "mine" for path in others)
    with open(f"/proc/{ancestor}/stat") if os.path.exists(f"/proc/{ancestor}") else contextlib.nullcontext() as file:
        assert file is None or file.read().rpartition(")")[2].split()[0] in "ZX"


def test_directory_in_use_stays_until_it_is_not(doctor, killed):
    _, _, directory = killed
    held = os.open(directory / "queue.fifo", os.O_RDWR | os.O_NONBLOCK)
    try:
        done = doctor("--clean")
        assert done.returncode == 1
        assert f"in use by {os.getpid()}, so it stays" in done.stdout
        assert directory.is_dir()
    finally:
        os.close(held)
    assert doctor("--clean").returncode == 0
    assert not directory.exists()


def test_directory_of_a_dead_run_whose_pid_another_has_now_is_seen(doctor, place):
    old = place / f"monkeywrench-{os.getpid()}-0123456789ab"
    old.mkdir()
    os.utime(old, (1_000_000_000, 1_000_000_000))  # long before this process began
    assert f"directory {old} of {os.getpid()}" in doctor().stdout
    assert doctor("--clean").returncode == 0
    assert not old.exists()


def test_help_tells_the_exit_statuses(doctor):
    assert "Exit status: 0 nothing of earlier runs is left, 1 something is." in " ".join(
        doctor("--help").stdout.split()
    )
