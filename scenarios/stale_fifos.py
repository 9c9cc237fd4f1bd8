"""What the queue finds in its place, and who takes its place away."""

from __future__ import annotations

import random
from collections.abc import Iterator

from monkeywrench.harness.faults import Remove, Stale
from monkeywrench.harness.faults.stale import THINGS
from monkeywrench.harness.triggers import messages

from ._scenario import Case, Range, Scenario, Sizes


def _stale(_draw: random.Random, _sizes: Sizes) -> Iterator[Case]:
    for thing, (what, _) in THINGS.items():
        yield Case(what, {"faults": (Stale(thing),)})


def _removed(draw: random.Random, sizes: Sizes) -> Iterator[Case]:
    for name, replace_it in (("removed", False), ("replaced by a new one", True)):
        n = draw.randint(1, sizes.messages - 1)
        yield Case(name, {"faults": (Remove("producer-0", messages(n), replace_it),)})


STALE_FIFO = Scenario(
    name="stale-fifo",
    sentence="Something is in the FIFO's place already: what a dead run left, or what is no FIFO at all.",
    cases=_stale,
    expects="It is used if it is a FIFO, or refused with an error; what is somebody else's stays as it was.",
    messages=Range(20, 5, 10_000_000),
)
REMOVED_FIFO = Scenario(
    name="removed-fifo",
    sentence="The FIFO is taken from its path while it is in use, or replaced by a new one.",
    cases=_removed,
    expects="Whoever has it open goes on, and nothing is lost.",
)
