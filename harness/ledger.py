"""The index of a history: who put what, who got it when, and what befell whom. Built in one pass; judges nothing.

It holds nine bytes a message, and objects only for what is odd.
"""

from __future__ import annotations

import dataclasses
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from . import _eventlog as log
from ._events import Events
from .faults import Fault
from .history import Event, History
from .plan import HEAL_CONSUMER, HEAL_PRODUCER, MOST_PEERS

Message = tuple[int, int]  # (producer's index, number)

# What befell a message: the last event of its put in two bits, and whether it was received in a third.
_PUT = 3
_RECEIVED = 4
_RECEIVED_ANYHOW = range(_RECEIVED, _RECEIVED + _PUT + 1)
_PUTS = ("", "invoke", "ok", "fail")
_NOTHING, _ENDED = -1, -2  # instead of the index of an event: there was none, and no more


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


class _Fates:
    """What befell the messages of one producer, by number.

    states: of each message, as above.
    began, ended: the indices of the events where its first get began and returned.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.states = bytearray()
        self.began = array("I")
        self.ended = array("I")

    def reach(self, number: int) -> bool:
        """Make room for the message with this number, if it is one that the plan may have."""
        if not 0 <= number < self._most:
            return False
        more = min(max(number + 1, 2 * len(self.states), 64), self._most) - len(self.states)
        if more > 0:
            self.states += bytes(more)
            self.began.frombytes(bytes(more * self.began.itemsize))
            self.ended.frombytes(bytes(more * self.ended.itemsize))
        return True

    def among(self, *states: int) -> Iterator[int]:
        """Yield the numbers of the messages in one of these states."""
        for state in states:
            at = self.states.find(state)
            while at >= 0:
                yield at
                at = self.states.find(state, at + 1)


@dataclass(slots=True)
class _Stray:
    """What befell a message that no peer of the plan has: its state, and where its first get began and returned."""

    state: int = 0
    began: int = 0
    ended: int = 0


class First(NamedTuple):
    """The first get of a message: its number, and the indices of the events where it began and returned."""

    number: int
    began: int
    ended: int


class Ledger:
    """What the checkers ask of a history.

    puts, received: everything by message, made when it is asked for. Who asks about all messages at once is faster with
        ``missing``, ``never_put``, ``recovered``, ``again`` and ``firsts``.
    again: the gets of a message after its first one.
    unknown: events of gets that returned what is no message at all.
    corrupted: events of gets that returned a message whose value or types differ from what was put.
    inside_put, inside_get: peers whose last put or get did not end, and the event where it began.
    exits, strikes, stuck, where, leaks, changed, grown, shared, deadlines: those events.
    full: peers that did more than there was room for in their logs: what they did then, nobody knows.
    """

    def __init__(self, history: History) -> None:
        self.history = history
        self.again: dict[Message, list[tuple[int, int]]] = {}
        self.unknown: list[Event] = []
        self.corrupted: list[Event] = []
        self.exits: dict[str, Event] = {}
        self.strikes: list[Strike] = []
        self.stuck: list[Event] = []
        self.leaks: list[Event] = []
        self.where: list[Event] = []
        self.changed: list[Event] = []
        self.grown: list[Event] = []
        self.shared: list[Event] = []
        self.deadlines: list[Event] = []
        self.full: list[str] = []
        self._missed: dict[int, dict[str, Any]] = {}
        self._went: dict[int, bool] = {}
        self._heal = history.producers[HEAL_PRODUCER]
        self.healed = False
        """Whether a fresh producer and a fresh consumer exchanged a message over the queue when all was over."""

        assert isinstance(history.events, Events), history.events
        self._events = history.events
        # A heal's producer puts one message for every consumer.
        most = history.plan.messages + 2 * MOST_PEERS
        self._fates = {producer: _Fates(most) for producer in history.producers.values()}
        self._strays: dict[Message, _Stray] = {}
        names = self._events.names
        size = max(names, default=0) + 1
        self._putting = [_NOTHING] * size
        self._getting = [_NOTHING] * size
        self._gets = [0] * size
        # A get that failed may keep what it took for the next one: that get began where the first of them did.
        self._tried: dict[int, int] = {}
        self._read()
        self._worked = {
            name for process, name in names.items() if self._gets[process] or self._putting[process] != _NOTHING
        }
        self._gets_of: Counter[str] = Counter({name: self._gets[process] for process, name in names.items()})
        self.inside_put = self._inside(self._putting)
        self.inside_get = self._inside(self._getting)
        # Who is killed from outside does not say where it was; its own events do.
        for at, strike in enumerate(self.strikes):
            if "inside" not in strike.event.value:
                self.strikes[at] = dataclasses.replace(strike, inside=self.operation(strike.planned.peer))

    def _inside(self, begun: list[int]) -> dict[str, Event]:
        return {name: self._events[begun[at]] for at, name in self._events.names.items() if begun[at] >= 0}

    def _read(self) -> None:
        """Go through all events. What is usual, and so most of them, is dealt with here and now."""
        states = {producer: fates.states for producer, fates in self._fates.items()}
        began = {producer: fates.began for producer, fates in self._fates.items()}
        ended = {producer: fates.ended for producer, fates in self._fates.items()}
        putting, getting, gets, tried = self._putting, self._getting, self._gets, self._tried
        before = 0
        for chunk in self._events.chunks():
            for index, (time, code, process, producer, number, text) in enumerate(
                log.RECORD.iter_unpack(chunk), before
            ):
                if code == log.DEQUEUE_INVOKE:
                    getting[process] = index
                    gets[process] += 1
                elif text:
                    self._odd(self._events.event(index, time, code, process, producer, number, text), process)
                elif code == log.DEQUEUE_OK:
                    begin = getting[process]
                    getting[process] = _NOTHING
                    if tried:
                        begin = tried.pop(process, begin)
                    try:
                        fates = states[producer]
                        state = fates[number]
                    except LookupError:
                        state = _RECEIVED  # there is no room for it yet, or never: the slow way
                    if state & _RECEIVED or begin < 0:
                        self._got(index, begin if begin >= 0 else index, producer, number)
                    else:
                        fates[number] = state | _RECEIVED
                        began[producer][number] = begin
                        ended[producer][number] = index
                elif code <= log.ENQUEUE_FAIL:
                    putting[process] = index if code == log.ENQUEUE_INVOKE else _ENDED
                    try:
                        fates = states[producer]
                        fates[number] = fates[number] & _RECEIVED | code + 1
                    except LookupError:
                        self._put(code + 1, producer, number)
                else:
                    self._failed(process)
            before += len(chunk) // log.RECORD.size
        self.healed = self._heal_received()

    @property
    def puts(self) -> Mapping[Message, str]:
        """The type of the last event of every message's put: ``invoke`` (it never returned), ``ok`` or ``fail``."""
        return _Puts(self)

    @property
    def received(self) -> Mapping[Message, list[Get]]:
        """Every get that returned a message, by message, in order."""
        return _Received(self)

    def _heal_received(self) -> bool:
        heal = [(self._heal, number) for number in self._fates[self._heal].among(*_RECEIVED_ANYHOW)]
        heal += [each for each, stray in self._strays.items() if each[0] == self._heal and stray.state & _RECEIVED]
        return any(get.consumer == HEAL_CONSUMER for message in heal for get in self.gets(message))

    def _put(self, put: int, producer: int, number: int) -> None:
        fates = self._fates.get(producer)
        if fates is not None and fates.reach(number):
            fates.states[number] = fates.states[number] & _RECEIVED | put
        else:
            stray = self._strays.setdefault((producer, number), _Stray())
            stray.state = stray.state & _RECEIVED | put

    def _got(self, index: int, begin: int, producer: int, number: int) -> None:
        fates = self._fates.get(producer)
        if fates is None or not fates.reach(number):
            stray = self._strays.setdefault((producer, number), _Stray())
            if stray.state & _RECEIVED:
                self.again.setdefault((producer, number), []).append((begin, index))
            else:
                stray.state, stray.began, stray.ended = stray.state | _RECEIVED, begin, index
        elif fates.states[number] & _RECEIVED:
            self.again.setdefault((producer, number), []).append((begin, index))
        else:
            fates.states[number] |= _RECEIVED
            fates.began[number], fates.ended[number] = begin, index

    def _failed(self, process: int) -> None:
        """Take note of a get that has failed."""
        begin, self._getting[process] = self._getting[process], _NOTHING
        if begin >= 0:
            self._tried.setdefault(process, begin)

    def _odd(self, event: Event, process: int) -> None:
        """Take note of an event that has more to tell than its operation."""
        value = event.value
        match event.f:
            case "enqueue":
                self._putting[process] = event.index if event.type == "invoke" else _ENDED
                self._put(_PUTS.index(event.type) if event.type in _PUTS else 1, value[0], value[1])
            case "dequeue" if event.type == "invoke":
                self._getting[process] = event.index
                self._gets[process] += 1
            case "dequeue":
                if event.type != "ok":
                    self._failed(process)
                    return
                begin, self._getting[process] = self._getting[process], _NOTHING
                begin = self._tried.pop(process, begin)
                if isinstance(value, dict):
                    self.unknown.append(event)
                    return
                if event.error:
                    self.corrupted.append(event)
                self._got(event.index, begin if begin >= 0 else event.index, value[0], value[1])
            case "exit":
                self.exits[event.process] = event
            case "strike":
                self.strikes.append(
                    Strike(value["fault"], self.history.plan.faults[value["fault"]], event, value.get("inside"))
                )
            case "missed":
                self._missed[value["fault"]] = value
            case "stuck":
                self.stuck.append(event)
            case "where":
                self.where.append(event)
            case "leak":
                self.leaks.append(event)
            case "changed":
                self.changed.append(event)
            case "grown":
                self.grown.append(event)
            case "shared":
                self.shared.append(event)
            case "deadline":
                self.deadlines.append(event)
            case "full":
                self.full.append(event.process)

    def operation(self, peer: str) -> str | None:
        """Return the put or get that a peer did not come back from, such as ``get 7``."""
        if peer in self.inside_get:
            return f"get {self._gets_of[peer]}"
        if peer in self.inside_put:
            return f"put {self.inside_put[peer].value[1] + 1}"
        return None

    def doing(self, peer: str) -> str:
        """Return what a peer that did not end was in when its events end: a put, a get, ``open`` or ``close``."""
        return self.operation(peer) or ("close" if peer in self._worked else "open")

    def messages(self, peer: str) -> int:
        """Return how many messages a peer has begun to put or get."""
        begun = ("enqueue", "dequeue")
        return sum(event.process == peer and event.type == "invoke" and event.f in begun for event in self._events)

    def killed(self, peer: str) -> bool:
        """Whether the plan ended this peer."""
        return any(strike.planned.peer == peer and self.was_final(strike) for strike in self.strikes)

    def was_final(self, strike: Strike) -> bool:
        """Whether a strike ended its peer: a signal may be ignored, or caught, and its peer goes on."""
        end = self.exits.get(strike.planned.peer)
        if not strike.planned.final or end is None or strike.planned.ended(end.value):
            return strike.planned.final
        # A handler of the queue's may well be what ended it without a word, by os._exit().
        return end.value.get("untold") is True and not self._went_on(strike)

    def _went_on(self, strike: Strike) -> bool:
        """Whether the peer has begun another operation after a strike."""
        if strike.fault not in self._went:
            later = (self._events[at] for at in range(strike.event.index + 1, len(self._events)))
            self._went[strike.fault] = any(
                event.type == "invoke" and event.process == strike.planned.peer for event in later
            )
        return self._went[strike.fault]

    def _among(self, *states: int) -> Iterator[Message]:
        """Yield the messages in one of these states."""
        for producer, fates in self._fates.items():
            for number in fates.among(*states):
                yield producer, number
        for message, stray in self._strays.items():
            if stray.state in states:
                yield message

    def missing(self) -> list[Message]:
        """Return the messages whose put returned and which nobody received. The heal's own do not count."""
        return sorted(message for message in self._among(_PUTS.index("ok")) if message[0] != self._heal)

    def never_put(self) -> list[Message]:
        """Return the messages that were received although nobody put them, or their put failed; as they came."""
        found = self._among(_RECEIVED, _RECEIVED | _PUTS.index("fail"))
        return sorted(found, key=lambda message: self._first(message).ended)

    def recovered(self) -> list[Message]:
        """Return the messages that were received although their put never returned."""
        return list(self._among(_RECEIVED | _PUTS.index("invoke")))

    def firsts(self, producer: int) -> Iterator[First]:
        """Yield the first gets of the messages that a producer put, the last message first."""
        strays = [number for (whose, number), stray in self._strays.items() if whose == producer and _kept(stray.state)]
        for number in sorted(strays, reverse=True):
            yield self._first((producer, number))
        fates = self._fates.get(producer)
        if fates is not None:
            for number in range(len(fates.states) - 1, -1, -1):
                if _kept(fates.states[number]):
                    yield First(number, fates.began[number], fates.ended[number])

    @property
    def putters(self) -> list[int]:
        """The indices of all producers of whom there are messages, those that the plan does not know included."""
        return list(dict.fromkeys((*self._fates, *(producer for producer, _ in self._strays))))

    def gets(self, message: Message) -> list[Get]:
        """Return the gets that returned a message, in order."""
        first = self._first(message)
        return [self.get(began, ended) for began, ended in (first[1:], *self.again.get(message, ()))]

    def get(self, began: int, ended: int) -> Get:
        """Return the get whose events have these indices."""
        event = self._events[ended]
        return Get(event.process, self._events[began].time_ns, event.time_ns, event)

    def put_events(self, messages: set[Message]) -> tuple[int, ...]:
        """Return the indices of the events where the puts of these messages returned."""
        found: list[int] = []
        before = 0
        for chunk in self._events.chunks():
            for index, raw in enumerate(log.RECORD.iter_unpack(chunk), before):
                if (raw[1] == log.ENQUEUE_OK and raw[3:5] in messages) or (
                    raw[1] == log.NOTE
                    and (event := self._events.event(index, *raw))[3:5] == ("ok", "enqueue")
                    and tuple(event.value) in messages
                ):
                    found.append(index)
            before += len(chunk) // log.RECORD.size
        return tuple(found)

    def _state(self, message: Message) -> int:
        fates = self._fates.get(message[0])
        if fates is not None and 0 <= message[1] < len(fates.states):
            return fates.states[message[1]]
        stray = self._strays.get(message)
        return stray.state if stray is not None else 0

    def _first(self, message: Message) -> First:
        stray = self._strays.get(message)
        if stray is not None:
            return First(message[1], stray.began, stray.ended)
        fates = self._fates[message[0]]
        return First(message[1], fates.began[message[1]], fates.ended[message[1]])

    def may_be_taken(self, missing: list[Message]) -> list[Message]:
        """Return those of the *missing* that the deaths of peers account for, within the guarantees."""
        guarantees = self.history.guarantees
        names = {index: name for name, index in self.history.producers.items()}
        excused = [message for message in missing if message in self._torn()]
        by_producer: dict[int, list[Message]] = defaultdict(list)
        for message in set(missing) - set(excused):
            by_producer[message[0]].append(message)
        for producer, messages in by_producer.items():
            if self.killed(names.get(producer, "")):
                cost = guarantees.killed_producer_may_cost
                # What a producer had not yet handed on is what it put last.
                excused += messages if cost is None else sorted(messages)[len(messages) - cost :] if cost else []
        left = sorted(set(missing) - set(excused))
        if any(strike.beyond_posix for strike in self.strikes):
            # What the kernel merged behind foreign bytes is read at once, and goes with who read it, one get at a time.
            holders = sum(self.killed(consumer) for consumer, gets in self._gets_of.items() if gets)
            return excused + _first_runs(left, holders)
        inside = sum(self.killed(consumer) for consumer in self.inside_get)
        cost = guarantees.killed_consumer_may_cost
        return excused + (left[: inside * cost] if cost is not None else left if inside else [])

    def _torn(self) -> set[Message]:
        """Return the messages that a stranger tore apart on their way: nobody can have them."""
        producers = self.history.producers
        return {
            (producers[strike.planned.peer], int(strike.inside.removeprefix("put ")) - 1)
            for strike in self.strikes
            if strike.event.value.get("tears") and strike.planned.peer in producers
            if strike.inside is not None and strike.inside.startswith("put ")
        }

    def why_missed(self, fault: int) -> str:
        """Return why a fault that reached its place did not strike there, as the end of a sentence."""
        return f": {self._missed[fault]['why']}" if fault in self._missed else ""

    def impossible(self, fault: int) -> bool:
        """Whether a fault reached its place, and this queue makes no call there that it could be done to."""
        return self._missed.get(fault, {}).get("impossible") is True

    def counts(self) -> dict[str, int]:
        """Return how many messages met which fate; the heal's own are left out."""
        missing = self.missing()
        taken = len(self.may_be_taken(missing)) if self.healed else 0
        workload = [fates.states for producer, fates in self._fates.items() if producer != self._heal]
        strays = [stray.state for (producer, _), stray in self._strays.items() if producer != self._heal]
        received = sum(states.count(state) for states in (*workload, bytes(strays)) for state in _RECEIVED_ANYHOW)
        return {
            "put": sum(states.count(state) for states in (*workload, bytes(strays)) for state in (2, 2 | _RECEIVED)),
            "received": received + sum(len(more) for (who, _), more in self.again.items() if who != self._heal),
            "recovered": sum(1 for _ in self._among(_RECEIVED | _PUTS.index("invoke"))),
            "maybe taken": taken,
            "unread": 0 if self.healed else len(missing),
        }


