"""Writes are cut, reads are cut, and bytes are in the pipe that are no message."""

from __future__ import annotations

import random
from collections.abc import Iterator

from monkeywrench.harness.faults import Foreign, Kill, Short
from monkeywrench.harness.triggers import message, messages, read, write

from ._scenario import Case, Range, Scenario, Sizes


def _torn_write(draw: random.Random, sizes: Sizes) -> Iterator[Case]:
    for name, large_every in (("a small message", 0), ("a large message", 1)):
        kill = Kill("producer-0", write(draw.randint(1, sizes.messages), byte=draw.randint(1, 8)))
        yield Case(name, {"large_every": large_every, "faults": (kill,)})


def _short(draw: random.Random, sizes: Sizes) -> Iterator[Case]:
    n = draw.randint(1, sizes.messages)
    size = draw.randint(1, 8)
    yield Case("a write of a small message", {"large_every": 0, "faults": (Short("producer-0", write(n), size),)})
    yield Case("a write of a large message", {"large_every": 1, "faults": (Short("producer-0", write(n), size),)})
    # Where a large message comes in two reads, a claim and its file, the second one is the long one.
    yield Case("a read of a large message", {"large_every": 1, "faults": (Short("consumer-0", read(2 * n), size),)})


def _foreign(draw: random.Random, sizes: Sizes) -> Iterator[Case]:
    def noise(at: object) -> Foreign:
        return Foreign("producer-0", at, draw.randint(1, 200), draw.randrange(1 << 32))  # type: ignore[arg-type]

    n = draw.randint(1, sizes.messages - 1)
    yield Case("between two messages", {"faults": (noise(messages(n)),)})
    yield Case("while a message is put", {"faults": (noise(message(n)),)})
    yield Case("before the first message", {"faults": (noise(message(1)),)})


TORN_WRITE = Scenario(
    name="torn-write",
    sentence="A producer gets SIGKILL in the middle of a write: its first few bytes are through, the rest never.",
    cases=_torn_write,
    expects="The torn message is never delivered, and costs no other one.",
    producers=Range(3, 2),
    consumers=Range(2),
    messages=Range(40, 10, 10_000_000),
)
SHORT_TRANSFER = Scenario(
    name="short-transfer",
    sentence="A write or a read moves fewer bytes than it was asked to, and says so.",
    cases=_short,
    expects="The rest is sent, or the put fails and says so; no message comes out cut.",
    messages=Range(40, 10, 10_000_000),
)
FOREIGN_BYTES = Scenario(
    name="foreign-bytes",
    sentence="A stranger writes bytes into the pipe that are no message, between two messages and inside one.",
    cases=_foreign,
    expects="They are never delivered, and cost no message (only a queue that promises so is held to it).",
)
