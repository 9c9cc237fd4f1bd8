"""A history is everything that a trial did: operations as Jepsen has them, and what befell the peers.

On disk it is JSON lines. The first line is the header: the plan, and what the queue guarantees. Every other line is
an event, in the order of the monotonic clock that all processes share:

    {"index": 0, "time_ns": 81923, "process": "producer-0", "type": "invoke", "f": "enqueue", "value": [0, 0]}

``type`` is ``invoke``, then ``ok``, ``fail`` or ``info``; ``f`` is ``enqueue`` or ``dequeue``, with ``value`` being
``[producer, number]``. An operation that is invoked and never completed is one that nobody knows the end of: its
process died inside it. All else that happened is an ``info`` with an ``f`` of its own:

=========  ============================================================================================
start      the peer runs; ``value`` has its pid and role
strike     a fault struck the peer; ``value`` has the fault, its place, and the peer's stack
exit       the peer has ended; ``value`` has ``code`` or ``signal``; ``error`` its traceback if it had one, of which
           ``headline`` is the line that says what was wrong; ``untold`` where it ended in the middle, and the harness
           alone says so
stuck      the peer should go on and does not; ``value`` has its stacks and for how long nobody moved
refused    an operation failed, as it may because of a fault; ``error`` has what it raised
changed    what was in the queue's place, and is somebody else's, is no longer as it was; ``value`` has ``what``
where      the peer's place when the trial was interrupted; ``value`` as of stuck
leak       something is still there; ``value`` has its kind and its name
call       the peer made a call that counts (of a census); ``value`` has its kind, its number and what it transferred
output     what the peer wrote to its standard output and error, in ``value`` as ``text``: the end of it
grown      the peer had more descriptors open at the end of its work than after its first message: ``opened``, ``now``
shared     what another trial of the same queue would use as well; ``value`` has ``what``
deadline   the trial was given up although its peers were still moving
=========  ============================================================================================
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from . import jsontext
from ._errors import HistoryError, PlanError
from ._events import Event, Events
from ._files import LOG_SUFFIX, NEMESIS_SUFFIX
from .guarantees import Guarantees
from .plan import DRAIN_CONSUMER, HEAL_CONSUMER, Plan, producer_indices

__all__ = ["Event", "Events", "History"]

FORMAT = 1
_TYPES = ("invoke", "ok", "fail", "info")


@dataclass(frozen=True, slots=True)
class History:
    """What one trial did, whole and in order; and against what to hold it."""

    plan: Plan
    guarantees: Guarantees
    events: Sequence[Event] = field(repr=False)

    def __post_init__(self) -> None:
        if not isinstance(self.events, Events):
            object.__setattr__(self, "events", Events(self.events))

    @property
    def producers(self) -> dict[str, int]:
        """Every producer's name, the heal's and replacements included, and the index that its messages carry."""
        return producer_indices(self.plan)

    @property
    def consumers(self) -> tuple[str, ...]:
        """Every consumer's name, the heal's and replacements included."""
        replacements = (name for name in self.plan.replacements if name.startswith("consumer"))
        return (*self.plan.consumer_names, HEAL_CONSUMER, DRAIN_CONSUMER, *replacements)

    def lines(self) -> Iterator[str]:
        """Yield the lines of the history's file."""
        parts = {"plan": self.plan.to_json(), "guarantees": self.guarantees.to_json(), "events": len(self._events)}
        yield json.dumps({"history": FORMAT, **parts})
        yield from self._events.lines()

    def save(self, path: Path) -> None:
        """Write the history to a file, replacing what was there: whole, or not at all."""
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with open(part, "w", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in self.lines())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise

    @classmethod
    def load(cls, path: Path) -> History:
        """Return the history in a file. Raises HistoryError, with the line's number, for what is none."""
        # What is no text is no JSON either, and is refused as that, with its line.
        with open(path, encoding="utf-8", errors="replace") as file:
            return cls.parse(file, source=str(path))

    @classmethod
    def parse(cls, lines: Iterable[str], *, source: str = "the history") -> History:
        """Return the history in these lines. Raises HistoryError that names *source* and the line."""
        header: tuple[Plan, Guarantees] | None = None
        announced: Any = None
        events = Events()
        last_ns = 0
        for number, line in enumerate(lines, start=1):
            try:
                fields = jsontext.loads(line)
                if header is None:
                    header, announced = _header(fields), fields.get("events")
                    continue
                event = _event(fields, header[0])
                if event.index != len(events) or event.time_ns < last_ns:
                    raise HistoryError(
                        f"index={event.index}, time_ns={event.time_ns}: index={len(events)} is expected, and a time of "
                        f"{last_ns} at least; a history has all of its events, in their order"
                    )
                last_ns = event.time_ns
                events.append(event)
            except json.JSONDecodeError as error:
                hint = "; a plan is for monkeywrench replay" if number == 1 else ""
                raise HistoryError(f"{source}, line {number}: not JSON: {error.msg}{hint}") from None
            except (HistoryError, PlanError, ValueError) as error:
                raise HistoryError(f"{source}, line {number}: {error}") from None
        if header is None:
            raise HistoryError(f"{source}: empty; a history begins with its header")
        if announced is not None and (announced is True or announced != len(events)):
            raise HistoryError(
                f"{source}: its header tells of {announced!r} events, and {len(events)} are there; a history has all "
                "of them, and no others"
            )
        return cls(*header, events)

    @classmethod
    def collect(cls, plan: Plan, guarantees: Guarantees, directory: Path) -> History:
        """Return the history out of the logs which peers left in *directory*, merged by time.

        It needs the directory no longer: what is too much for memory is on disk, in a file that goes with the history.
        """
        paths = sorted(directory.iterdir())
        logs = [path for path in paths if path.suffix == LOG_SUFFIX]
        return cls(plan, guarantees, Events.collect(logs, [path for path in paths if path.suffix == NEMESIS_SUFFIX]))

    @property
    def _events(self) -> Events:
        assert isinstance(self.events, Events), self.events
        return self.events


