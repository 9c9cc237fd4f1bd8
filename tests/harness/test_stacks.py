"""Stacks asked for from outside: whole, however slowly they are told."""

import subprocess
import sys

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


def test_dump_whose_frames_come_later_is_waited_for(tmp_path):
    path = tmp_path / "slow.stack"
    args = [sys.executable, "-c", SLOW, str(path), str(_stacks._SIGNAL)]
    with subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        (frames,) = _stacks.of(process.pid, path)
        process.stdin.close()
        assert process.wait(60) == 0
    assert [frame["file"] for frame in frames][-1] == "inner.py"
