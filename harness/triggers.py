"""When a fault strikes: at a place in the program of one peer, the same on every run; or at a moment, wherever it is.

A trigger is settings, and the answer to one question: is it here? Who counts, and who strikes, is the peer's nemesis
(``_nemesis.py``); of those that go by the clock, the trial root.
"""

from __future__ import annotations

import dataclasses
import random
from dataclasses import dataclass
from typing import Any, ClassVar, Final, NamedTuple
from zlib import crc32

from ._errors import PlanError

CALL_KINDS: Final = ("read", "write", "open", "close", "unlink", "stat", "lock", "sync", "control")
"""What the gate tells apart. ``any`` stands for all of them."""
ANY: Final = "any"

BEFORE: Final = 0
AFTER: Final = -1


class Place(NamedTuple):
    """Where a peer is when it is about to make a system call.

    kind: of the call; how many of its kind (n) and of any kind (calls) there will have been, this one included. Only
        calls that succeed are counted, and of reads and writes those that transfer something: how often a waiting peer
        is told ``EAGAIN`` differs from run to run.
    message: which of the peer's puts or gets it is in, from 1; 0 for none.
    call: how many calls there will have been in it.
    start: how many bytes the message's calls of this kind have transferred before.
    size: how many bytes this call is to transfer; 0 where that is not known.
    """

    kind: str
    n: int
    calls: int
    message: int
    call: int
    start: int
    size: int


class Trigger:
    """What all triggers can be asked. Their ``repr`` is the call that makes them, as a test would write it.

    by_clock: whether it goes by what happens outside the peer, so that the trial root has to look.
    repeats: whether it comes again and again.
    """

    by_clock: ClassVar[bool] = False
    repeats: ClassVar[bool] = False

    @property
    def call_kind(self) -> str | None:
        """The kind of call inside which it strikes, ``any`` for every kind; None if it does not strike in a call."""
        return None

    @property
    def most_messages(self) -> int | None:
        """How many messages the peer must have for this to strike, as far as a plan can know."""
        return None

    def in_call(self, place: Place, seed: str) -> int | None:
        """Return after how many bytes of the call it strikes (BEFORE, AFTER, or a number), or None if not there."""
        return None

    def after_message(self, n: int, seed: str) -> bool:
        """Whether it strikes when the peer's message *n* is through."""
        return False


def _at_least(least: int, **values: int | None) -> None:
    """Raise PlanError for what is no whole number, or too small. What may be left out is not asked for."""
    for name, value in values.items():
        if type(value) is not int or value < least:
            raise PlanError(f"{name}={value!r}: a whole number from {least} is allowed")


def _known_kind(kind: str | None, *allowed: str | None) -> None:
    if kind not in (*CALL_KINDS, *allowed):
        raise PlanError(f"kind={kind!r}: allowed are {', '.join((*CALL_KINDS, *filter(None, allowed)))}")


@dataclass(frozen=True, slots=True)
class Start(Trigger):
    """Before the peer opens the queue."""

    def __str__(self) -> str:
        return "before it opens the queue"

    def __repr__(self) -> str:
        return "start()"


@dataclass(frozen=True, slots=True)
class Messages(Trigger):
    """After the peer's *n*-th message: its ``put`` or ``get`` has returned, and the next has not begun.

    n: counts from 1.
    """

    n: int

    def __post_init__(self) -> None:
        _at_least(1, n=self.n)

    @property
    def most_messages(self) -> int | None:
        return self.n

    def after_message(self, n: int, seed: str) -> bool:
        return n == self.n

    def __str__(self) -> str:
        return f"after message {self.n}"

    def __repr__(self) -> str:
        return f"messages({self.n})"