def _header(fields: Any) -> tuple[Plan, Guarantees]:
    if not isinstance(fields, dict) or "history" not in fields:
        raise HistoryError(f"not a history: its first line is an object with 'history': {FORMAT}")
    if fields["history"] is True or fields["history"] != FORMAT:
        raise HistoryError(f"a history of format {fields['history']!r}: this version reads format {FORMAT}")
    return Plan.from_json(fields.get("plan")), Guarantees.from_json(fields.get("guarantees", {}))


def _event(fields: Any, plan: Plan) -> Event:
    if not isinstance(fields, dict):
        raise HistoryError(f"an object is expected, not {fields!r}")
    for name, kind in (("index", int), ("time_ns", int), ("process", str), ("type", str), ("f", str)):
        if type(fields.get(name)) is not kind:
            raise HistoryError(f"{name}={fields.get(name)!r}: an event has one, of type {kind.__name__}")
    if type(fields.get("error", "")) is not str:
        raise HistoryError(f"error={fields['error']!r}: a text is expected")
    if unknown := sorted(fields.keys() - set(Event._fields)):
        raise HistoryError(f"unknown in an event: {', '.join(unknown)}")
    if fields["type"] not in _TYPES:
        raise HistoryError(f"type={fields['type']!r}: allowed are {', '.join(_TYPES)}")
    event = Event(**fields)
    _check_value(event, plan)
    return event


class _Kind(NamedTuple):
    """What a field of a value has to be: in words, and as a question."""

    words: str
    fits: Callable[[Any], object]


# What an event's value has, by its ``f``. A name with a question mark may be missing, or null.
_Shape = dict[str, _Kind]

