"""Peers are killed: what they held, they held to the end."""

from __future__ import annotations

import random
from collections.abc import Iterator

from monkeywrench.harness.faults import Fault, Kill, Pause, Shrink
from monkeywrench.harness.triggers import blocked, messages, read, start, write

from ._scenario import Case, Range, Scenario, Sizes


def _producer(draw: random.Random, sizes: Sizes) -> Iterator[Case]:
    def case(name: str, kill: Kill) -> Case:
        return Case(name, {"faults": (kill,)})

    most = sizes.messages
    yield case("between two messages", Kill("producer-0", messages(draw.randint(1, most - 1))))
    yield case("before a write", Kill("producer-0", write(draw.randint(1, most))))
    yield case("after a write", Kill("producer-0", write(draw.randint(1, most), after=True)))


def _consumer(draw: random.Random, sizes: Sizes) -> Iterator[Case]:
    def case(name: str, consumers: int, kill: Kill) -> Case:
        return Case(name, {"consumers": consumers, "faults": (kill,)})

    most = sizes.messages
    # Of several consumers, nobody knows how many messages each gets; that each reads at least once is sure.
    yield case("one of several, before its first read", sizes.consumers, Kill("consumer-0", read(1)))
    yield case("the only one, before a read", 1, Kill("consumer-0", read(draw.randint(2, most))))
    yield case("the only one, after a read", 1, Kill("consumer-0", read(draw.randint(1, most), after=True)))
    yield case("the only one, between two gets", 1, Kill("consumer-0", messages(draw.randint(1, most))))


def _blocked(draw: random.Random, sizes: Sizes) -> Iterator[Case]:
    # The producer stands still before its first message, so that every consumer waits.
    still = Pause("producer-0", messages(draw.randint(1, sizes.messages // 2)), 1.0)
    yield Case("in get", {"producers": 1, "faults": (still, Kill("consumer-0", blocked()))})
    # Nobody takes anything for a while, from a pipe of one page: whoever puts waits.
    full = (Shrink(), Pause("consumer-0", messages(1), 1.0))
    yield Case("in put", {"consumers": 1, "faults": (*full, Kill("producer-0", blocked()))})


def _replaced(draw: random.Random, sizes: Sizes) -> Iterator[Case]:
    def case(name: str, *kills: Fault, **fields: int) -> Case:
        return Case(name, {"faults": kills, **fields})

    most = sizes.messages
    yield case("a producer", Kill("producer-0", write(draw.randint(1, most)), replace=True))
    yield case("a consumer", Kill("consumer-0", read(draw.randint(1, most)), replace=True), consumers=1)
    yield case(
        "both",
        Kill("producer-0", messages(draw.randint(1, most - 1)), replace=True),
        Kill("consumer-0", read(1), replace=True),
    )


def _together(draw: random.Random, sizes: Sizes) -> Iterator[Case]:
    producers = tuple(
        Kill(f"producer-{index}", write(draw.randint(2, sizes.messages))) for index in range(sizes.producers)
    )
    consumers = tuple(Kill(f"consumer-{index}", read(1)) for index in range(sizes.consumers))
    yield Case("every producer", {"faults": producers})
    yield Case("every consumer", {"faults": consumers})


def _signals(draw: random.Random, sizes: Sizes) -> Iterator[Case]:
    for signal in ("SIGTERM", "SIGINT"):
        n = draw.randint(2, sizes.messages)
        yield Case(f"{signal} to a producer", {"faults": (Kill("producer-0", write(n), signal),)})
        yield Case(f"{signal} to a consumer", {"faults": (Kill("consumer-0", messages(n), signal),)})
    others = {"producers": max(2, sizes.producers)}
    yield Case("SIGKILL to a producer that has not opened it", {**others, "faults": (Kill("producer-0", start()),)})


KILLED_PRODUCER = Scenario(
    name="killed-producer",
    sentence="A producer gets SIGKILL between two puts, and on either side of a write inside put.",
    cases=_producer,
    expects="The others go on, and nothing is lost whose put had returned.",
    producers=Range(3, 2),
    consumers=Range(2),
)
KILLED_CONSUMER = Scenario(
    name="killed-consumer",
    sentence="A consumer gets SIGKILL between two gets, and on either side of a read inside get.",
    cases=_consumer,
    expects="Whoever comes next gets the rest; at most the message that the dead was getting is lost.",
    producers=Range(2),
    consumers=Range(2, 2),
)
KILLED_WHILE_BLOCKED = Scenario(
    name="killed-while-blocked",
    sentence="A consumer gets SIGKILL while it waits in get, a producer while it waits in put.",
    cases=_blocked,
    expects="What the dead waited for, the others still get; no lock is left held.",
    producers=Range(2),
    consumers=Range(2),
    messages=Range(30, 10, 10_000_000),
)
KILLED_AND_REPLACED = Scenario(
    name="killed-and-replaced",
    sentence="A peer gets SIGKILL in the middle, and a fresh one does what it had left to do.",
    cases=_replaced,
    expects="The newcomer goes on where the dead stopped.",
    producers=Range(2),
    consumers=Range(2),
)
KILLED_TOGETHER = Scenario(
    name="killed-together",
    sentence="All peers of one role get SIGKILL, each inside a call.",
    cases=_together,
    expects="Those who come afterwards exchange messages as if nothing had been.",
    producers=Range(4, 1, 100),
    consumers=Range(3, 1, 100),
)
KILLED_POLITELY = Scenario(
    name="killed-politely",
    sentence="A peer gets SIGTERM or SIGINT, or dies before it has opened the queue.",
    cases=_signals,
    expects="The same as of SIGKILL: a polite end costs no more than a rude one.",
    consumers=Range(1, 1, 1),
)
