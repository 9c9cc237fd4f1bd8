"""Histories as Jepsen has them, for its checkers and tools; and its total-queue checker's sets, of any history.

``dumps`` writes one operation a line, as EDN or as JSON. What peers did is there as Jepsen's clients would tell it; who
died inside an operation has it completed by an ``:info``, and what else happened is the ``:nemesis``'s.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from .history import Event, History

_OPERATIONS = ("enqueue", "dequeue")


def dumps(history: History, *, format: str = "edn") -> str:  # noqa: A002 -- what it is called everywhere
    """Return the history in Jepsen's shape, one operation a line.

    format: ``edn`` or ``json``.
    """
    return "".join(f"{line}\n" for line in lines(history, format=format))


def lines(history: History, *, format: str = "edn") -> Iterator[str]:  # noqa: A002 -- as above
    """Yield the lines of ``dumps``, however many there are. Raises ValueError for another *format*."""
    if format not in _WRITERS:
        raise ValueError(f"format={format!r}: one of {', '.join(_WRITERS)} is allowed")
    write = _WRITERS[format]
    return (write(operation) for operation in operations(history))


def operations(history: History) -> Iterator[dict[str, Any]]:
    """Yield maps with ``index``, ``time``, ``process``, ``type``, ``f`` and ``value``, in order.

    The processes are numbered: producers first, as in the plan, then consumers. A message is ``[producer, number]``.
    """
    numbers = {name: number for number, name in enumerate((*history.producers, *history.consumers))}
    unfinished: dict[str, Event] = {}
    index = last_ns = 0
    for event in history.events:
        last_ns = event.time_ns
        known = event.f in _OPERATIONS
        process: int | str = numbers.setdefault(event.process, len(numbers)) if known else "nemesis"
        value = event.value
        if not known:
            value = {"process": event.process, **(value if isinstance(value, dict) else {"value": value})}
        elif event.type == "invoke":
            unfinished[event.process] = event
        else:
            unfinished.pop(event.process, None)
        yield _operation(index, event.time_ns, process, event.type, event.f, value, event.error)
        index += 1
        if event.f == "exit" and event.process in unfinished:
            begun = unfinished.pop(event.process)
            yield _operation(index, last_ns, numbers[begun.process], "info", begun.f, begun.value, "the process died")
            index += 1
    for name, begun in unfinished.items():
        yield _operation(index, last_ns, numbers[name], "info", begun.f, begun.value, "it never ended")
        index += 1


def _operation(
    index: int, time: int, process: int | str, kind: str, f: str, value: Any, error: str | None
) -> dict[str, Any]:
    operation = {"index": index, "time": time, "process": process, "type": kind, "f": f, "value": value}
    return operation if error is None else {**operation, "error": error}


def _edn_operation(operation: dict[str, Any]) -> str:
    # What Jepsen has as keywords, and a process which is one.
    words = {key: f":{operation[key]}" for key in ("type", "f")}
    if operation["process"] == "nemesis":
        words["process"] = ":nemesis"
    return "{" + ", ".join(f":{key} {words.get(key) or _edn(value)}" for key, value in operation.items()) + "}"


def _edn(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_edn_key(key)} {_edn(each)}" for key, each in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(map(_edn, value)) + "]"
    # Of numbers, texts (plain ASCII, \\u for the rest) and truth values EDN has JSON's own form; of null it has not.
    return "nil" if value is None else json.dumps(value)


def _edn_key(key: str) -> str:
    return f":{key.replace('_', '-')}" if key.isidentifier() and key.isascii() else json.dumps(key)


_WRITERS: dict[str, Callable[[dict[str, Any]], str]] = {"edn": _edn_operation, "json": json.dumps}


@dataclass(frozen=True, slots=True)
class TotalQueue:
    """What Jepsen's total-queue checker says, in its words; multisets.

    attempts: what somebody began to put. acknowledged: whose put returned. ok: what was put, or begun, and received.
    lost: acknowledged and not received. unexpected: received and never begun.
    duplicated: received more often than begun. recovered: received although its put is not known to have returned.
    """

    attempts: Counter[Hashable] = field(default_factory=Counter)
    acknowledged: Counter[Hashable] = field(default_factory=Counter)
    ok: Counter[Hashable] = field(default_factory=Counter)
    lost: Counter[Hashable] = field(default_factory=Counter)
    unexpected: Counter[Hashable] = field(default_factory=Counter)
    duplicated: Counter[Hashable] = field(default_factory=Counter)
    recovered: Counter[Hashable] = field(default_factory=Counter)

    @property
    def valid(self) -> bool:
        """Whether nothing was lost and nothing came unexpected: Jepsen only reports what is duplicated."""
        return not self.lost and not self.unexpected

    def fraction(self, of: Counter[Hashable]) -> Fraction:
        """Return how many of the attempts one of the multisets is."""
        return Fraction(of.total(), self.attempts.total() or 1)


def total_queue(history: History | Iterable[Event]) -> TotalQueue:
    """Return what Jepsen's total-queue checker finds in a history. It excuses nothing, and knows no guarantees.

    Where it differs from the checkers here: a message whose put failed and which was received all the same was
    attempted for Jepsen, and is no finding; here it is *unexpected*.
    """
    attempts: Counter[Hashable] = Counter()
    acknowledged: Counter[Hashable] = Counter()
    received: Counter[Hashable] = Counter()
    wanted = {("invoke", "enqueue"): attempts, ("ok", "enqueue"): acknowledged, ("ok", "dequeue"): received}
    for event in history.events if isinstance(history, History) else history:
        counter = wanted.get((event.type, event.f))
        if counter is not None:
            counter[_hashable(event.value)] += 1
    ok = received & attempts
    unexpected = Counter({value: count for value, count in received.items() if value not in attempts})
    return TotalQueue(
        attempts=attempts,
        acknowledged=acknowledged,
        ok=ok,
        lost=acknowledged - received,
        unexpected=unexpected,
        duplicated=received - attempts - unexpected,
        recovered=ok - acknowledged,
    )


def _hashable(value: Any) -> Hashable:
    if isinstance(value, list):
        return tuple(map(_hashable, value))
    if isinstance(value, dict):
        return tuple((key, _hashable(each)) for key, each in sorted(value.items()))
    hash(value)
    return value  # type: ignore[no-any-return]  # it has a hash
