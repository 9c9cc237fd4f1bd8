"""Big messages, and odd ones: every type that the queue keeps, on both sides of what a pipe takes at once."""

from __future__ import annotations

import random
from collections.abc import Iterator

from monkeywrench.harness.faults import Kill, Shrink
from monkeywrench.harness.triggers import message, read

from ._scenario import Case, Range, Scenario, Sizes


def _odd(_draw: random.Random, _sizes: Sizes) -> Iterator[Case]:
    yield Case("small ones of every type", {"large_every": 0})
    yield Case("big ones alone", {"large_every": 1})
    yield Case("big and small in turn", {"large_every": 2})
    yield Case("big and small through one page", {"large_every": 2, "faults": (Shrink(),)})


def _big(draw: random.Random, sizes: Sizes) -> Iterator[Case]:
    def case(name: str, kill: Kill) -> Case:
        return Case(name, {"large_every": 1, "faults": (kill,)})

    n = draw.randint(2, sizes.messages)
    yield case("the producer, as it begins", Kill("producer-0", message(n)))
    yield case("the producer, a few bytes in", Kill("producer-0", message(n, byte=draw.randint(1, 60))))
    yield case("the producer, thousands of bytes in", Kill("producer-0", message(n, byte=draw.randint(2000, 4000))))
    yield case("the consumer, as it begins", Kill("consumer-0", message(n)))
    yield case("the consumer, after a read", Kill("consumer-0", read(n, after=True)))


ODD_MESSAGES = Scenario(
    name="odd-messages",
    sentence="Messages of every type, empty ones, and ones just over what a pipe takes at once; nobody is hurt.",
    cases=_odd,
    expects="Each comes out with the value and the types that went in.",
    messages=Range(100, 10, 10_000_000),
)
KILLED_IN_A_BIG_MESSAGE = Scenario(
    name="killed-in-a-big-message",
    sentence="A peer gets SIGKILL somewhere inside the put or the get of a message that is longer than PIPE_BUF.",
    cases=_big,
    expects="That message comes whole or not at all, the others all come, and no file of it stays.",
    messages=Range(30, 5, 10_000_000),
)
