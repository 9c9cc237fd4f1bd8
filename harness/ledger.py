"""The index of a history: who put what, who got it when, and what befell whom. Built in one pass; judges nothing."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any, NamedTuple

from .faults import Fault
from .history import Event, History
from .plan import HEAL_CONSUMER, HEAL_PRODUCER

Message = tuple[int, int]  # (producer's index, number)


class Get(NamedTuple):
    """One ``get`` that returned a message: from when to when, and the event where it did."""

    consumer: str
    began_ns: int
    ended_ns: int
    event: Event


@dataclass(frozen=True, slots=True)
class Strike:
    """One fault which struck."""

    fault: int
    planned: Fault
    event: Event
    inside: str | None

    @property
    def beyond_posix(self) -> bool:
        """Whether only a foreign writer could do this: no kernel cuts a pipe write of at most PIPE_BUF bytes."""
        return self.event.value.get("posix") is False

    @property
    def sentence(self) -> str:
        """What struck whom, and where."""
        value = self.event.value
        stack = value.get("stack") or []
        at = f" ({frame(stack[-1])})" if stack else ""
        call = value.get("call")
        when = f", {'after' if call['done'] else 'in'} its call {call['n']}, {call['name']}" if call else ""
        return f"{self.planned}" + (f", inside its {self.inside}" if self.inside else "") + when + at


def frame(place: dict[str, Any]) -> str:
    """Return one frame of a stack as a person reads it."""
    where = "/".join(place["file"].split("/")[-2:])
    code = f": {place['code']}" if place.get("code") else ""
    return f"{where}:{place['line']} in {place['function']}{code}"


class Ledger:
    """What the checkers ask of a history.

    puts: the type of the last event of every message's put: ``invoke`` (it never returned), ``ok`` or ``fail``.
    received: every get that returned a message, by message, in order.
    unknown: events of gets that returned what is no message at all.
    corrupted: events of gets that returned a message whose value or types differ from what was put.
    inside_put, inside_get: peers whose last put or get did not end, and the event where it began.
    exits, strikes, stuck, leaks, deadlines: those events.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self.puts: dict[Message, str] = {}
        self.received: dict[Message, list[Get]] = defaultdict(list)
        self.unknown: list[Event] = []
        self.corrupted: list[Event] = []
        self.inside_put: dict[str, Event] = {}
        self.inside_get: dict[str, Event] = {}
        self._gets: Counter[str] = Counter()
        self._worked: set[str] = set()
        self.exits: dict[str, Event] = {}
        self.strikes: list[Strike] = []
        self.stuck: list[Event] = []
        self.leaks: list[Event] = []
        self.deadlines: list[Event] = []
        self._missed: dict[int, str] = {}
        others = {"stuck": self.stuck, "leak": self.leaks, "deadline": self.deadlines}
        for event in history.events:
            match event.f:
                case "enqueue":
                    self.puts[event.value[0], event.value[1]] = event.type
                    self._worked.add(event.process)
                    if event.type == "invoke":
                        self.inside_put[event.process] = event
                    else:
                        self.inside_put.pop(event.process, None)
                case "dequeue" if event.type == "invoke":
                    self._worked.add(event.process)
                    self._gets[event.process] += 1
                    self.inside_get[event.process] = event
                case "dequeue":
                    self._got(event, self.inside_get.pop(event.process, event))
                case "exit":
                    self.exits[event.process] = event
                case "strike":
                    index = event.value["fault"]
                    self.strikes.append(Strike(index, history.plan.faults[index], event, event.value.get("inside")))
                case "missed":
                    self._missed[event.value["fault"]] = event.value["why"]
                case f if f in others:
                    others[f].append(event)
        # Who is killed from outside does not say where it was; its own events do.
        for at, strike in enumerate(self.strikes):
            if "inside" not in strike.event.value:
                self.strikes[at] = dataclasses.replace(strike, inside=self.operation(strike.planned.peer))

    def _got(self, event: Event, began: Event) -> None:
        if event.type != "ok":
            return
        if isinstance(event.value, dict):
            self.unknown.append(event)
            return
        if event.error:
            self.corrupted.append(event)
        self.received[event.value[0], event.value[1]].append(Get(event.process, began.time_ns, event.time_ns, event))

    @property
    def healed(self) -> bool:
        """Whether a fresh producer and a fresh consumer exchanged a message over the queue when all was over."""
        heal = self.history.producers[HEAL_PRODUCER]
        return any(
            get.consumer == HEAL_CONSUMER
            for (producer, _), gets in self.received.items()
            if producer == heal
            for get in gets
        )

    def operation(self, peer: str) -> str | None:
        """Return the put or get that a peer did not come back from, such as ``get 7``."""
        if peer in self.inside_get:
            return f"get {self._gets[peer]}"
        if peer in self.inside_put:
            return f"put {self.inside_put[peer].value[1] + 1}"
        return None

    def doing(self, peer: str) -> str:
        """Return what a peer that did not end was in when its events end: a put, a get, ``open`` or ``close``."""
        return self.operation(peer) or ("close" if peer in self._worked else "open")

    def killed(self, peer: str) -> bool:
        """Whether the plan ended this peer."""
        return any(strike.planned.final and strike.planned.peer == peer for strike in self.strikes)

    def missing(self) -> list[Message]:
        """Return the messages whose put returned and which nobody received. The heal's own do not count."""
        heal = self.history.producers[HEAL_PRODUCER]
        return sorted(
            message
            for message, put in self.puts.items()
            if put == "ok" and message[0] != heal and message not in self.received
        )

    def may_be_taken(self, missing: list[Message]) -> list[Message]:
        """Return those of the *missing* that the deaths of peers account for, within the guarantees."""
        guarantees = self.history.guarantees
        names = {index: name for name, index in self.history.producers.items()}
        excused: list[Message] = []
        by_producer: dict[int, list[Message]] = defaultdict(list)
        for message in missing:
            by_producer[message[0]].append(message)
        for producer, messages in by_producer.items():
            if self.killed(names.get(producer, "")):
                cost = guarantees.killed_producer_may_cost
                # What a producer had not yet handed on is what it put last.
                excused += messages if cost is None else messages[len(messages) - cost :] if cost else []
        inside = sum(self.killed(consumer) for consumer in self.inside_get)
        cost = guarantees.killed_consumer_may_cost
        left = sorted(set(missing) - set(excused))
        return excused + (left[: inside * cost] if cost is not None else left if inside else [])

    def why_missed(self, fault: int) -> str:
        """Return why a fault that reached its place did not strike there, as the end of a sentence."""
        return f": {self._missed[fault]}" if fault in self._missed else ""

    def recovered(self) -> list[Message]:
        """Return the messages that were received although their put never returned."""
        return [message for message in self.received if self.puts.get(message) == "invoke"]

    def counts(self) -> dict[str, int]:
        """Return how many messages met which fate; the heal's own are left out."""
        heal = self.history.producers[HEAL_PRODUCER]
        missing = self.missing()
        taken = len(self.may_be_taken(missing)) if self.healed else 0
        return {
            "put": sum(put == "ok" for (producer, _), put in self.puts.items() if producer != heal),
            "received": sum(len(gets) for (producer, _), gets in self.received.items() if producer != heal),
            "recovered": len(self.recovered()),
            "maybe taken": taken,
            "unread": 0 if self.healed else len(missing),
        }
