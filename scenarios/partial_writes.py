"""Writes are cut, and whoever was writing is dead."""

from __future__ import annotations

import random
from collections.abc import Iterator

from monkeywrench.harness.faults import Kill
from monkeywrench.harness.triggers import write

from ._scenario import Case, Scenario

MESSAGES = 40


def _torn_write(draw: random.Random) -> Iterator[Case]:
    for name, large_every in (("a small message", 0), ("a large message", 1)):
        kill = Kill("producer-0", write(draw.randint(1, MESSAGES), byte=draw.randint(1, 8)))
        peers = {"producers": 3, "consumers": 2, "messages": MESSAGES}
        yield Case(name, {**peers, "large_every": large_every, "faults": (kill,)})


TORN_WRITE = Scenario(
    "torn-write",
    "A producer gets SIGKILL in the middle of a write: its first few bytes are through, the rest never.",
    _torn_write,
)
