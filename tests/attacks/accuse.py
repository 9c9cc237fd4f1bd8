#!/usr/bin/env python3
"""Attack the harness: does it accuse the right queue, and does it miss a broken one?

Without more, random plans against the queue that comes with monkeywrench: one to three producers and consumers,
messages on both sides of PIPE_BUF, up to four faults of every family, at every kind of trigger; and every second trial
the plan of a broken queue. It must survive all of them: each finding is a false accusation, or a bug of the queue.
With --broken, every broken queue of tests/harness/broken_queues.py, with as many seeds: how many of them find it.
Exit status: 0 nothing to complain of, 1 an accusation or a miss.

    python tests/attacks/accuse.py --trials 2000 --seed 1
    python tests/attacks/accuse.py --broken --seeds 20
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import random
import re
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[1] / "harness"))

import broken_queues
from monkeywrench.harness import Plan, PlanError, Verdict, run, triggers
from monkeywrench.harness.adapters import DEFAULT
from monkeywrench.harness.faults import Delay, Error, Fault, Foreign, Kill, Limit, Pause, Remove, Short, Shrink, Stale
from monkeywrench.harness.faults.kill import SIGNALS
from monkeywrench.harness.faults.stale import THINGS
from monkeywrench.harness.faults.system import ERRNOS
from monkeywrench.harness.triggers import ANY, Trigger

MOST_FAULTS = 4
NEVER_STRUCK = "it never struck"


class Reach(NamedTuple):
    """What a peer of the right queue comes by, so that most of what is drawn strikes.

    most: how many messages it has, at least as a rule.
    long: whether its messages are longer than PIPE_BUF, and so go through files.
    kinds: how many calls it makes of each kind.
    """

    most: int
    long: bool
    kinds: dict[str, int]


def reach_of(plan: Plan, peer: str) -> Reach:
    """Return what a peer comes by. Consumers take from each other: none has more for certain than it gets at first."""
    produces, long = peer.startswith("producer"), plan.large_every == 1
    most = plan.messages if produces else max(1, plan.messages * plan.producers // (3 * plan.consumers))
    kinds = {"open": 2, "stat": 2, "lock": 3, "control": 2, "close": 2, ANY: 8 + most}
    kinds["write" if produces else "read"] = 2 * most if long else most
    if long:
        kinds["open"] += most
        kinds["close"] += most
        kinds |= {} if produces else {"unlink": most}
    return Reach(most, long, kinds)


def place(draw: random.Random, reach: Reach, *, final: bool = False) -> Trigger:
    """Return a trigger of any kind that comes once. What does not end its peer cannot tear what POSIX keeps whole."""
    n, kind = draw.randint(1, reach.most), draw.choice(list(reach.kinds))
    found: list[Trigger] = [
        triggers.start(),
        triggers.messages(n),
        triggers.message(n, call=draw.randint(1, 3) if reach.long else 1),
        triggers.call(kind, draw.randint(1, reach.kinds[kind]), after=draw.random() < 0.5),
        triggers.elapsed(draw.uniform(0, 0.01)),
    ]
    if final or reach.long:
        found.append(triggers.message(n, byte=draw.choice([100, 4095, 4096] if reach.long else [1, 5, 9])))
    if draw.random() < 0.3:
        found.append(triggers.blocked())
    return draw.choice(found)


def in_call(draw: random.Random, reach: Reach, kind: str) -> Trigger:
    """Return a trigger inside a system call of a kind, which may come again and again."""
    calls = reach.kinds[kind]
    found = [
        triggers.call(kind, draw.randint(1, calls)),
        triggers.every(draw.randint(1, min(6, calls)), kind),
        triggers.rate(draw.uniform(0.2, 0.7), kind),
    ]
    if kind in (ANY, "read", "write"):
        found.append(triggers.message(draw.randint(1, reach.most), call=draw.randint(1, 3) if reach.long else 1))
    return draw.choice(found)


def fault_of(draw: random.Random, peer: str, reach: Reach) -> Fault:
    """Return a fault of any family for one peer. Raises PlanError for what cannot be together."""
    at = place(draw, reach)
    match draw.randrange(9):
        case 0 | 1:
            return Kill(peer, place(draw, reach, final=True), draw.choice(SIGNALS), replace=draw.random() < 0.6)
        case 2:
            return Pause(peer, at, draw.uniform(0, 0.05))
        case 3:
            kind = draw.choice(list(reach.kinds))
            again = draw.choice([at, triggers.every(1, kind), triggers.rate(0.5, kind), triggers.every(1)])
            return Delay(peer, again, draw.uniform(0, 0.003))
        case 4 if "write" in reach.kinds or reach.long:  # a read of a packet cannot be short
            kind = "write" if "write" in reach.kinds else "read"
            return Short(peer, in_call(draw, reach, kind), draw.randint(1, 16))
        case 4 | 5:
            return Error(peer, in_call(draw, reach, draw.choice(list(reach.kinds))), draw.choice(ERRNOS))
        case 6:
            return Limit(peer, at, draw.randint(0, 2))
        case 7:
            size = draw.choice([1, 17, 64, 511, 4096, 5000])
            again = draw.choice([at, triggers.every(draw.randint(1, min(3, reach.most)))])
            return Foreign(peer, again, size, seed=draw.randrange(1 << 32))
        case _:
            # While it is in use: who opens the queue then would make its own.
            n = draw.randint(1, reach.most)
            at = draw.choice([triggers.messages(n), triggers.message(n), triggers.elapsed(draw.uniform(0, 0.01))])
            return Remove(peer, at, replace_it=draw.random() < 0.5)


def drawn(draw: random.Random) -> Plan:
    """Return a random plan for the right queue."""
    producers, consumers, messages = draw.randint(1, 3), draw.randint(1, 3), draw.randint(3, 40)
    plan = Plan(
        queue=DEFAULT,
        producers=producers,
        consumers=consumers,
        messages=messages,
        large_every=draw.choice([0, 1, 3, 10]),
        seed=draw.randrange(1 << 32),
    )
    if draw.random() < 0.15:
        plan = plan.with_faults(Stale(draw.choice(list(THINGS))))
    if draw.random() < 0.25:
        plan = plan.with_faults(Shrink())
    for _ in range(draw.randint(0, MOST_FAULTS)):
        peer = draw.choice(plan.peers)
        with contextlib.suppress(PlanError):  # killed twice, say: without this one then
            fault = fault_of(draw, peer, reach_of(plan, peer))
            befalls = [other.final for other in plan.faults if other.peer == peer]
            if (any(befalls) or (befalls and fault.final)) and draw.random() < 0.7:
                continue  # who is dead comes by no further place
            plan = plan.with_faults(fault)
    return plan


def plan_of(trial: int, seed: int) -> Plan:
    """Return the plan of one trial: drawn, or that of a broken queue."""
    draw = random.Random(f"{seed} {trial}")
    if trial % 2:
        broken = draw.choice(broken_queues.BROKEN)
        return dataclasses.replace(broken.plan(draw.randrange(1 << 32)), queue=DEFAULT, patience_s=5.0)
    return dataclasses.replace(drawn(draw), name=f"accuse {trial} of seed {seed}")


def accuse(trial: int, seed: int) -> tuple[str, str, Counter[str]]:
    """Run one trial; return its status, what there is to complain of, and which faults struck and which did not."""
    plan = plan_of(trial, seed)
    verdict = run(plan)
    struck = {event.value["fault"] for event in verdict.history.events if event.f == "strike"}
    faults = Counter(
        f"{fault.name} {'struck' if index in struck else 'did not strike'}" for index, fault in enumerate(plan.faults)
    )
    other = [doubt for doubt in verdict.doubts if NEVER_STRUCK not in doubt and doubt != "no message was received"]
    complaint = ""
    if verdict.findings or other:
        complaint = f"trial {trial}\n{verdict}\nits plan, for monkeywrench replay:\n{plan.dumps()}"
    return verdict.status, complaint, faults


def misses(verdict: Verdict, broken: broken_queues.Broken) -> str:
    """Return why a broken queue was not found as it should, or an empty text."""
    found = {finding.kind for finding in verdict.findings}
    said = [finding.sentence for finding in verdict.findings if finding.kind == broken.finding]
    if broken.finding not in found:
        return f"no {broken.finding}"
    if more := sorted(found - {broken.finding, *broken.also}):
        return f"{', '.join(more)} as well"
    return "" if any(re.search(broken.says, sentence) for sentence in said) else f"it does not say {broken.says!r}"


def find(seed: int, number: int) -> tuple[int, str, str]:
    """Run a broken queue once; return its number, why it was missed, if it was, and the verdict."""
    broken = broken_queues.BROKEN[number]
    verdict = run(broken.plan(seed), adapter=broken.queue())
    return number, misses(verdict, broken), str(verdict)


def attack_right(trials: int, seed: int, jobs: int) -> int:
    """Run random plans against the right queue; return the exit status."""
    began, complaints = time.monotonic(), 0
    statuses: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    with ProcessPoolExecutor(jobs) as pool:
        for number, (status, complaint, struck) in enumerate(pool.map(partial(accuse, seed=seed), range(trials)), 1):
            statuses[status] += 1
            faults += struck
            if complaint:
                complaints += 1
                print(complaint, flush=True)
            if number % 200 == 0:
                print(f"{number} trials, {complaints} accusations, {time.monotonic() - began:.0f} s", flush=True)
    print(f"{trials} trials, {complaints} accusations, {time.monotonic() - began:.0f} s, seed {seed}")
    print(f"  verdicts: {', '.join(f'{count} {status}' for status, count in statuses.most_common())}")
    for name, count in sorted(faults.items()):
        print(f"  {count:6} {name}")
    return 1 if complaints else 0


def attack_broken(seeds: int, seed: int, jobs: int) -> int:
    """Run every broken queue with so many seeds; print how many found it, and return the exit status."""
    found: Counter[int] = Counter()
    missed: dict[int, tuple[str, str]] = {}
    numbers = [number for number in range(len(broken_queues.BROKEN)) for _ in range(seeds)]
    draw = random.Random(seed)
    with ProcessPoolExecutor(jobs) as pool:
        for number, why, verdict in pool.map(find, [draw.randrange(1 << 32) for _ in numbers], numbers):
            found[number] += not why
            if why:
                missed[number] = why, verdict
    for number, broken in enumerate(broken_queues.BROKEN):
        why = f"  {missed[number][0]}" if number in missed else ""
        print(f"{broken.queue.__name__:32}{broken.finding:12}{found[number]:4} of {seeds}{why}")
    for why, verdict in missed.values():
        print(f"\n{why}:\n{verdict}")
    print(f"{len(broken_queues.BROKEN)} broken queues, {len(missed)} not found by every seed; seed {seed}")
    return 1 if missed else 0


def main() -> int:
    """Run the attack that the command line asks for, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--broken", action="store_true", help="the broken queues, instead of the right one")
    parser.add_argument("--seeds", type=int, default=20, help="for each broken queue")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    if options.broken:
        return attack_broken(options.seeds, options.seed, options.jobs)
    return attack_right(options.trials, options.seed, options.jobs)


if __name__ == "__main__":
    sys.exit(main())
