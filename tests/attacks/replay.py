#!/usr/bin/env python3
"""Run plans that fail, again and again: each has to come to the same findings, and to the same places.

One plan for each fault and each place: a call, a byte of a call, a call of a message, a byte of a message, after a
message. Each against a queue which that fault breaks. Exit status: 0 all the same, 1 one differed, 3 one did not fail.

    python tests/attacks/replay.py --runs 50
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from monkeywrench.harness import Guarantees, Plan, Verdict, call, message, messages, run, write
from monkeywrench.harness.adapters import Adapter, reference_of
from monkeywrench.harness.faults import Delay, Error, Fault, Foreign, Kill, Limit, Pause, Remove, Short
from monkeywrench.harness.triggers import Trigger


class Brittle(Adapter):
    """Lines of JSON over a FIFO, wrong in one way for each fault: every put opens the FIFO anew and swallows whatever
    error comes of that; nothing looks how much was written; who comes after a killed producer forgets its first
    message, and who was held up forgets the next one; a line that is none is skipped.
    """

    guarantees = Guarantees(types=("str", "int", "list"), foreign_bytes=True)

    def fifo(self, directory: Path) -> Path:
        """Return where the FIFO is."""
        return directory / "brittle.fifo"

    def make(self, directory: Path) -> None:
        """Make it."""
        self._path = self.fifo(directory)
        self._mark = directory / "mark"
        os.mkfifo(self._path)
        self._held = os.open(self._path, os.O_RDWR)

    def open(self, role: str) -> None:
        """Look whether somebody was killed."""
        self._buffer, self._last = b"", 0.0
        self._forgets = role == "producer" and self._mark.exists()

    def put(self, end: None, message: Any) -> None:
        """Write a line, if nothing has befallen this peer."""
        self._mark.touch()
        began = time.monotonic()
        forgets, self._forgets = self._forgets and message[0] != HEAL, False
        held_up = bool(self._last) and began - self._last > HELD_UP_S
        with contextlib.suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY)
            try:
                if not forgets and not held_up:
                    os.write(descriptor, json.dumps(message).encode() + b"\n")
            finally:
                os.close(descriptor)
        self._forgets = time.monotonic() - began > HELD_UP_S
        self._last = time.monotonic()

    def get(self, end: None) -> Any:
        """Return the message in the next line that is one."""
        while True:
            while b"\n" not in self._buffer:
                self._buffer += os.read(self._held, 1)  # no line of another consumer's
            line, self._buffer = self._buffer.split(b"\n", 1)
            with contextlib.suppress(ValueError):
                return json.loads(line)

    def close(self, end: None) -> None:
        """Say that nobody was killed."""
        self._mark.unlink(missing_ok=True)

    def destroy(self) -> None:
        """Remove the FIFO."""
        os.close(self._held)
        self._path.unlink()
        self._mark.unlink(missing_ok=True)


# Longer than a busy machine holds a peer up by itself.
HELD_UP_S = 0.5
HEAL = 1  # the index that the heal's producer has where there is one other
AT: dict[str, Trigger] = {
    "call": call("open", 4),
    "write": write(3),
    "byte of a write": write(3, byte=7),
    "write that is through": write(3, after=True),
    "call of a message": message(3, call=2),
    "byte of a message": message(3, byte=7),
    "message that is through": messages(3),
}
P = "producer-0"


def faults_at(at: Trigger) -> dict[str, Fault]:
    """Return every fault that can be there, by name."""
    cut = getattr(at, "byte", None) is not None
    inside = at.call_kind is not None
    found: dict[str, Fault] = {
        "kill": Kill(P, at, replace=True),
    }
    if not cut:
        found |= {"pause": Pause(P, at, 2 * HELD_UP_S), "delay": Delay(P, at, 2 * HELD_UP_S)}
        found |= {"foreign": Foreign(P, at), "remove": Remove(P, at)}
        # While a descriptor is open, the limit spares it; the next put has its number.
        found |= {"limit": Limit(P, at)} if at.call_kind in (None, "open") else {}
    if inside and not cut and not getattr(at, "after", False):
        found |= {"error": Error(P, at, "EIO")}
        found |= {"short": Short(P, at, 3)} if at.call_kind != "open" else {}
    return found


def plans() -> dict[str, Plan]:
    """Return the plans, by fault and place."""
    return {
        f"{name} at a {place}": Plan(
            queue=reference_of(Brittle()), producers=1, consumers=1, messages=10, large_every=0, seed=4, faults=(fault,)
        )
        for place, at in AT.items()
        for name, fault in faults_at(at).items()
    }


def outcome(verdict: Verdict) -> str:
    """Return what has to be the same: status, kinds of findings, sentences, and where the faults struck."""
    found = sorted(f"{finding.kind}: {finding.sentence}" for finding in verdict.findings)
    return repr((verdict.status, found, verdict.struck))


def main(argv: list[str]) -> int:
    """Run them, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--only", default="", help="those whose name contains this")
    args = parser.parse_args(argv)
    differ = sound = 0
    chosen = {name: plan for name, plan in plans().items() if args.only in name}
    for name, plan in chosen.items():
        kept = Plan.loads(plan.dumps())
        seen = Counter(outcome(run(kept, adapter=Brittle())) for _ in range(args.runs))
        (most, count), *_ = seen.most_common(1)
        differ += len(seen) > 1
        sound += not most.startswith("('invalid'")
        print(f"{count:3} of {args.runs} the same  {name}: {most[:110]}", flush=True)
        for other in list(seen)[1:4] if len(seen) > 1 else ():
            print(f"      differs: {other[:300]}")
    print(f"{len(chosen)} plans, {args.runs} runs each: {differ} differed, {sound} did not fail")
    return 1 if differ else 3 if sound else 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main(sys.argv[1:]))