_TEXT = _Kind("a text", lambda value: type(value) is str)
_TRUTH = _Kind("true or false", lambda value: type(value) is bool)
_WHOLE = _Kind("a whole number", lambda value: type(value) is int)
_SECONDS = _Kind("seconds from 0", lambda value: type(value) in (int, float) and 0 <= value < 1e9)
_INSIDE = _Kind(
    "an operation such as 'put 7'",
    lambda value: type(value) is str and re.fullmatch("(put|get) [1-9][0-9]{0,18}|[a-z]+", value),
)
_CALL = _Kind(
    "an object with n, name and done", lambda value: _fits(value, {"n": _WHOLE, "name": _TEXT, "done": _TRUTH})
)
_PLACE: _Shape = {"file": _TEXT, "line": _WHOLE, "function": _TEXT, "code?": _TEXT}
_STACK = _Kind(
    "a list of objects with file, line and function",
    lambda value: type(value) is list and all(_fits(each, _PLACE) for each in value),
)
_SHAPES: dict[str, _Shape] = {
    "strike": {
        "fault": _WHOLE,
        "inside?": _INSIDE,
        "posix?": _TRUTH,
        "tears?": _TRUTH,
        "stack?": _STACK,
        "path?": _WHOLE,
        "call?": _CALL,
    },
    "missed": {"fault": _WHOLE, "why": _TEXT, "impossible?": _TRUTH},
    "exit": {"code?": _WHOLE, "interrupted?": _TRUTH, "signal?": _TEXT, "by_harness?": _TRUTH, "untold?": _TRUTH},
    "stuck": {"seconds": _SECONDS, "inside?": _INSIDE, "stack?": _STACK},
    "where": {"seconds?": _SECONDS, "stack?": _STACK},
    "deadline": {"seconds": _SECONDS},
    "leak": {"kind": _TEXT, "what": _TEXT},
    "changed": {"what": _TEXT},
    "call": {
        "kind": _TEXT,
        "n": _WHOLE,
        "size": _WHOLE,
        "torn": _TRUTH,
        "posix": _TRUTH,
        "packet": _TRUTH,
        "inside?": _INSIDE,
        "stack": _STACK,
        "path?": _WHOLE,
    },
    "output": {"text": _TEXT},
    "grown": {"opened": _WHOLE, "now": _WHOLE},
    "shared": {"what": _TEXT},
}


def _check_value(event: Event, plan: Plan) -> None:
    """Raise HistoryError unless the event's value is of the shape that its ``f`` has."""
    value, shape = event.value, _SHAPES.get(event.f, {})
    if event.f == "enqueue" or (event.f == "dequeue" and event.type == "ok" and type(value) is not dict):
        if not (type(value) is list and [type(each) for each in value] == [int, int]):
            raise HistoryError(f"value={value!r}: [producer, number] is expected of {event.type} {event.f}")
    elif event.f == "dequeue" and event.type != "ok":
        if value is not None:
            raise HistoryError(f"value={value!r}: none is expected of {event.type} dequeue")
    elif not isinstance(value, dict) and (shape or value is not None):
        raise HistoryError(f"value={value!r}: an object is expected of {event.f}")
    for name, kind in _misfits(value, shape):
        raise HistoryError(f"{name}={value.get(name)!r}: {kind.words} is expected in the value of {event.f}")
    if event.f in ("strike", "missed") and value["fault"] not in range(len(plan.faults)):
        raise HistoryError(f"fault {value['fault']!r}: the plan has {len(plan.faults)}")


def _misfits(value: Any, shape: _Shape) -> Iterator[tuple[str, _Kind]]:
    """Yield the fields of an object which are not what they have to be."""
    for field_name, kind in shape.items():
        name = field_name.removesuffix("?")
        given = value.get(name)
        if not kind.fits(given) and (given is not None or name == field_name):
            yield name, kind


def _fits(value: Any, shape: _Shape) -> bool:
    return isinstance(value, dict) and not any(_misfits(value, shape))
