"""Stacks asked for from outside: whole, however slowly they are told; and of whom nobody waits for."""

import os
import signal
import subprocess
import sys
import threading

import pytest
from monkeywrench.harness import _stacks

# Between the head of a dump and its frames, a process that gets little of the processor may be off it for long.
SLOW = """
import signal, sys, time

def dump(number, frame):
    with open(sys.argv[1], "w", buffering=1) as file:
        for line in ("Current thread 0x0 (most recent call first):", '  File "inner.py", line 2 in inner',
                     '  File "outer.py", line 1 in outer'):
            file.write(line + "\\n")
            if line.startswith("Current"):
                time.sleep(0.5)

signal.signal(int(sys.argv[2]), dump)
print("ready", flush=True)
sys.stdin.read()
"""
# One that begins to tell only when it is told to.
LATE = """
import sys
from monkeywrench.harness import _stacks

def wait():
    sys.stdin.readline()

_stacks.hold()
print("ready", flush=True)
wait()
_stacks.tell(sys.argv[1])
wait()
"""


@pytest.fixture
def process(request, tmp_path):
    args = [sys.executable, "-c", request.param, str(tmp_path / "its.stack"), str(_stacks._SIGNAL)]
    with subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


@pytest.mark.parametrize("process", [SLOW], indirect=True)
def test_dump_whose_frames_come_later_is_waited_for(process, tmp_path):
    (frames,) = _stacks.of(process.pid, tmp_path / "its.stack")
    assert [frame["file"] for frame in frames][-1] == "inner.py"


@pytest.mark.parametrize("process", [LATE], indirect=True)
def test_process_that_is_asked_before_it_can_tell_answers_later(process, tmp_path):
    def go_on():
        process.stdin.write("\n")
        process.stdin.flush()

    timer = threading.Timer(0.2, go_on)
    timer.start()
    try:
        (frames,) = _stacks.of(process.pid, tmp_path / "its.stack")
    finally:
        timer.join()
    assert len(frames) > 0


@pytest.mark.parametrize("process", [LATE], indirect=True)
@pytest.mark.parametrize(("number", "state"), [(signal.SIGKILL, os.WEXITED), (signal.SIGSTOP, os.WSTOPPED)])
def test_process_that_cannot_answer_is_not_waited_for(process, tmp_path, monkeypatch, number, state):
    monkeypatch.setattr(_stacks, "_LONGEST_S", 3600)
    process.send_signal(number)
    os.waitid(os.P_PID, process.pid, state | os.WNOWAIT)
    assert _stacks.of(process.pid, tmp_path / "its.stack") == []