def _first_runs(messages: list[Message], most: int) -> list[Message]:
    """Return, of each producer, the messages of its first few runs of numbers that follow one another."""
    found: list[Message] = []
    runs: Counter[int] = Counter()
    before: Message | None = None
    for producer, number in messages:
        runs[producer] += before != (producer, number - 1)
        if runs[producer] <= most:
            found.append((producer, number))
        before = producer, number
    return found


def _kept(state: int) -> bool:
    """Whether a message was put, or may have been, and received."""
    return bool(state & _RECEIVED and state & _PUT)


class _ByMessage:
    """What a ledger has of every message for which ``mask`` finds something in its state."""

    _mask: int

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def __iter__(self) -> Iterator[Message]:
        yield from self._ledger._among(*(state for state in range(8) if state & self._mask))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __bool__(self) -> bool:
        return next(iter(self), None) is not None

    def _state(self, message: Message) -> int:
        state = self._ledger._state(message)
        if not state & self._mask:
            raise KeyError(message)
        return state


class _Puts(_ByMessage, Mapping[Message, str]):
    _mask = _PUT

    def __getitem__(self, message: Message) -> str:
        return _PUTS[self._state(message) & _PUT]


class _Received(_ByMessage, Mapping[Message, list[Get]]):
    _mask = _RECEIVED

    def __getitem__(self, message: Message) -> list[Get]:
        self._state(message)
        return self._ledger.gets(message)
