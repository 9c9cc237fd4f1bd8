"""When a fault strikes: at a place in the program of one peer, the same on every run; or at a time, wherever it is.

A trigger is settings and nothing else. Who counts, and who strikes, is the peer's nemesis (``_nemesis.py``); of those
that go by the clock, the trial root.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeAlias

from ._errors import PlanError

CALL_KINDS = ("read", "write")


def _at_least(least: int, **values: int | None) -> None:
    for name, value in values.items():
        if value is not None and (type(value) is not int or value < least):
            raise PlanError(f"{name}={value!r}: a whole number from {least} is allowed")


@dataclass(frozen=True, slots=True)
class Messages:
    """After the peer's *n*-th message: its ``put`` or ``get`` has returned, and the next has not begun.

    n: counts from 1.
    """

    n: int

    def __post_init__(self) -> None:
        _at_least(1, n=self.n)

    @property
    def most_messages(self) -> int | None:
        """How many messages the peer must have for this to strike, as far as a plan can know."""
        return self.n

    def __str__(self) -> str:
        return f"after message {self.n}"


@dataclass(frozen=True, slots=True)
class Call:
    """At the peer's *n*-th system call of a kind, of those which transferred something.

    A call that waits for its turn, and is told ``EAGAIN``, differs from run to run; such calls do not count.

    kind: ``read`` or ``write``.
    n: counts from 1, over the peer's whole life from opening the queue on.
    byte: strike when so many bytes of the call are through, and no more. ``None``: none of them.
    after: strike when the whole call is through. Excludes *byte*.
    """

    kind: str
    n: int
    byte: int | None = None
    after: bool = False

    def __post_init__(self) -> None:
        if self.kind not in CALL_KINDS:
            raise PlanError(f"kind={self.kind!r}: allowed are {', '.join(CALL_KINDS)}")
        _at_least(1, n=self.n)
        _at_least(0, byte=self.byte)
        if self.after not in (True, False):
            raise PlanError(f"after={self.after!r}: true or false is allowed")
        if self.after and self.byte is not None:
            raise PlanError(f"byte={self.byte!r} with after: a call is cut at a byte, or it is through; not both")

    @property
    def most_messages(self) -> int | None:
        """Nobody knows before the run how many calls a queue makes for a message."""
        return None

    def __str__(self) -> str:
        if self.after:
            return f"after {self.kind} {self.n}"
        if self.byte:
            return f"{self.byte} bytes into {self.kind} {self.n}"
        return f"before {self.kind} {self.n}"


@dataclass(frozen=True, slots=True)
class Elapsed:
    """So many seconds after the peer began. Where in its program that is differs from run to run.

    seconds: from 0.
    """

    seconds: float

    def __post_init__(self) -> None:
        if type(self.seconds) not in (int, float) or not 0 <= self.seconds <= 86_400:
            raise PlanError(f"seconds={self.seconds!r}: seconds from 0 to 86400 are allowed")

    @property
    def most_messages(self) -> int | None:
        """Nobody knows before the run how far a peer is by then."""
        return None

    def __str__(self) -> str:
        return f"after {self.seconds * 1000:.1f} ms"


Trigger: TypeAlias = Messages | Call | Elapsed

# The one list of triggers: what a plan's JSON calls them.
TRIGGERS: dict[str, type[Trigger]] = {"messages": Messages, "call": Call, "elapsed": Elapsed}


def check(trigger: object) -> None:
    """Raise PlanError unless this is a trigger."""
    if type(trigger) not in TRIGGERS.values():
        raise PlanError(f"at={trigger!r}: allowed are messages(n), read(n), write(n) and elapsed(seconds)")


def messages(n: int) -> Messages:
    """Return the trigger: after the peer's *n*-th message, counted from 1."""
    return Messages(n)


def write(n: int, byte: int | None = None, *, after: bool = False) -> Call:
    """Return the trigger: at the peer's *n*-th write, counted from 1; before it, *byte* bytes into it, or after it."""
    return Call("write", n, byte, after)


def read(n: int, byte: int | None = None, *, after: bool = False) -> Call:
    """Return the trigger: at the peer's *n*-th read, counted from 1; before it, *byte* bytes into it, or after it."""
    return Call("read", n, byte, after)


def elapsed(seconds: float) -> Elapsed:
    """Return the trigger: so many seconds after the peer began, wherever it is by then."""
    return Elapsed(seconds)


def to_json(trigger: Trigger) -> dict[str, Any]:
    """Return the trigger as JSON's types, its name under ``trigger``."""
    (name,) = (name for name, kind in TRIGGERS.items() if kind is type(trigger))
    return {"trigger": name, **dataclasses.asdict(trigger)}


def from_json(fields: Any) -> Trigger:
    """Return the trigger that ``to_json`` wrote. Raises PlanError for an unknown name, key or value."""
    if not isinstance(fields, dict) or fields.get("trigger") not in TRIGGERS:
        raise PlanError(f"not a trigger: {fields!r}: its 'trigger' is one of {', '.join(TRIGGERS)}")
    kind = TRIGGERS[fields["trigger"]]
    settings = {key: value for key, value in fields.items() if key != "trigger"}
    try:
        return kind(**settings)
    except TypeError:
        allowed = ", ".join(field.name for field in dataclasses.fields(kind))
        raise PlanError(f"trigger {fields['trigger']!r} with {sorted(settings)}: it takes {allowed}") from None
