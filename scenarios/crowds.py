"""Many producers, many consumers."""

from __future__ import annotations

import random
from collections.abc import Iterator

from monkeywrench.harness.faults import Kill
from monkeywrench.harness.triggers import read, write

from ._scenario import Case, Range, Scenario, Sizes


def _crowd(draw: random.Random, sizes: Sizes) -> Iterator[Case]:
    def producer() -> Kill:
        return Kill(f"producer-{draw.randrange(sizes.producers)}", write(draw.randint(1, sizes.messages)))

    def consumer() -> Kill:
        return Kill(f"consumer-{draw.randrange(sizes.consumers)}", read(1))

    yield Case("many producers, one consumer", {"consumers": 1})
    yield Case("one producer, many consumers", {"producers": 1})
    yield Case("many of both", {})
    yield Case("many of both, one of each killed", {"faults": (producer(), consumer())})


CROWD = Scenario(
    name="crowd",
    sentence="Many producers and many consumers are at the queue at once, and one of each gets SIGKILL.",
    cases=_crowd,
    expects="Every message comes once, each producer's in order; nobody is in anybody's way.",
    producers=Range(16, 1, 200),
    consumers=Range(8, 1, 200),
    messages=Range(20, 5, 1_000_000),
)