@dataclass(frozen=True, slots=True)
class Message(Trigger):
    """Inside the ``put`` or ``get`` of the peer's *n*-th message.

    n: counts from 1.
    byte: strike when so many bytes of the message are through: written in a ``put``, read in a ``get``.
    call: strike before the put's or get's call with this number, from 1; the first unless said otherwise.
        Excludes *byte*.
    """

    n: int
    byte: int | None = None
    call: int | None = None

    def __post_init__(self) -> None:
        _at_least(1, n=self.n)
        if self.call is not None:
            _at_least(1, call=self.call)
        if self.byte is not None:
            _at_least(0, byte=self.byte)
        if self.byte is not None and self.call is not None:
            raise PlanError(f"byte={self.byte!r} with call={self.call!r}: a place is one or the other")

    @property
    def call_kind(self) -> str | None:
        return ANY

    @property
    def most_messages(self) -> int | None:
        return self.n

    def in_call(self, place: Place, seed: str) -> int | None:
        if place.message != self.n:
            return None
        if self.byte is None:
            return BEFORE if place.call == (self.call or 1) else None
        if place.kind not in ("read", "write") or not place.start <= self.byte < place.start + place.size:
            return None
        return self.byte - place.start

    def __str__(self) -> str:
        if self.byte is not None:
            return f"{_bytes(self.byte)} into message {self.n}"
        return f"before call {self.call or 1} of message {self.n}"

    def __repr__(self) -> str:
        byte = "" if self.byte is None else f", byte={self.byte}"
        return f"message({self.n}{byte}{'' if self.call is None else f', call={self.call}'})"


@dataclass(frozen=True, slots=True)
class Call(Trigger):
    """At the peer's *n*-th system call of a kind, of those which succeeded and, of reads and writes, transferred
    something.

    A call that waits for its turn, and is told ``EAGAIN``, differs from run to run; such calls do not count.

    kind: one of ``CALL_KINDS``, or ``any``.
    n: counts from 1, over the peer's whole life from opening the queue on.
    byte: strike when so many bytes of the call are through, and no more. ``None``: none of them.
    after: strike when the whole call is through. Excludes *byte*.
    """

    kind: str
    n: int
    byte: int | None = None
    after: bool = False

    def __post_init__(self) -> None:
        _known_kind(self.kind, ANY)
        _at_least(1, n=self.n)
        if self.byte is not None:
            _at_least(0, byte=self.byte)
        if self.after not in (True, False):
            raise PlanError(f"after={self.after!r}: true or false is allowed")
        if self.after and self.byte is not None:
            raise PlanError(f"byte={self.byte!r} with after: a call is cut at a byte, or it is through; not both")
        if self.byte is not None and self.kind not in ("read", "write", ANY):
            raise PlanError(f"byte={self.byte!r} of {self.kind}: only reads and writes transfer bytes")

    @property
    def call_kind(self) -> str | None:
        return self.kind

    def in_call(self, place: Place, seed: str) -> int | None:
        if self.n != (place.calls if self.kind == ANY else place.n if self.kind == place.kind else None):
            return None
        return AFTER if self.after else self.byte or BEFORE

    def __str__(self) -> str:
        call = f"call {self.n}" if self.kind == ANY else f"{self.kind} {self.n}"
        if self.after:
            return f"after {call}"
        return f"{_bytes(self.byte)} into {call}" if self.byte else f"before {call}"

    def __repr__(self) -> str:
        more = ("" if self.byte is None else f", byte={self.byte}") + (", after=True" if self.after else "")
        return (
            f"{self.kind}({self.n}{more})" if self.kind in ("read", "write") else f"call({self.kind!r}, {self.n}{more})"
        )


@dataclass(frozen=True, slots=True)
class Every(Trigger):
    """After every *n*-th message; or, with a kind of call, before every *n*-th of those.

    n: 1 for each.
    kind: one of ``CALL_KINDS``, ``any``, or None for messages.
    """

    n: int
    kind: str | None = None
    repeats: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _at_least(1, n=self.n)
        _known_kind(self.kind, ANY, None)

    @property
    def call_kind(self) -> str | None:
        return self.kind

    @property
    def most_messages(self) -> int | None:
        return self.n if self.kind is None else None

    def in_call(self, place: Place, seed: str) -> int | None:
        n = _number(place, self.kind)
        return BEFORE if n and n % self.n == 0 else None

    def after_message(self, n: int, seed: str) -> bool:
        return self.kind is None and n % self.n == 0

    def __str__(self) -> str:
        which = "" if self.n == 1 else f"{_ordinal(self.n)} "
        return f"after every {which}message" if self.kind is None else f"before every {which}{_noun(self.kind)}"

    def __repr__(self) -> str:
        return f"every({self.n})" if self.kind is None else f"every({self.n}, {self.kind!r})"


