"""What the peers say when left alone: messages that follow from the seed, so that every byte can be checked.

A message is ``(producer, number, payload)``. Whoever knows the seed knows the payload; nothing needs to be
remembered or written down between the one who puts it and the one who gets it.
"""

from __future__ import annotations

import random
import select
from collections.abc import Callable, Sequence
from typing import Any

from ._eventlog import MOST_NUMBER, MOST_PRODUCER
from .guarantees import KEPT_TYPES

# Sizes of large payloads, in bytes: each makes a message longer than PIPE_BUF (4096 on Linux), some only just.
LARGE = (4096, 4097, 5000, 8192, 12_000)
# One large payload in so many is longer than a pipe at its default size, or than two.
HUGE, HUGE_EVERY = (70_000, 140_000), 16
_PIPE_BUF = getattr(select, "PIPE_BUF", 512)
# Sizes of payloads that are long, while the message is still shorter than PIPE_BUF, whichever way it is encoded.
MEDIUM = (200, 255, 256, *(_PIPE_BUF * part // 4096 for part in (600, 1500, 2800)))
_MOST_SMALL = 64
_MOST_MEDIUM = max(MEDIUM) // 2  # of noise, which has two digits a byte
# Each producer is so many turns further than the one before it.
_STRIDE = 21
_BLOCK = 1 << 16
# Beyond so many bytes the noise repeats itself. Whoever mixes up blocks does so in steps of another size.
_PERIOD = 67_349
_NEVER = 1 << 64
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
    "complex": lambda draw, _noise: complex(1 + draw % 1000, -1.5),
    "dict": lambda draw, noise: {"key": draw, noise.hex()[:8]: [draw % 7, "värde"]},
    "float": lambda draw, _noise: draw / 3,
    "frozenset": lambda draw, _noise: frozenset((draw % 5, "five")),
    "int": lambda draw, _noise: draw - (1 << 62),
    "list": lambda draw, _noise: [draw % 3, "listed", None],
    "set": lambda draw, _noise: {draw % 9, "set"},
    "str": lambda _draw, noise: noise.hex(),
    "tuple": lambda draw, noise: (draw % 11, ("in", noise[:4])),
}


def _medium(draw: int, noise: bytes) -> str:
    return noise.hex()[: MEDIUM[draw % len(MEDIUM)]]


# What queues get wrong that are right otherwise: what is empty, zero or false, the edges, and what looks like an end.
# Infinity and NaN are not among them: queues that keep every other float, such as those of literals, know no such.
_CONSTANT: dict[str, tuple[Any, ...]] = {
    "NoneType": (None,),
    "bool": (False, True),
    "bytes": (b"", b"\0cut", b"\r\n"),
    "complex": (0j,),
    "float": (0.0, -0.0, -0.1, 5e-324, -1.7976931348623157e308),
    "frozenset": (frozenset(),),
    "int": (0, -1, -(1 << 63), (1 << 63) - 1),
    "str": ("", "\0cut", " \t'\"\\\r\n", "値Ωж", "😀𝄞"),
    "tuple": ((), ((),)),
}
_MADE: dict[str, tuple[Callable[[int, bytes], Any], ...]] = {
    "bytes": (lambda draw, noise: _medium(draw, noise).encode(),),
    "dict": (lambda _draw, _noise: {}, lambda _draw, _noise: {"": {}}),
    "list": (lambda _draw, _noise: [], lambda _draw, _noise: [[]]),
    "set": (lambda _draw, _noise: set(),),
    "str": (_medium,),
}


class Workload:
    """The messages of one plan.

    seed: draws them.
    large_every: one message in so many has a payload of more than PIPE_BUF bytes; 0 for none.
    types: names of the types to draw payloads from.
    """

    def __init__(self, seed: int, *, large_every: int = 10, types: Sequence[str] = KEPT_TYPES) -> None:
        self._seed = seed
        self._large_every = large_every or _NEVER
        makers = _MAKERS | ({"dict": _odd_keys} if {"tuple", "dict"} <= set(types) else {})
        self._makers = [makers[name] for name in sorted(types)]
        self._large_text = "bytes" not in types
        self._keeps_tuples = "tuple" in types
        generator = random.Random(seed)
        noise = generator.randbytes(_PERIOD)
        self._noise = noise * (1 + (_BLOCK + max(HUGE)) // _PERIOD) if large_every else noise
        self._odd: list[tuple[Any, Callable[[int, bytes], Any] | None]] = [
            *((value, None) for name in sorted(types) for value in _CONSTANT.get(name, ())),
            *((None, maker) for name in sorted(types) for maker in _MADE.get(name, ())),
        ]
        generator.shuffle(self._odd)

    def is_large(self, number: int) -> bool:
        """Whether message *number* of any producer is longer than PIPE_BUF."""
        return number % self._large_every == self._large_every - 1

    def message(self, producer: int, number: int) -> tuple[int, int, Any]:
        """Return message *number*, from 0, of the producer with this index."""
        every = self._large_every
        large = number // every
        is_large = number - large * every == every - 1
        make = None
        if not is_large and (number - large) & 1:
            # Each in its turn: a few dozen messages have them all, however many large ones are among them.
            odd = self._odd
            value, make = odd[(((number - large) >> 1) + _STRIDE * producer) % len(odd)]
            if make is None:
                return producer, number, value
        draw = (self._seed + _MIX[0] * (producer + 1) + _MIX[1] * (number + 1)) & _MASK
        draw = ((draw ^ (draw >> 31)) * _MIX[2]) & _MASK
        draw ^= draw >> 29
        offset = draw % _BLOCK
        if is_large:
            sizes = LARGE if (large + _STRIDE * producer + self._seed) % HUGE_EVERY else HUGE
            size = sizes[(draw >> 16) % len(sizes)]
            noise = self._noise[offset : offset + size]
            return producer, number, noise.hex()[:size] if self._large_text else noise
        if make is not None:
            return producer, number, make(draw >> 16, self._noise[offset : offset + _MOST_MEDIUM])
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
        return producer, number, f"put {_brief(expected)}, got {_brief(payload)}{_where(expected, payload)}"


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
    if len(text) > 60:
        of = value if isinstance(value, (str, bytes)) else text
        text = f"{text[:40]}… ({len(of)} {_unit(of)}s)"
    return f"{type(value).__name__} {text}"


def _unit(value: str | bytes) -> str:
    return "byte" if isinstance(value, bytes) else "character"


def _where(one: Any, other: Any) -> str:
    """Return where two long texts or bytes begin to differ, as the end of a phrase; nothing for anything else."""
    if type(one) is not type(other) or not isinstance(one, (str, bytes)) or len(one) <= 40:
        return ""
    shared = min(len(one), len(other))
    first = next((at for at in range(shared) if one[at] != other[at]), shared)
    return f", which differs from {_unit(one)} {first + 1} on"
