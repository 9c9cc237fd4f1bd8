"""System calls fail, as they may on any day."""

from __future__ import annotations

import random
from collections.abc import Iterator

from monkeywrench.harness.faults import Error, Limit
from monkeywrench.harness.triggers import message, messages, read, write

from ._scenario import Case, Range, Scenario, Sizes

# What POSIX says that each call may fail with.
_WRITE = ("EINTR", "EAGAIN", "ENOSPC", "EIO", "EPIPE")
_READ = ("EINTR", "EAGAIN", "EIO")


def _errors(draw: random.Random, sizes: Sizes) -> Iterator[Case]:
    for errno in _WRITE:
        n = draw.randint(1, sizes.messages)
        yield Case(f"{errno} for a write", {"faults": (Error("producer-0", write(n), errno),)})
    for errno in _READ:
        n = draw.randint(1, sizes.messages)
        yield Case(f"{errno} for a read", {"faults": (Error("consumer-0", read(n), errno),)})
    n = draw.randint(1, sizes.messages)
    yield Case("ENOSPC in a large put", {"large_every": 1, "faults": (Error("producer-0", message(n), "ENOSPC"),)})
    yield Case("EMFILE in a large put", {"large_every": 1, "faults": (Error("producer-0", message(n), "EMFILE"),)})


def _descriptors(draw: random.Random, sizes: Sizes) -> Iterator[Case]:
    n = draw.randint(1, sizes.messages // 2)
    for role in ("producer", "consumer"):
        yield Case(f"none left for a {role}", {"large_every": 2, "faults": (Limit(f"{role}-0", messages(n)),)})


SYSTEM_SAYS_NO = Scenario(
    name="system-says-no",
    sentence="A write, a read or what a large message needs fails: interrupted, no space, an I/O error, and so on.",
    cases=_errors,
    expects="The operation tries again, or fails and has done nothing; the next one works.",
    messages=Range(40, 10, 10_000_000),
)
NO_DESCRIPTORS = Scenario(
    name="no-descriptors",
    sentence="A peer has no descriptor left to open, until an operation has failed of it.",
    cases=_descriptors,
    expects="That operation fails and has done nothing, or does without; the next one works.",
    messages=Range(40, 10, 10_000_000),
)
