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
exit       the peer has ended; ``value`` has ``code`` or ``signal``, and ``error`` its traceback if it had one
stuck      the peer should go on and does not; ``value`` has its stacks and for how long nobody moved
leak       something is still there; ``value`` has its kind and its name
deadline   the trial was given up although its peers were still moving
=========  ============================================================================================
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ._errors import HistoryError, PlanError
from ._eventlog import CODES, NOTE, read_records
from .guarantees import Guarantees
from .plan import HEAL_CONSUMER, HEAL_PRODUCER, Plan

FORMAT = 1
LOG_SUFFIX = ".events"
NEMESIS_SUFFIX = ".nemesis"


class Event(NamedTuple):
    """One thing that happened. ``time_ns`` counts from the first event."""

    index: int  # type: ignore[assignment]  # Jepsen's word for it; it hides tuple.index, which nobody misses
    time_ns: int
    process: str
    type: str
    f: str
    value: Any = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the event as JSON's types; what it has not is left out."""
        return {key: value for key, value in self._asdict().items() if value is not None}


@dataclass(frozen=True, slots=True)
class History:
    """What one trial did, whole and in order; and against what to hold it."""

    plan: Plan
    guarantees: Guarantees
    events: Sequence[Event] = field(repr=False)

    @property
    def producers(self) -> dict[str, int]:
        """Every producer's name, the heal's and replacements included, and the index that its messages carry."""
        return producer_indices(self.plan)

    @property
    def consumers(self) -> tuple[str, ...]:
        """Every consumer's name, the heal's and replacements included."""
        replacements = (name for name in self.plan.replacements if name.startswith("consumer"))
        return (*self.plan.consumer_names, HEAL_CONSUMER, *replacements)

    def lines(self) -> Iterator[str]:
        """Yield the lines of the history's file."""
        yield json.dumps({"history": FORMAT, "plan": self.plan.to_json(), "guarantees": self.guarantees.to_json()})
        for event in self.events:
            yield json.dumps(event.to_json())

    def save(self, path: Path) -> None:
        """Write the history to a file, replacing what was there."""
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in self.lines())

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
        events: list[Event] = []
        for number, line in enumerate(lines, start=1):
            try:
                fields = json.loads(line)
                if header is None:
                    header = _header(fields)
                else:
                    events.append(_event(fields, header[0]))
            except json.JSONDecodeError as error:
                hint = "; a plan is for monkeywrench replay" if number == 1 else ""
                raise HistoryError(f"{source}, line {number}: not JSON: {error.msg}{hint}") from None
            except (HistoryError, PlanError, ValueError) as error:
                raise HistoryError(f"{source}, line {number}: {error}") from None
        if header is None:
            raise HistoryError(f"{source}: empty; a history begins with its header")
        return cls(*header, events)

    @classmethod
    def collect(cls, plan: Plan, guarantees: Guarantees, directory: Path) -> History:
        """Return the history out of the logs which peers left in *directory*, merged by time."""
        found: list[tuple[int, str, str, str, Any, str | None]] = []
        for path in directory.iterdir():
            if path.suffix not in (LOG_SUFFIX, NEMESIS_SUFFIX):
                continue
            for record in read_records(str(path)):
                kind, f = CODES[record.code]
                if record.code == NOTE:
                    value = json.loads(record.text)
                    f = value.pop("f")
                    process = value.pop("process", path.stem)
                    found.append((record.time_ns, process, kind, f, value or None, value.pop("error", None)))
                    continue
                value = None
                if kind != "invoke" or f == "enqueue":
                    value = [record.producer, record.number]
                defect = record.text or None
                if defect and f == "dequeue" and kind == "ok" and defect.startswith("?"):
                    value, defect = {"unknown": defect[1:]}, None
                elif kind == "fail" and f == "dequeue":
                    value = None
                found.append((record.time_ns, path.stem, kind, f, value, defect))
        found.sort(key=lambda event: event[0])
        first = found[0][0] if found else 0
        return cls(
            plan,
            guarantees,
            [Event(index, time - first, *rest) for index, (time, *rest) in enumerate(found)],
        )


def producer_indices(plan: Plan) -> dict[str, int]:
    """Return every producer's name, the heal's and replacements included, and the index that its messages carry."""
    replacements = (name for name in plan.replacements if name.startswith("producer"))
    return {name: index for index, name in enumerate((*plan.producer_names, HEAL_PRODUCER, *replacements))}


def _header(fields: Any) -> tuple[Plan, Guarantees]:
    if not isinstance(fields, dict) or "history" not in fields:
        raise HistoryError(f"not a history: its first line is an object with 'history': {FORMAT}")
    if fields["history"] != FORMAT:
        raise HistoryError(f"a history of format {fields['history']!r}: this version reads format {FORMAT}")
    return Plan.from_json(fields.get("plan")), Guarantees.from_json(fields.get("guarantees", {}))


def _event(fields: Any, plan: Plan) -> Event:
    if not isinstance(fields, dict):
        raise HistoryError(f"an object is expected, not {fields!r}")
    for name, kind in (("index", int), ("time_ns", int), ("process", str), ("type", str), ("f", str)):
        if type(fields.get(name)) is not kind:
            raise HistoryError(f"{name}={fields.get(name)!r}: an event has one, of type {kind.__name__}")
    if unknown := sorted(fields.keys() - set(Event._fields)):
        raise HistoryError(f"unknown in an event: {', '.join(unknown)}")
    event = Event(**fields)
    _check_value(event, plan)
    return event


def _check_value(event: Event, plan: Plan) -> None:
    """Raise HistoryError unless the event's value is of the shape that its ``f`` has."""
    value = event.value
    names_message = event.f == "enqueue" or (event.f == "dequeue" and event.type == "ok" and type(value) is not dict)
    if names_message and not (type(value) is list and [type(each) for each in value] == [int, int]):
        raise HistoryError(f"value={value!r}: [producer, number] is expected of {event.type} {event.f}")
    needs = {"strike": ("fault",), "missed": ("fault", "why"), "stuck": ("seconds",), "leak": ("kind", "what")}
    for name in needs.get(event.f, ()):
        if not isinstance(value, dict) or name not in value:
            raise HistoryError(f"value={value!r}: an object with {name!r} is expected of {event.f}")
    if event.f in ("strike", "missed") and value["fault"] not in range(len(plan.faults)):
        raise HistoryError(f"fault {value['fault']!r}: the plan has {len(plan.faults)}")
    if event.f in ("exit", "deadline") and not isinstance(value, dict):
        raise HistoryError(f"value={value!r}: an object is expected of {event.f}")