@dataclass(frozen=True, slots=True)
class Rate(Trigger):
    """After each message, or before each call of a kind, with a probability: drawn from the plan's seed, so that it is
    the same messages and calls on every run.

    probability: over 0, up to 1.
    kind: one of ``CALL_KINDS``, ``any``, or None for messages.
    """

    probability: float
    kind: str | None = None
    repeats: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if type(self.probability) not in (int, float) or not 0 < self.probability <= 1:
            raise PlanError(f"probability={self.probability!r}: a number over 0 and up to 1 is allowed")
        _known_kind(self.kind, ANY, None)

    @property
    def call_kind(self) -> str | None:
        return self.kind

    def in_call(self, place: Place, seed: str) -> int | None:
        n = _number(place, self.kind)
        return BEFORE if n and self._falls_on(n, seed) else None

    def after_message(self, n: int, seed: str) -> bool:
        return self.kind is None and self._falls_on(n, seed)

    def _falls_on(self, n: int, seed: str) -> bool:
        # Seeded by a number: a text would have a module imported first, which a peer without descriptors cannot.
        return random.Random(crc32(f"{seed} {n}".encode())).random() < self.probability

    def __str__(self) -> str:
        what = "after a message" if self.kind is None else f"before a {_noun(self.kind)}"
        return f"{what}, each with probability {self.probability:g}"

    def __repr__(self) -> str:
        return f"rate({self.probability!r})" if self.kind is None else f"rate({self.probability!r}, {self.kind!r})"


@dataclass(frozen=True, slots=True)
class Elapsed(Trigger):
    """So many seconds after the peer began. Where in its program that is differs from run to run.

    seconds: from 0.
    """

    seconds: float
    by_clock: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if type(self.seconds) not in (int, float) or not 0 <= self.seconds <= 86_400:
            raise PlanError(f"seconds={self.seconds!r}: seconds from 0 to 86400 are allowed")

    def __str__(self) -> str:
        return f"after {self.seconds * 1000:.1f} ms"

    def __repr__(self) -> str:
        return f"elapsed({self.seconds!r})"


@dataclass(frozen=True, slots=True)
class Blocked(Trigger):
    """Once the peer is seen blocked in a ``put`` or ``get``: it sleeps in the kernel, and has used no processor time
    between two looks at it.
    """

    by_clock: ClassVar[bool] = True

    def __str__(self) -> str:
        return "once it is blocked"

    def __repr__(self) -> str:
        return "blocked()"


@dataclass(frozen=True, slots=True)
class Ended(Trigger):
    """Once another peer has ended, whichever way; it is reaped, and this one has hardly moved since.

    peer: the other one.
    """

    peer: str
    by_clock: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if type(self.peer) is not str or not self.peer:
            raise PlanError(f"peer={self.peer!r}: the name of another peer is allowed")

    def __str__(self) -> str:
        return f"once {self.peer} has ended"

    def __repr__(self) -> str:
        return f"ended({self.peer!r})"


# The one list of triggers: what a plan's JSON calls them.
TRIGGERS: Final[dict[str, type[Trigger]]] = {
    "start": Start,
    "messages": Messages,
    "message": Message,
    "call": Call,
    "every": Every,
    "rate": Rate,
    "elapsed": Elapsed,
    "blocked": Blocked,
    "ended": Ended,
}


