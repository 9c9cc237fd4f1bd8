#!/usr/bin/env python3
"""One wire for every Python: producers on one, a consumer on another, every ordered pair of those found.

In each pair a producer, which puts four messages at a time, is killed in the middle, and others go on, before and after
it; one message in five is longer than PIPE_BUF. Every message has to arrive with its value and its types, in its
producer's order, and nothing may be left. Exit status: 0 all pairs agree, 1 one does not, 2 fewer than two Pythons were
found.

    python tests/attacks/wire.py ENVIRONMENTS --wheel WHEEL

The wheel is installed for each Python into an environment of its own below the directory ENVIRONMENTS.
``tox -e wire`` does so; the wheel is then the one that tox has built.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from monkeywrench.pipes import SimplePipeQueue

VERSIONS = ("3.11", "3.12", "3.13", "3.14", "3.15")
MESSAGES = 100
LONGEST_S = 60

PRODUCER = """
import sys
from monkeywrench.harness.workload import Workload
from monkeywrench.pipes import SimplePipeQueue
path, producer, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
workload = Workload(1, large_every=5)
with SimplePipeQueue(path) as queue:
    step = 4 if producer % 2 else 1
    for start in range(0, count, step):
        messages = [workload.message(producer, number) for number in range(start, min(count, start + step))]
        if step == 1:
            queue.put(messages[0], timeout=60)
        else:
            queue.put_many(messages, timeout=60)
        for message in messages:
            print(message[1], flush=True)
"""
CONSUMER = """
import json, sys
from monkeywrench.harness.workload import Workload
from monkeywrench.pipes import SimplePipeQueue
workload = Workload(1, large_every=5)
got = []
with SimplePipeQueue(sys.argv[1]) as queue:
    print("ready", flush=True)
    while (message := queue.get(timeout=60)) != "end":
        got.append(workload.explain(message) or repr(message))
print(json.dumps(got))
"""


def environment(version: str, wheel: Path, below: Path) -> Path | None:
    """Return an interpreter of this version with the wheel installed, or None if there is no such Python."""
    found = shutil.which(f"python{version}")
    if found is None:
        return None
    python = below / version / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if not python.exists():
        subprocess.run([sys.executable, "-m", "virtualenv", "--quiet", "-p", found, below / version], check=True)
        subprocess.run([*install, str(wheel)], check=True, stderr=subprocess.DEVNULL)
    subprocess.run([*install, "--force-reinstall", "--no-deps", str(wheel)], check=True, stderr=subprocess.DEVNULL)
    return python


def start(python: Path, code: str, *args: object) -> subprocess.Popen[str]:
    """Start a process whose output is read line by line."""
    words = [str(python), "-W", "error", "-c", code, *map(str, args)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd="/")


def lines(process: subprocess.Popen[str], count: int) -> list[str]:
    """Return the next lines that a process prints."""
    assert process.stdout is not None
    return [process.stdout.readline().strip() for _ in range(count)]


def defects(producers: Path, consumers: Path) -> list[str]:
    """Run one pair, and return what is wrong with it."""
    with tempfile.TemporaryDirectory(prefix="monkeywrench-") as directory:
        path = Path(directory) / "wire.fifo"
        with SimplePipeQueue(path, history=False) as held:
            consumer = start(consumers, CONSUMER, path)
            lines(consumer, 1)
            before, victim = start(producers, PRODUCER, path, 0, MESSAGES), start(producers, PRODUCER, path, 1, 10**6)
            told = int(lines(victim, MESSAGES)[-1])
            victim.kill()
            victim.wait()
            after = start(producers, PRODUCER, path, 2, MESSAGES)
            for producer in (before, after):
                lines(producer, MESSAGES)
                if producer.wait(LONGEST_S):
                    return [f"a producer ended with {producer.returncode}"]
            held.put("end")
            got = json.loads(lines(consumer, 1)[0] or "[]")
            if consumer.wait(LONGEST_S):
                return [f"the consumer ended with {consumer.returncode}"]
            for process in (before, victim, after, consumer):
                assert process.stdout is not None
                process.stdout.close()
        wrong = [f"{each}" for each in got if isinstance(each, str) or each[2]]
        for producer, least in ((0, MESSAGES), (1, told + 1), (2, MESSAGES)):
            numbers = [each[1] for each in got if each[0] == producer]
            if numbers != list(range(len(numbers))) or len(numbers) < least:
                wrong.append(f"of producer {producer}, {len(numbers)} messages came, not {least} in order")
        return wrong + [f"{left.name} is left" for left in Path(directory).iterdir()]


def main() -> int:
    """Run every pair, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environments", type=Path)
    parser.add_argument(
        "--wheel", type=Path, default=os.environ.get("TOX_PACKAGE"), required="TOX_PACKAGE" not in os.environ
    )
    options = parser.parse_args()
    found = {
        version: python
        for version in VERSIONS
        if (python := environment(version, options.wheel, options.environments)) is not None
    }
    failed = 0
    for one, other in itertools.product(found, repeat=2):
        wrong = defects(found[one], found[other])
        failed += bool(wrong)
        print(f"{one} to {other}: {'; '.join(wrong[:3]) or 'agree'}", flush=True)
    print(f"{len(found) ** 2 - failed} passed, {failed} failed")
    return 1 if failed else 0 if len(found) > 1 else 2


if __name__ == "__main__":
    sys.exit(main())
