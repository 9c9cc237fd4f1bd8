"""Peers are killed: what they held, they held to the end."""

from __future__ import annotations

import random
from collections.abc import Iterator

from monkeywrench.harness.faults import Kill
from monkeywrench.harness.triggers import messages, read, write

from ._scenario import Case, Scenario

MESSAGES = 60


def _producer(draw: random.Random) -> Iterator[Case]:
    def case(name: str, kill: Kill) -> Case:
        return Case(name, {"producers": 3, "consumers": 2, "messages": MESSAGES, "faults": (kill,)})

    yield case("between two messages", Kill("producer-0", messages(draw.randint(1, MESSAGES - 1))))
    yield case("before a write", Kill("producer-0", write(draw.randint(1, MESSAGES))))
    yield case("after a write", Kill("producer-0", write(draw.randint(1, MESSAGES), after=True)))


def _consumer(draw: random.Random) -> Iterator[Case]:
    def case(name: str, consumers: int, kill: Kill) -> Case:
        return Case(name, {"producers": 2, "consumers": consumers, "messages": MESSAGES, "faults": (kill,)})

    # Of two consumers, nobody knows how many messages each gets; that each reads at least once is sure.
    yield case("one of two, before its first read", 2, Kill("consumer-0", read(1)))
    yield case("the only one, before a read", 1, Kill("consumer-0", read(draw.randint(2, MESSAGES))))
    yield case("the only one, after a read", 1, Kill("consumer-0", read(draw.randint(1, MESSAGES), after=True)))
    yield case("the only one, between two gets", 1, Kill("consumer-0", messages(draw.randint(1, MESSAGES))))


KILLED_PRODUCER = Scenario(
    "killed-producer",
    "A producer gets SIGKILL between two puts, and on either side of a write inside put.",
    _producer,
)
KILLED_CONSUMER = Scenario(
    "killed-consumer",
    "A consumer gets SIGKILL between two gets, and on either side of a read inside get.",
    _consumer,
)
