#!/usr/bin/env python3
"""Torture the queue: three producers, two consumers, each killed at random and replaced, trial after trial.

Half of the kills come by the clock, wherever they find their peer; half at a random system call, before it, behind
it or in the middle of its bytes. Every trial has messages on both sides of PIPE_BUF. In the end it says how many kills
fell inside put, inside get, and between the file of a long message and the packet that claims it: none of them may be
zero, or nothing was tortured. Exit status: 0 all valid, 1 a violation, 3 the kills missed one of the three places.

    python tests/attacks/torture.py --trials 1000 --seed 1
    python tests/attacks/torture.py --trials 100 --capacity 4096
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from monkeywrench.harness import Plan, Verdict, elapsed, read, run, write
from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter
from monkeywrench.harness.faults import Kill
from monkeywrench.harness.ledger import Ledger
from monkeywrench.harness.triggers import Trigger
from monkeywrench.harness.workload import Workload

MESSAGES = 120
LARGE_EVERY = 3
LONGEST_S = 0.025
PLACES = ("inside put", "inside get", "between claim and packet")

# Which system calls one long message takes, in their order: asked of the queue, not known here.
DRY_RUN = """
import json, sys
from monkeywrench.harness import _gate
_gate.install()
from monkeywrench.pipes import SimplePipeQueue
names = []
def note(passage, args, kwargs):
    names.append(passage.name)
    return passage.real(*args, **kwargs)
with SimplePipeQueue(sys.argv[1], history=False) as queue:
    _gate.set_warden(note)
    queue.put(bytes(10_000))
    _gate.set_warden(None)
    queue.get()
print(json.dumps(names))
"""


def calls_of_a_long_put(directory: Path) -> list[str]:
    """Return the names of the system calls of one put of a long message."""
    done = subprocess.run(
        [sys.executable, "-c", DRY_RUN, str(directory / f"torture-{os.getpid()}.fifo")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    names: list[str] = json.loads(done.stdout)
    assert names.count("write") == 2, names
    return names


def plan_of(trial: int, seed: int) -> Plan:
    """Return the plan of one trial: every peer is killed once, and replaced."""
    draw = random.Random(f"{seed} {trial}")
    plan = Plan(
        queue="pipes.SimplePipeQueue",
        producers=3,
        consumers=2,
        messages=MESSAGES,
        large_every=LARGE_EVERY,
        seed=draw.randrange(1 << 32),
        name=f"torture {trial} of seed {seed}",
    )
    faults = tuple(Kill(peer, moment(draw, peer), replace=True) for peer in plan.peers)
    return dataclasses.replace(plan, faults=faults)


def moment(draw: random.Random, peer: str) -> Trigger:
    """Return a random trigger for a peer: by the clock, or at one of the calls that it is sure to reach."""
    if draw.random() < 0.5:
        return elapsed(draw.uniform(0, LONGEST_S))
    if peer.startswith("producer"):
        n = draw.randint(1, MESSAGES)
        return draw.choice([write(n), write(n, after=True), write(n, byte=draw.randint(1, 10))])
    # A consumer may get few messages; it reads at least once.
    return draw.choice([read(1), read(1, after=True)])


def places(verdict: Verdict, long_put: list[str]) -> Counter[str]:
    """Count the kills of one trial by where they found their peers."""
    found: Counter[str] = Counter()
    packet = len(long_put) - long_put[::-1].index("write")
    is_large = Workload(0, large_every=LARGE_EVERY).is_large
    ledger = Ledger(verdict.history)
    for event in verdict.history.events:
        if event.f != "strike":
            continue
        found["kills"] += 1
        operation = ledger.operation(event.process)
        if operation is None:
            found["elsewhere"] += 1
            continue
        kind, number = operation.split()
        found[f"inside {kind}"] += 1
        call = event.value.get("call")
        if kind == "put" and call and is_large(int(number) - 1) and 1 <= call["n"] <= packet:
            created = call["n"] > 1 or call["done"]
            found["between claim and packet"] += created and not (call["n"] == packet and call["done"])
    return found


def main() -> int:
    """Run the trials, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--capacity", type=int, help="the pipe's size in bytes; 4096 is one page")
    options = parser.parse_args()
    adapter = SimplePipeQueueAdapter(capacity=options.capacity)
    long_put = calls_of_a_long_put(Path(os.environ.get("TMPDIR", "/tmp")))
    print(f"seed {options.seed}; a long put: {' '.join(long_put)}", flush=True)
    found: Counter[str] = Counter()
    violations = 0
    began = time.monotonic()
    for trial in range(options.trials):
        verdict = run(plan_of(trial, options.seed), adapter=adapter)
        found += places(verdict, long_put)
        found["messages received"] += verdict.counts["received"]
        found["maybe taken"] += verdict.counts["maybe taken"]
        found["kills that came too late"] += sum("it never struck" in doubt for doubt in verdict.doubts)
        other = [doubt for doubt in verdict.doubts if "it never struck" not in doubt]
        if verdict.status == "invalid" or other:
            violations += 1
            print(verdict, flush=True)
        if (trial + 1) % 100 == 0:
            print(f"{trial + 1} trials, {violations} violations, {time.monotonic() - began:.0f} s", flush=True)
    print(f"{options.trials} trials, {violations} violations, {time.monotonic() - began:.0f} s, seed {options.seed}")
    for name, count in found.items():
        print(f"  {count} {name}")
    return 1 if violations else 0 if all(found[place] for place in PLACES) else 3


if __name__ == "__main__":
    sys.exit(main())
