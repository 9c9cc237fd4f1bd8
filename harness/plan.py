"""A plan is everything that a trial does: frozen, seeded, and a JSON file that can be run again."""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from typing import Any

from . import faults, jsontext
from ._errors import PlanError, check_keys
from .faults import QUEUE, Fault
from .triggers import Ended

FORMAT = 1
MOST_PEERS = 1000
MOST_MESSAGES = 10_000_000

# Peers that the heal starts when the workload has ended (see _root.py); plans cannot name them. What further producers
# of the heal put counts as the first one's.
HEAL_PRODUCERS = "heal-producer-"
HEAL_PRODUCER = f"{HEAL_PRODUCERS}0"
HEAL_CONSUMER = "heal-consumer-0"
DRAIN_CONSUMER = "heal-consumer-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One trial: a queue, the peers around it, what they do when left alone, and what is broken.

    queue: the adapter, as ``harness.adapters.load`` takes it: a name, ``module:object`` or ``file.py:object``.
    producers, consumers: how many peers of each role, at least one.
    messages: how many each producer puts.
    large_every: one message in so many is larger than ``PIPE_BUF``; 1 makes all of them large, 0 none.
    faults: what is broken, where and when.
    seed: draws every message's type, size and content.
    patience_s: seconds without any event from any peer after which those still alive are *stuck*.
    deadline_s: seconds after which the trial is given up, progress or not.
    name: what reports call it.

    Raises PlanError, before anything runs, for a value out of its range and for a fault that names a peer,
    a call or a message which this plan will not have.
    """

    queue: str
    producers: int = 1
    consumers: int = 1
    messages: int = 100
    large_every: int = 10
    faults: tuple[Fault, ...] = ()
    seed: int
    patience_s: float = 5.0
    deadline_s: float = 120.0
    name: str = "trial"

    def __post_init__(self) -> None:
        for name, least, most in (
            ("producers", 1, MOST_PEERS),
            ("consumers", 1, MOST_PEERS),
            ("messages", 1, MOST_MESSAGES),
            ("large_every", 0, MOST_MESSAGES),
            ("seed", 0, 2**63 - 1),
        ):
            value = getattr(self, name)
            if type(value) is not int or not least <= value <= most:
                raise PlanError(f"{name}={value!r}: a whole number from {least} to {most} is allowed")
        for name in ("patience_s", "deadline_s"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not 0.1 <= value <= 86_400:
                raise PlanError(f"{name}={value!r}: seconds from 0.1 to 86400 are allowed")
        for name in ("queue", "name"):
            value = getattr(self, name)
            if type(value) is not str or not value:
                raise PlanError(f"{name}={value!r}: a name is allowed, such as 'multiprocessing.Queue'")
        if re.search("[\ud800-\udfff]", self.name):
            raise PlanError(f"name={self.name!r}: a name is allowed that can be written in UTF-8")
        for fault in self.faults:
            self._check(fault)

    def _check(self, fault: Fault) -> None:
        known = self.peers + self.replacements
        if fault.peer not in (*known, QUEUE):
            # Nor is there one that would take its place.
            there = ", ".join(name for name in known if name != replacement_of(fault.peer))
            raise PlanError(f"no peer {fault.peer!r} in this plan; its peers are {there}")
        total = self.messages if fault.peer.startswith("producer") else self.messages * self.producers
        if fault.at.most_messages is not None and fault.at.most_messages > total:
            raise PlanError(f"{fault}: {fault.peer} sees at most {total} messages in this plan")
        if isinstance(fault.at, Ended) and (fault.at.peer not in known or fault.at.peer == fault.peer):
            raise PlanError(f"{fault}: another peer is allowed there, out of {', '.join(known)}")
        if fault.final and any(
            other is not fault and other.final and other.peer == fault.peer for other in self.faults
        ):
            raise PlanError(f"{fault.peer} is killed twice in this plan; it dies once")
        others = [other for other in self.faults if other is not fault and other.name == fault.name]
        if fault.peer == QUEUE and others:
            raise PlanError(f"{fault}: a plan has one {fault.name} at most")

    def with_faults(self, *more: Fault) -> Plan:
        """Return this plan with more faults."""
        return dataclasses.replace(self, faults=(*self.faults, *more))

    @property
    def producer_names(self) -> tuple[str, ...]:
        """The producers' names, in the order of their indices."""
        return tuple(f"producer-{index}" for index in range(self.producers))

    @property
    def consumer_names(self) -> tuple[str, ...]:
        """The consumers' names, in the order of their indices."""
        return tuple(f"consumer-{index}" for index in range(self.consumers))

    @property
    def peers(self) -> tuple[str, ...]:
        """The names of the peers that a trial starts with."""
        return self.producer_names + self.consumer_names

    @property
    def replacements(self) -> tuple[str, ...]:
        """The names of the peers that take the places of killed ones: ``producer-0.1`` that of ``producer-0``."""
        return tuple(replacement_of(fault.peer) for fault in self.faults if fault.replaced)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON's types."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {"plan": FORMAT, **fields, "faults": [faults.to_json(fault) for fault in self.faults]}

    @classmethod
    def from_json(cls, fields: Any) -> Plan:
        """Return the plan that ``to_json`` wrote. Raises PlanError for anything else, unknown keys included."""
        if not isinstance(fields, dict) or "plan" not in fields:
            raise PlanError(f"not a plan: an object with 'plan': {FORMAT} is expected")
        if fields["plan"] is True or fields["plan"] != FORMAT:
            raise PlanError(f"a plan of format {fields['plan']!r}: this version reads format {FORMAT}")
        settings = {key: value for key, value in fields.items() if key != "plan"}
        allowed = {field.name for field in dataclasses.fields(cls)}
        check_keys(settings, sorted(allowed), "a plan")
        listed = settings.get("faults", [])
        if not isinstance(listed, list):
            raise PlanError(f"faults={listed!r}: a list is expected")
        settings["faults"] = tuple(faults.from_json(fault) for fault in listed)
        try:
            return cls(**settings)
        except TypeError as error:
            raise PlanError(f"not a whole plan: {error}") from None

    def dumps(self) -> str:
        """Return the plan as the text of a plan file."""
        return json.dumps(self.to_json(), indent=2) + "\n"

    @classmethod
    def loads(cls, text: str, *, source: str = "the plan") -> Plan:
        """Return the plan in the text of a plan file. Raises PlanError that names *source* where it is none."""
        try:
            return cls.from_json(jsontext.loads(text))
        except json.JSONDecodeError as error:
            hint = "; a history is for monkeywrench check" if error.msg == "Extra data" else ""
            raise PlanError(f"{source}, line {error.lineno}: not JSON: {error.msg}{hint}") from None
        except ValueError as error:  # a PlanError, too
            raise PlanError(f"{source}: {error}") from None


def replacement_of(peer: str) -> str:
    """Return the name of the peer that takes the place of *peer*."""
    name, _, generation = str(peer).partition(".")
    return f"{name}.{int(generation) + 1 if generation.isdecimal() else 1}"


def producer_indices(plan: Plan) -> dict[str, int]:
    """Return every producer's name, the heal's and replacements included, and the index that its messages carry."""
    replacements = (name for name in plan.replacements if name.startswith("producer"))
    return {name: index for index, name in enumerate((*plan.producer_names, HEAL_PRODUCER, *replacements))}