def check(trigger: object) -> None:
    """Raise PlanError unless this is a trigger."""
    if type(trigger) not in TRIGGERS.values():
        raise PlanError(
            f"at={trigger!r}: allowed are start(), messages(n), message(n), read(n), write(n), call(kind, n), "
            "every(n), rate(probability), elapsed(seconds), blocked() and ended(peer)"
        )


def start() -> Start:
    """Return the trigger: before the peer opens the queue."""
    return Start()


def messages(n: int) -> Messages:
    """Return the trigger: after the peer's *n*-th message, counted from 1."""
    return Messages(n)


def message(n: int, byte: int | None = None, *, call: int | None = None) -> Message:
    """Return the trigger: inside the put or get of message *n*: *byte* bytes into it, or before its *call*-th call."""
    return Message(n, byte, call)


def write(n: int, byte: int | None = None, *, after: bool = False) -> Call:
    """Return the trigger: at the peer's *n*-th write, counted from 1; before it, *byte* bytes into it, or after it."""
    return Call("write", n, byte, after)


def read(n: int, byte: int | None = None, *, after: bool = False) -> Call:
    """Return the trigger: at the peer's *n*-th read, counted from 1; before it, *byte* bytes into it, or after it."""
    return Call("read", n, byte, after)


def call(kind: str, n: int, byte: int | None = None, *, after: bool = False) -> Call:
    """Return the trigger: at the peer's *n*-th system call of a kind, or of ``any``; before, *byte* bytes into it, or
    after it.
    """
    return Call(kind, n, byte, after)


def every(n: int, kind: str | None = None) -> Every:
    """Return the trigger: after every *n*-th message, or before every *n*-th system call of a kind."""
    return Every(n, kind)


def rate(probability: float, kind: str | None = None) -> Rate:
    """Return the trigger: after each message, or before each call of a kind, with this probability, by the seed."""
    return Rate(probability, kind)


def elapsed(seconds: float) -> Elapsed:
    """Return the trigger: so many seconds after the peer began, wherever it is by then."""
    return Elapsed(seconds)


def blocked() -> Blocked:
    """Return the trigger: once the peer is seen blocked in a put or get."""
    return Blocked()


def ended(peer: str) -> Ended:
    """Return the trigger: once another peer has ended."""
    return Ended(peer)


def to_json(trigger: Trigger) -> dict[str, Any]:
    """Return the trigger as JSON's types, its name under ``trigger``."""
    (name,) = (name for name, kind in TRIGGERS.items() if kind is type(trigger))
    return {"trigger": name, **dataclasses.asdict(trigger)}  # type: ignore[call-overload]


def from_json(fields: Any) -> Trigger:
    """Return the trigger that ``to_json`` wrote. Raises PlanError for an unknown name, key or value."""
    # Looked for in a tuple: a dict cannot be asked for a list or an object.
    if not isinstance(fields, dict) or fields.get("trigger") not in tuple(TRIGGERS):
        raise PlanError(f"not a trigger: {fields!r}: its 'trigger' is one of {', '.join(TRIGGERS)}")
    kind = TRIGGERS[fields["trigger"]]
    settings = {key: value for key, value in fields.items() if key != "trigger"}
    try:
        return kind(**settings)
    except TypeError:
        allowed = ", ".join(field.name for field in dataclasses.fields(kind))  # type: ignore[arg-type]
        raise PlanError(f"trigger {fields['trigger']!r} with {sorted(settings)}: it takes {allowed}") from None


def _number(place: Place, kind: str | None) -> int:
    """Return the number of the call among those of *kind*, or 0 if it is none of them."""
    return place.calls if kind == ANY else place.n if kind == place.kind else 0


def _noun(kind: str) -> str:
    return "call" if kind == ANY else kind


def _ordinal(number: int) -> str:
    endings = {1: "st", 2: "nd", 3: "rd"} if number % 100 not in (11, 12, 13) else {}
    return f"{number}{endings.get(number % 10, 'th')}"


def _bytes(count: int) -> str:
    return "1 byte" if count == 1 else f"{count} bytes"
