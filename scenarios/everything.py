"""Everything at once: faults of all kinds in one trial, drawn anew for each."""

from __future__ import annotations

import random
from collections.abc import Iterator

from monkeywrench.harness.faults import Delay, Error, Fault, Kill, Pause
from monkeywrench.harness.triggers import every, messages, read, write

from ._scenario import Case, Range, Scenario, Sizes

_MOST = 5


def mixtures(draw: random.Random, sizes: Sizes) -> Iterator[Case]:
    """Yield one case of up to five faults.

    Each is sure to strike, whoever is faster: no peer has two, and of a consumer nobody knows more than that it reads.
    """
    # The last producer is left alone, so that somebody always has something to say.
    whom = [f"producer-{index}" for index in range(max(1, sizes.producers - 1))]
    whom += [f"consumer-{index}" for index in range(sizes.consumers)]
    struck = draw.sample(whom, min(len(whom), draw.randint(2, _MOST)))
    faults = tuple(_fault(draw, peer, sizes.messages) for peer in sorted(struck))
    name = ", ".join(sorted(fault.name for fault in faults))
    yield Case(name, {"large_every": draw.choice((0, 3, 10)), "faults": faults})


def _fault(draw: random.Random, peer: str, most: int) -> Fault:
    n, replace = draw.randint(1, most - 1), draw.random() < 0.5
    if peer.startswith("consumer"):
        return draw.choice(
            (Kill(peer, read(1), replace=replace), Delay(peer, every(1, "read"), draw.uniform(0, 0.001)))
        )
    return draw.choice(
        (
            Kill(peer, messages(n), replace=replace),
            Kill(peer, write(n), replace=replace),
            Pause(peer, messages(n), draw.uniform(0.01, 0.1)),
            Delay(peer, every(draw.randint(2, 5)), draw.uniform(0, 0.001)),
            Error(peer, write(n), draw.choice(("EINTR", "EAGAIN", "EIO"))),
        )
    )


EVERYTHING = Scenario(
    name="everything-at-once",
    sentence="Peers are killed, replaced, stopped, delayed and refused, in one trial and all at random.",
    cases=mixtures,
    expects="All that the other scenarios expect, together.",
    producers=Range(4, 2, 100),
    consumers=Range(2, 1, 100),
    trials=6,
)
