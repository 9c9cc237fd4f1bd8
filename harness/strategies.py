"""Hypothesis strategies: messages, workloads, triggers, faults and whole plans, which shrink to the smallest that fail.

A plan runs for real, so each example costs some 30 ms; Hypothesis' deadline has to be off::

    @settings(deadline=None, max_examples=50)
    @given(strategies.plans("my_queue.py:MyQueueAdapter"))
    def test_my_queue_survives(plan):
        assert not harness.run(plan).findings

The simplest plan, which everything shrinks towards, is one producer, one consumer, one message and no fault. A fault
can be planned where the queue never comes by; its verdict is *unknown* then, and has no findings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from . import triggers
from .adapters import DEFAULT, Adapter, absolute, load, reference_of
from .faults import Delay, Error, Fault, Foreign, Kill, Limit, Noop, Pause, Remove, Short, Shrink, Stale
from .faults.kill import SIGNALS
from .faults.stale import FOREIGN, THINGS
from .faults.system import ERRNOS
from .guarantees import KEPT_TYPES
from .plan import Plan
from .runner import check_reach
from .triggers import CALL_KINDS, Trigger

_LEAVES: dict[str, st.SearchStrategy[Any]] = {
    "NoneType": st.none(),
    "bool": st.booleans(),
    "int": st.integers(),
    "float": st.floats(),
    "complex": st.complex_numbers(),
    "str": st.text(st.characters(codec=None)),
    "bytes": st.binary(max_size=10_000),
}
_MOST_CALLS = 200


def messages(types: Sequence[str] = KEPT_TYPES) -> st.SearchStrategy[Any]:
    """Draw a message of these types, nested as it may be; the names are those of ``Guarantees.types``."""
    hashable = st.one_of([strategy for name, strategy in _LEAVES.items() if name in types] or [st.none()])
    if "tuple" in types:
        hashable = st.recursive(hashable, lambda inner: st.lists(inner, max_size=4).map(tuple), max_leaves=6)

    def containers(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        kinds: dict[str, st.SearchStrategy[Any]] = {
            "list": st.lists(inner, max_size=4),
            "tuple": st.lists(inner, max_size=4).map(tuple),
            "dict": st.dictionaries(hashable, inner, max_size=4),
            "set": st.sets(hashable, max_size=4),
            "frozenset": st.frozensets(hashable, max_size=4),
        }
        return st.one_of([hashable, *(strategy for name, strategy in kinds.items() if name in types)])

    return st.recursive(hashable, containers, max_leaves=10)


@st.composite
def places(draw: st.DrawFn, most_messages: int, kinds: Sequence[str] = CALL_KINDS) -> Trigger:
    """Draw a trigger that depends on no timing.

    most_messages: how many messages the peer has.
    kinds: of the calls that the gate sees.
    """
    return _place(draw, most_messages, kinds)


# Functions of a draw, and not strategies of strategies: making and validating those costs more than a trial does.


def _place(draw: st.DrawFn, most_messages: int, kinds: Sequence[str]) -> Trigger:
    transfers = _transfers(kinds)
    forms = ["messages", "start", *(("message", "call") if kinds else ()), *(("byte",) if transfers else ())]
    n, call, byte = st.integers(1, most_messages), st.integers(1, _MOST_CALLS), st.integers(1, 5000)
    match draw(st.sampled_from(forms)):
        case "messages":
            return triggers.Messages(draw(n))
        case "start":
            return triggers.Start()
        case "message":
            return triggers.Message(draw(n), call=draw(st.none() | st.integers(1, 6)))
        case "call":
            kind = draw(st.sampled_from([*kinds, triggers.ANY]))
            return triggers.Call(kind, draw(call), after=draw(st.booleans()))
        case _:
            if draw(st.booleans()):
                return triggers.Call(draw(st.sampled_from(transfers)), draw(call), byte=draw(byte))
            return triggers.Message(draw(n), byte=draw(byte))


@st.composite
def faults(draw: st.DrawFn, peer: str, most_messages: int, adapter: Adapter) -> Fault:
    """Draw a fault of one peer which can reach the queue of this adapter, at a place that depends on no timing.

    What only a foreign writer can do is drawn for queues that promise to withstand it.
    """
    return _fault(draw, peer, most_messages, adapter)


def _fault(draw: st.DrawFn, peer: str, most_messages: int, adapter: Adapter) -> Fault:
    kinds = adapter.guarantees.gate
    transfers = _transfers(kinds)
    n = st.integers(1, most_messages)

    def at() -> Trigger:
        return _place(draw, most_messages, kinds)

    def at_or_again() -> Trigger:
        return triggers.Every(draw(n)) if draw(st.integers(0, 3)) == 3 else at()

    def call(of: Sequence[str]) -> Trigger:
        kind, number = draw(st.sampled_from(of)), draw(st.integers(1, _MOST_CALLS))
        return triggers.Every(number, kind) if draw(st.booleans()) else triggers.Call(kind, number)

    able: list[type[Fault]] = [Noop, Kill, Pause, Delay, Limit]
    able += [Error] if kinds else []
    able += [Short] if transfers else []
    if _has_fifo(adapter):
        able += [Remove, Foreign] if adapter.guarantees.foreign_bytes else [Remove]
    kind = draw(st.sampled_from(able))
    # The place comes last: a simpler one takes fewer draws, and those behind it would mean something else then.
    if kind is Kill:
        return Kill(peer, signal=draw(st.sampled_from(SIGNALS)), replace=draw(st.booleans()), at=at())
    if kind is Pause:
        return Pause(peer, seconds=draw(st.floats(0, 0.05, allow_nan=False)), at=at())
    if kind is Delay:
        return Delay(peer, seconds=draw(st.floats(0, 0.01, allow_nan=False)), at=at_or_again())
    if kind is Limit:
        return Limit(peer, descriptors=draw(st.integers(0, 2)), at=at())
    if kind is Error:
        return Error(peer, errno=draw(st.sampled_from(ERRNOS)), at=call(kinds))
    if kind is Short:
        return Short(peer, size=draw(st.integers(1, 100)), at=call(transfers))
    if kind is Remove:
        return Remove(peer, triggers.Messages(draw(n)), draw(st.booleans()))
    if kind is Foreign:
        return Foreign(peer, size=draw(st.integers(1, 200)), at=at_or_again())
    return Noop(peer, at())


def _transfers(kinds: Sequence[str]) -> list[str]:
    return [kind for kind in ("read", "write") if kind in kinds]


@st.composite
def befalling_the_queue(draw: st.DrawFn, adapter: Adapter) -> list[Fault]:
    """Draw what the queue finds in its place, and how little room it has: nothing, one of the two, or both."""
    found: list[Fault] = []
    if _has_fifo(adapter):
        things = [thing for thing in THINGS if thing not in FOREIGN or adapter.guarantees.foreign_bytes]
        thing, size = draw(st.sampled_from([None, *things])), draw(st.sampled_from((None, 4096, 8192, 65536)))
        found += [] if thing is None else [Stale(thing)]
        found += [] if size is None else [Shrink(size)]
    return found


@st.composite
def plans(
    draw: st.DrawFn,
    queue: Adapter | type[Adapter] | str = DEFAULT,
    *,
    most_producers: int = 3,
    most_consumers: int = 2,
    most_messages: int = 40,
    most_faults: int = 3,
    patience_s: float = 5.0,
) -> Plan:
    """Draw a plan for a queue, with faults that can reach it.

    queue: as ``Trial`` takes it. ``harness.run`` finds an adapter again by its name; hand it the adapter itself where
        that is not possible: ``run(plan, adapter=mine)``.
    most_...: how large a plan gets, at most. Peers stay within what the queue is made for.
    """
    adapter = load(queue) if isinstance(queue, str) else queue() if isinstance(queue, type) else queue
    made_for = adapter.guarantees
    producers = draw(st.integers(1, min(most_producers, made_for.most_producers or most_producers)))
    consumers = draw(st.integers(1, min(most_consumers, made_for.most_consumers or most_consumers)))
    count = draw(st.integers(1, most_messages))
    plan = Plan(
        queue=absolute(queue) if isinstance(queue, str) else reference_of(adapter),
        producers=producers,
        consumers=consumers,
        messages=count,
        large_every=draw(st.sampled_from((10, 0, 1, 3))),
        seed=draw(st.integers(0, 2**32 - 1)),
        patience_s=patience_s,
        name="drawn",
    )
    found = draw(st.lists(_of_a_peer(plan, adapter), max_size=most_faults))
    dead: set[str] = set()
    kept: list[Fault] = []
    for fault in found:
        if fault.final and fault.peer in dead:
            continue  # it dies once
        dead |= {fault.peer} if fault.final else set()
        kept.append(fault)
    befalls = draw(befalling_the_queue(adapter)) if most_faults else []
    whole = plan.with_faults(*befalls, *kept)
    check_reach(whole, adapter)
    return whole


@st.composite
def _of_a_peer(draw: st.DrawFn, plan: Plan, adapter: Adapter) -> Fault:
    peer = draw(st.sampled_from(plan.peers))
    return _fault(draw, peer, plan.messages * (1 if peer.startswith("producer") else plan.producers), adapter)


def _has_fifo(adapter: Adapter) -> bool:
    from pathlib import Path

    return adapter.fifo(Path()) is not None
