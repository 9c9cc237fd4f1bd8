"""Consumers that take their time, and pipes with little room."""

from __future__ import annotations

import random
from collections.abc import Iterator

from monkeywrench.harness.faults import Delay, Pause, Shrink
from monkeywrench.harness.triggers import every, messages

from ._scenario import Case, Range, Scenario, Sizes


def _slow(draw: random.Random, sizes: Sizes) -> Iterator[Case]:
    n = draw.randint(1, sizes.messages // 2)
    slow = Delay("consumer-0", every(1), draw.uniform(0.0005, 0.002))
    yield Case("after every message", {"faults": (slow,)})
    yield Case("a pipe of one page", {"faults": (Shrink(), slow)})
    yield Case("in the middle of every read", {"faults": (Delay("consumer-0", every(1, "read"), 0.001),)})
    yield Case("one that stops for a while", {"consumers": 1, "faults": (Pause("consumer-0", messages(n), 0.3),)})
    yield Case("a producer that stops for a while", {"faults": (Pause("producer-0", messages(n), 0.3),)})


SLOW_READER = Scenario(
    name="slow-reader",
    sentence="A consumer is slow or stands still for a while, with much room in the pipe and with little.",
    cases=_slow,
    expects="Producers wait, nothing is lost, and the order is kept.",
    producers=Range(2),
    consumers=Range(1),
    messages=Range(40, 10, 10_000_000),
)
