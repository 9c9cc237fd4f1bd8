"""What the peers say when left alone: messages that follow from the seed, so that every byte can be checked.

A message is ``(producer, number, payload)``. Whoever knows the seed knows the payload; nothing needs to be
remembered or written down between the one who puts it and the one who gets it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from ._eventlog import MOST_NUMBER, MOST_PRODUCER
from .guarantees import KEPT_TYPES

# Sizes of large payloads, in bytes: each makes a message longer than PIPE_BUF (4096 on Linux), some only just.
LARGE = (4096, 4097, 5000, 8192, 12_000)
# One large payload in so many is longer than a pipe at its default size.
HUGE, HUGE_EVERY = 70_000, 16
_MOST_SMALL = 64
_BLOCK = 1 << 16
_MIX = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_MASK = (1 << 64) - 1
_PLAIN = frozenset((bool, bytes, int, str, type(None)))


def _odd_keys(draw: int, noise: bytes) -> Any:
    """Return a dict whose keys are no text, which JSON would make of them."""
    return {"key": draw, draw % 100: [draw % 7, "värde"], ("in", draw % 3): noise[:4]}


_MAKERS: dict[str, Callable[[int, bytes], Any]] = {
    "NoneType": lambda _draw, _noise: None,
    "bool": lambda draw, _noise: draw % 2 == 0,
    "bytes": lambda _draw, noise: noise,
    "complex": lambda draw, _noise: complex(draw % 1000, -1.5),
    "dict": lambda draw, noise: {"key": draw, noise.hex()[:8]: [draw % 7, "värde"]},
    "float": lambda draw, _noise: draw / 3,
    "frozenset": lambda draw, _noise: frozenset((draw % 5, "five")),
    "int": lambda draw, _noise: draw - (1 << 62),
    "list": lambda draw, _noise: [draw % 3, "listed", None],
    "set": lambda draw, _noise: {draw % 9, "set"},
    "str": lambda _draw, noise: noise.hex(),
    "tuple": lambda draw, noise: (draw % 11, ("in", noise[:4])),
}


class Workload:
    """The messages of one plan.

    seed: draws them.
    large_every: one message in so many has a payload of more than PIPE_BUF bytes; 0 for none.
    types: names of the types to draw payloads from.
    """

    def __init__(self, seed: int, *, large_every: int = 10, types: Sequence[str] = KEPT_TYPES) -> None:
        self._seed = seed
        self._large_every = large_every
        makers = _MAKERS | ({"dict": _odd_keys} if {"tuple", "dict"} <= set(types) else {})
        self._makers = [makers[name] for name in sorted(types)]
        self._large_text = "bytes" not in types
        self._keeps_tuples = "tuple" in types
        self._noise = random.Random(seed).randbytes(_BLOCK + (HUGE if large_every else _MOST_SMALL))

    def is_large(self, number: int) -> bool:
        """Whether message *number* of any producer is longer than PIPE_BUF."""
        return self._large_every > 0 and number % self._large_every == self._large_every - 1

    def message(self, producer: int, number: int) -> tuple[int, int, Any]:
        """Return message *number*, from 0, of the producer with this index."""
        draw = (self._seed + _MIX[0] * (producer + 1) + _MIX[1] * (number + 1)) & _MASK
        draw = ((draw ^ (draw >> 31)) * _MIX[2]) & _MASK
        draw ^= draw >> 29
        offset = draw % _BLOCK
        if self.is_large(number):
            size = LARGE[(draw >> 16) % len(LARGE)] if (draw >> 40) % HUGE_EVERY else HUGE
            noise = self._noise[offset : offset + size]
            return producer, number, noise.hex()[:size] if self._large_text else noise
        noise = self._noise[offset : offset + (draw >> 16) % _MOST_SMALL]
        return producer, number, self._makers[(draw >> 32) % len(self._makers)](draw >> 1, noise)

    def explain(self, got: Any) -> tuple[int, int, str | None] | None:
        """Return ``(producer, number, defect)`` of what a consumer got, or ``None`` if it is no message at all.

        The defect is ``None`` if value and types are what was put, else a phrase which says what differs.
        """
        if type(got) not in (tuple, list) or len(got) != 3 or type(got[0]) is not int or type(got[1]) is not int:
            return None
        producer, number, payload = got
        if not (0 <= producer <= MOST_PRODUCER and 0 <= number <= MOST_NUMBER):
            return None  # nobody puts such a one
        expected = self.message(producer, number)[2]
        kind = type(payload)
        if kind in _PLAIN and type(got) is tuple and kind is type(expected) and payload == expected:
            return producer, number, None  # as nearly always: the quick way
        if type(got) is list and self._keeps_tuples:
            return producer, number, "the message was put as a tuple and came out as a list"
        if same(payload, expected):
            return producer, number, None
        return producer, number, f"put {_brief(expected)}, got {_brief(payload)}"


def same(one: Any, other: Any) -> bool:
    """Whether two values are equal and of the same types, all the way down (``1``, ``1.0`` and ``True`` differ)."""
    kind = type(one)
    if kind is not type(other):
        return False
    if kind in _PLAIN:
        return bool(one == other)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        if len(one) != len(other):
            return False
        # In the same order, as nearly always: the quick way.
        if all(map(same, one, other)) and all(map(same, one.values(), other.values())):
            return True
        return _same_members(one, other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (set, frozenset)):
        return len(one) == len(other) and _same_members(one, other)
    if kind is float and one == other != 0:
        return True
    if isinstance(one, (float, complex)):
        return repr(one) == repr(other)  # -0.0 is not 0.0, and NaN is NaN
    return bool(one == other)


def _same_members(one: Any, other: Any) -> bool:
    """Whether each member of one is the same as the equal one of the other; as many are in both."""
    equal = dict(zip(other, other, strict=True))
    return all(member in equal and same(member, equal[member]) for member in one)


def _brief(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else f'{text[:40]}… ({len(text)} characters)'}"
