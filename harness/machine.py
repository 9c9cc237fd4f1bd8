"""A Hypothesis state machine around real peers of a queue, which finds the shortest program that breaks it.

Subclass it, name the queue, add rules of your own if you like, and have it collected::

    class MyMachine(QueueMachine):
        adapter = MyQueueAdapter()

    TestMyQueue = MyMachine.TestCase

Every step is a command to a real process. What may come out follows from a model of what was put in, and of who was
killed where; a step that contradicts it, or does not end within ``patience_s``, fails with the harness's own words:
*lost*, *duplicated*, *reordered*, *unexpected*, *corrupted*, *crashed*, *stuck*, *leaked*.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import pickle
import signal
import socket
import sys
import time
from typing import Any, ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.control import current_build_context, currently_in_test_context
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, precondition, rule

from . import _client, _commanded, _nemesis, _system, _travel
from ._errors import HarnessError
from .adapters import Adapter, made
from .guarantees import Guarantees
from .ledger import frame
from .peers import Peer, spawn
from .strategies import messages

_BETWEEN_LOOKS_S = 0.005
_START_S = 60.0
# Once a step was stuck: how long others wait, at least, and in steps that went well.
_LEAST_S, _TIMES = 0.1, 10
_MOST_CALLS = 8
_LONG = 6000  # bytes: more than PIPE_BUF


class Commanded:
    """A peer that does what it is told, in a process of its own.

    name: what steps and findings call it.
    index: what its messages carry, if it is a producer.
    """

    def __init__(self, name: str, index: int, pid: int, channel: socket.socket) -> None:
        self.name = name
        self.index = index
        self.pid = pid
        self.channel = channel
        self.numbers = itertools.count()

    def __repr__(self) -> str:
        return self.name


class Model:
    """What may come out of the queue.

    A message is known by its producer's index and its number. Where a killed peer may have cost a message, nobody
    knows which: so many may be missing.
    """

    def __init__(self, guarantees: Guarantees) -> None:
        self._guarantees = guarantees
        self._values: dict[tuple[int, int], Any] = {}
        self._sure: set[tuple[int, int]] = set()
        self._got: set[tuple[int, int]] = set()
        self._last: dict[int, int] = {}
        self._may_cost: float = 0

    @property
    def surely_there(self) -> bool:
        """Whether a ``get`` must return something."""
        return len(self._sure) > self._may_cost

    @property
    def surely_empty(self) -> bool:
        """Whether there is nothing that a ``get`` could return."""
        return not self.unread

    @property
    def unread(self) -> int:
        """How many messages may be in the queue, at most."""
        return len(self._values.keys() - self._got)

    def begins(self, producer: int, number: int, value: Any) -> None:
        """Take note of a put; until it ends, its message may be there or not."""
        self._values[producer, number] = value

    def put(self, producer: int, number: int) -> None:
        """Take note that a put has returned."""
        self._sure.add((producer, number))

    def killed_producer(self, producer: int) -> None:
        """Take note that a producer was killed: it may take the last of its messages with it."""
        there = sum(key[0] == producer for key in self._sure)
        self._cost(self._guarantees.killed_producer_may_cost, there)

    def killed_in_get(self) -> None:
        """Take note that a consumer was killed inside ``get``: it may take messages with it."""
        self._cost(self._guarantees.killed_consumer_may_cost, self.unread)

    def _cost(self, cost: int | None, there: int) -> None:
        self._may_cost += there if cost is None else min(cost, there)

    def got(self, consumer: str, value: Any) -> str | None:
        """Take note of what a ``get`` returned; return what is wrong with that, or None."""
        if type(value) not in (tuple, list) or len(value) != 3 or (value[0], value[1]) not in self._values:
            return f"unexpected: {consumer} got {value!r:.200}, which nobody put"
        producer, number, payload = value
        key = producer, number
        name = f"message {number} of producer-{producer}"
        if type(value) is list and "tuple" in self._guarantees.types:
            return f"corrupted: {consumer} got {name} as a list; it was put as a tuple"
        if _exactly(payload) != _exactly(self._values[key]):
            return f"corrupted: {consumer} got {name} as {payload!r:.200}; put was {self._values[key]!r:.200}"
        if key in self._got:
            if self._guarantees.duplicates:
                return None
            return f"duplicated: {consumer} got {name} once more"
        self._got.add(key)
        self._sure.discard(key)
        if self._guarantees.order == "none":
            return None
        if number < self._last.get(producer, -1):
            return f"reordered: {consumer} got {name} after message {self._last[producer]}"
        self._last[producer] = number
        return self.miss(key for key in sorted(self._sure) if key[0] == producer and key[1] < number)

    def miss(self, keys: Any) -> str | None:
        """Take note that these messages come no more; return what is wrong with that, or None."""
        missing = list(keys)
        self._sure.difference_update(missing)
        self._may_cost -= len(missing)
        if self._may_cost >= 0:
            return None
        self._may_cost = 0
        return f"lost: message {missing[-1][1]} of producer-{missing[-1][0]}, whose put returned, was never received"

    def rest(self) -> str | None:
        """Take note that nothing comes any more; return what is wrong with that, or None."""
        return self.miss(sorted(self._sure))


@functools.cache  # the same strategy every time: a new one may draw in another way
def _of_types(types: tuple[str, ...]) -> st.SearchStrategy[Any]:
    long = st.builds(bytes, st.just(_LONG)) if "bytes" in types else st.just("long" * (_LONG // 4))
    found: st.SearchStrategy[Any] = messages(types) | long
    found.validate()
    return found


def _of_the_machine(machine: QueueMachine) -> st.SearchStrategy[Any]:
    return _of_types(machine.queue.guarantees.types) if machine.payloads is None else machine.payloads


_payloads: st.SearchStrategy[Any] = st.runner().flatmap(_of_the_machine)


class QueueMachine(RuleBasedStateMachine):
    """Rules for the peers of a queue: put, get, kill (idle, waiting, inside a call), pause, resume, replace, close,
    reopen.

    adapter: the queue: an adapter, its class, or what ``harness.adapters.load`` takes.
    payloads: what messages carry; by default of all the types that the queue keeps, and sometimes long.
    patience_s: for how many seconds a step waits before it is *stuck*. The first stuck step costs them all, and the
        last one, which Hypothesis shows; those between, ten times what the slowest step took that went well.
    most_peers: how many live at once.
    most_unread: how many messages are in the queue at once, so that no ``put`` finds it full: less for a shallow pipe.

    The bundles ``producers`` and ``consumers`` hold the idle peers for rules of one's own; those use ``tell_get``, and
    ``tell_put`` where ``has_space`` says so.
    """

    adapter: ClassVar[Adapter | type[Adapter] | str | None] = None
    payloads: ClassVar[st.SearchStrategy[Any] | None] = None
    patience_s: ClassVar[float] = 10.0
    most_peers: ClassVar[int] = 6
    most_unread: ClassVar[int] = 8

    _was_stuck: ClassVar[bool] = False
    _slowest_s: ClassVar[float] = 0.0

    producers = Bundle("producers")
    consumers = Bundle("consumers")
    paused_producers = Bundle("paused_producers")
    paused_consumers = Bundle("paused_consumers")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Each step waits for another process: how long that takes is no sign of anything.
        cls.TestCase.settings = settings(
            cls.TestCase.settings, deadline=None, suppress_health_check=[HealthCheck.too_slow]
        )

    def __init__(self) -> None:
        super().__init__()
        self._handled = sys.exc_info()[1]
        queue = self.queue
        self.model = Model(queue.guarantees)
        self._names = {"producer": itertools.count(), "consumer": itertools.count()}
        self._living: dict[int, Commanded] = {}
        self._paused: set[int] = set()
        self._resources = contextlib.ExitStack()
        with self._resources as resources:
            directory = resources.enter_context(_client.directory())
            listener = resources.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            with _commanded.address_in(directory) as address:
                listener.bind(address)
            listener.listen(1)
            parcel = _travel.parcel(queue)
            _client.ancestor().prepare(parcel.imports)
            # A peer that a step has stopped holds nobody up: whoever ends the stage ends it as well.
            stage = spawn(_commanded.serve, parcel.data, parcel.places, directory, name="stage", timeout_s=_START_S)
            self._stage: Peer = resources.enter_context(stage)
            if not _client.is_readable(listener, _START_S):
                raise HarnessError(f"the stage did not come within {_START_S:g} s; it said: {self._stage.output}")
            self._channel = resources.enter_context(listener.accept()[0])
            trouble = self._answer(self._channel, "make")
            if trouble:
                raise AssertionError(f"crashed: the adapter's make() failed\n{trouble}")
            self._resources = resources.pop_all()

    @functools.cached_property
    def queue(self) -> Adapter:
        """The adapter, made if ``adapter`` is a class or a name."""
        return made(self.adapter, f"{type(self).__name__}.adapter")

    # -- the rules ---------------------------------------------------------------------------------------------------

    @initialize(target=producers)
    def first_producer(self) -> Commanded:
        """Begin with a producer."""
        return self._start("producer")

    @initialize(target=consumers)
    def first_consumer(self) -> Commanded:
        """Begin with a consumer."""
        return self._start("consumer")

    @precondition(lambda self: self._has_room())
    @rule(target=producers)
    def open_producer(self) -> Commanded:
        """One more producer opens the queue."""
        return self._start("producer")

    @precondition(lambda self: self._has_room())
    @rule(target=consumers)
    def open_consumer(self) -> Commanded:
        """One more consumer opens the queue."""
        return self._start("consumer")

    @precondition(lambda self: self.has_space())
    @rule(peer=producers, payload=_payloads)
    def put(self, peer: Commanded, payload: Any) -> None:
        """A producer puts a message."""
        self.tell_put(peer, payload)

    @precondition(lambda self: self.model.surely_there)
    @rule(peer=consumers)
    def get(self, peer: Commanded) -> None:
        """A consumer gets a message; there is one."""
        self.tell_get(peer)

    @rule(peer=consumes(producers))
    def kill_producer(self, peer: Commanded) -> None:
        """SIGKILL to a producer that does nothing."""
        self._kill(peer)
        self.model.killed_producer(peer.index)

    @rule(peer=consumes(consumers))
    def kill_consumer(self, peer: Commanded) -> None:
        """SIGKILL to a consumer that does nothing."""
        self._kill(peer)

    @precondition(lambda self: self.has_space())
    @rule(peer=consumes(producers), payload=_payloads, call=st.integers(1, _MOST_CALLS))
    def kill_in_put(self, peer: Commanded, payload: Any, call: int) -> None:
        """SIGKILL to a producer before the *call*-th system call of its put; after it, if there are less."""
        self._put(peer, payload, killed_at=call)
        self.model.killed_producer(peer.index)

    @precondition(lambda self: self.model.surely_there)
    @rule(peer=consumes(consumers), call=st.integers(1, _MOST_CALLS))
    def kill_in_get(self, peer: Commanded, call: int) -> None:
        """SIGKILL to a consumer before the *call*-th system call of its get; after it, if there are less."""
        self._get(peer, killed_at=call)

    @precondition(lambda self: self.model.surely_empty)
    @rule(peer=consumes(consumers))
    def kill_waiting(self, peer: Commanded) -> None:
        """SIGKILL to a consumer that waits in its get, for there is nothing."""
        _commanded.send(peer.channel, ("get",))
        self._until_asleep(peer)
        self._kill(peer)

    @rule(target=paused_producers, peer=consumes(producers))
    def pause_producer(self, peer: Commanded) -> Commanded:
        """SIGSTOP to a producer."""
        return self._pause(peer)

    @rule(target=paused_consumers, peer=consumes(consumers))
    def pause_consumer(self, peer: Commanded) -> Commanded:
        """SIGSTOP to a consumer."""
        return self._pause(peer)

    @rule(target=producers, peer=consumes(paused_producers))
    def resume_producer(self, peer: Commanded) -> Commanded:
        """SIGCONT to a producer."""
        return self._resume(peer)

    @rule(target=consumers, peer=consumes(paused_consumers))
    def resume_consumer(self, peer: Commanded) -> Commanded:
        """SIGCONT to a consumer."""
        return self._resume(peer)

    @rule(target=producers, peer=consumes(producers))
    def replace_producer(self, peer: Commanded) -> Commanded:
        """SIGKILL to a producer, and a fresh one takes its place."""
        self.kill_producer(peer)
        return self._start("producer")

    @rule(target=consumers, peer=consumes(consumers))
    def replace_consumer(self, peer: Commanded) -> Commanded:
        """SIGKILL to a consumer, and a fresh one takes its place."""
        self.kill_consumer(peer)
        return self._start("consumer")

    @rule(peer=consumes(producers))
    def close_producer(self, peer: Commanded) -> None:
        """A producer closes the queue, and ends."""
        self._close(peer)

    @rule(peer=consumes(consumers))
    def close_consumer(self, peer: Commanded) -> None:
        """A consumer closes the queue, and ends."""
        self._close(peer)

    @rule(peer=producers)
    def reopen_producer(self, peer: Commanded) -> None:
        """A producer closes the queue, and opens it again."""
        self._tell(peer, "reopen")

    @rule(peer=consumers)
    def reopen_consumer(self, peer: Commanded) -> None:
        """A consumer closes the queue, and opens it again."""
        self._tell(peer, "reopen")

    # -- for rules of one's own --------------------------------------------------------------------------------------

    def has_space(self, messages: int = 1) -> bool:
        """Whether so many more messages stay within ``most_unread``."""
        return self.model.unread + messages <= self.most_unread

    def tell_put(self, peer: Commanded, payload: Any) -> None:
        """Have a producer put a message with this payload, and return when its put has returned."""
        self._put(peer, payload)

    def tell_get(self, peer: Commanded) -> Any:
        """Have a consumer get a message, check it against the model, and return its payload."""
        return self._get(peer)

    def teardown(self) -> None:
        """Heal: fresh peers exchange a message over the queue, after all that is still in it. Then leave nothing."""
        try:
            if sys.exc_info()[1] is self._handled and hasattr(self, "_stage"):
                self._heal()
        finally:
            for peer in self._living.values():
                peer.channel.close()
            self._resources.close()

    def _heal(self) -> None:
        for peer in tuple(self._living.values()):
            if peer.pid in self._paused:
                self._resume(peer)
        # It opens the queue before the last of the others closes it: some queues keep nothing that nobody holds.
        last = self._start("consumer")
        for peer in tuple(self._living.values()):
            if peer is not last:
                self._close(peer)
        producer = self._start("producer")
        # All that is unread comes out first: the put may wait until there is room for it.
        self._begin_put(producer, None)
        while self._get_raw(last)[0] != producer.index:
            pass
        self._answered(producer, "put")
        self._fail(self.model.rest())
        self._close(producer)
        self._close(last)
        trouble, left = self._ask("destroy")
        self._fail(f"crashed: the adapter's destroy() failed\n{trouble}" if trouble else None)
        self._fail(f"leaked: {', '.join(left)}" if left else None)

    # -- how ---------------------------------------------------------------------------------------------------------

    def _has_room(self) -> bool:
        return len(self._living) < self.most_peers

    def _start(self, role: str) -> Commanded:
        index = next(self._names[role])
        name = f"{role}-{index}"
        _commanded.send(self._channel, ("start", name))
        self._wait(self._channel, f"the start of {name}", None)
        data, (descriptor, *_), _, _ = socket.recv_fds(self._channel, _commanded.LONGEST, 1)
        peer = Commanded(name, index, pickle.loads(data), socket.socket(fileno=descriptor))
        self._living[peer.pid] = peer
        self._tell(peer, "open")
        return peer

    def _put(self, peer: Commanded, payload: Any, killed_at: int = 0) -> None:
        number = self._begin_put(peer, payload, killed_at)
        _, alive = self._answered(peer, "put", killed_at)
        if alive:
            self.model.put(peer.index, number)

    def _begin_put(self, peer: Commanded, payload: Any, killed_at: int = 0) -> int:
        number = next(peer.numbers)
        self.model.begins(peer.index, number, payload)
        _commanded.send(peer.channel, ("put", killed_at, (peer.index, number, payload)))
        return number

    def _get(self, peer: Commanded, killed_at: int = 0) -> Any:
        got, alive = self._tell(peer, "get", killed_at)
        if not alive:
            self.model.killed_in_get()
            return None
        self._fail(self.model.got(peer.name, got))
        return got[2]

    def _get_raw(self, peer: Commanded) -> Any:
        got, _ = self._tell(peer, "get")
        self._fail(self.model.got(peer.name, got))
        return got

    def _tell(self, peer: Commanded, what: str, killed_at: int = 0) -> tuple[Any, bool]:
        _commanded.send(peer.channel, (what, killed_at))
        return self._answered(peer, what, killed_at)

    def _answered(self, peer: Commanded, what: str, killed_at: int = 0) -> tuple[Any, bool]:
        """Return what came of what a peer was told, and whether it got so far; a peer that is to be killed is dead in
        any case when this returns.
        """
        self._wait(peer.channel, f"{peer.name} in its {what}", peer)
        packet = self._receive(peer.channel)
        if not packet:
            code = self._reap(peer)
            if killed_at and code == -signal.SIGKILL:
                return None, False
            self._fail(f"crashed: {peer.name} ended in its {what}, by {_system.ended_by(code)}")
        answer, error = pickle.loads(packet)
        self._fail(f"crashed: {peer.name} ended in its {what}\n{error}" if error else None)
        if killed_at:
            self._kill(peer)
        return answer, True

    def _close(self, peer: Commanded) -> None:
        left, _ = self._tell(peer, "close")
        code = self._reap(peer)
        self._fail(
            f"crashed: {peer.name} ended by {_system.ended_by(code)} after it had closed the queue" if code else None
        )
        self._fail(f"leaked: {peer.name} left behind: {', '.join(left)}" if left else None)

    def _kill(self, peer: Commanded) -> None:
        self._ask("signal", peer.pid, int(signal.SIGKILL))
        self._reap(peer)

    def _pause(self, peer: Commanded) -> Commanded:
        self._ask("signal", peer.pid, int(signal.SIGSTOP))
        self._paused.add(peer.pid)
        return peer

    def _resume(self, peer: Commanded) -> Commanded:
        self._ask("signal", peer.pid, int(signal.SIGCONT))
        self._paused.discard(peer.pid)
        return peer

    def _reap(self, peer: Commanded) -> int:
        code: int = self._ask("reap", peer.pid)
        peer.channel.close()
        del self._living[peer.pid]
        return code

    def _until_asleep(self, peer: Commanded) -> None:
        patience_s = self._patience_s()
        end = time.monotonic() + patience_s
        before = ""
        while time.monotonic() < end:
            if _client.is_readable(peer.channel, _BETWEEN_LOOKS_S):
                packet = self._receive(peer.channel)
                got, error = pickle.loads(packet) if packet else (None, "it ended")
                self._fail(f"crashed: {peer.name} ended in its get\n{error}" if error else None)
                self._fail(self.model.got(peer.name, got) or f"duplicated: {peer.name} got {got!r:.200} once more")
            now = self._ask("asleep", peer.pid)
            if now and now == before:
                return
            before = now
        self._stuck(f"{peer.name} was not seen waiting in its get within {patience_s:g} s")

    def _ask(self, *command: Any) -> Any:
        _commanded.send(self._channel, command)
        return self._answer(self._channel, str(command[0]))

    def _answer(self, channel: socket.socket, what: str) -> Any:
        self._wait(channel, f"the stage, asked to {what}", None)
        packet = self._receive(channel)
        if not packet:
            raise HarnessError(f"the stage ended when it was asked to {what}; it said: {self._stage.output}")
        return pickle.loads(packet)

    @staticmethod
    def _receive(channel: socket.socket) -> bytes:
        try:
            return channel.recv(_commanded.LONGEST)
        except ConnectionResetError:  # it died before it had read what it was told
            return b""

    def _wait(self, channel: socket.socket, what: str, peer: Commanded | None) -> None:
        patience_s, began = self._patience_s(), time.monotonic()
        if _client.is_readable(channel, patience_s):
            type(self)._slowest_s = max(self._slowest_s, time.monotonic() - began)
            return
        where = []
        if peer is not None:
            stacks = self._ask("stack", peer.pid, peer.name)
            where = [frame(place) for stack in stacks for place in reversed(_nemesis.trim(stack))]
        self._stuck(f"{what}, for {patience_s:g} s" + "".join(f"\n    {line}" for line in where))

    def _patience_s(self) -> float:
        """Return how long to wait now: in whole until a step was stuck, and when Hypothesis shows the program that it
        came down to; little in the many programs between.
        """
        is_shown = currently_in_test_context() and current_build_context().is_final
        if is_shown or not self._was_stuck:
            return self.patience_s
        return min(self.patience_s, max(_LEAST_S, _TIMES * self._slowest_s))

    def _stuck(self, how: str) -> None:
        type(self)._was_stuck = True
        self._fail(f"stuck: {how}")

    @staticmethod
    def _fail(finding: str | None) -> None:
        if finding is not None:
            raise AssertionError(finding)


def _exactly(value: Any) -> str:
    """Return a text that is the same for values which are equal and of the same types, all the way down; NaN as NaN."""
    match value:
        case dict():
            inner = sorted(f"{_exactly(key)}: {_exactly(each)}" for key, each in value.items())
        case set() | frozenset():
            inner = sorted(map(_exactly, value))
        case tuple() | list():
            inner = list(map(_exactly, value))
        case _:
            return repr(value)
    return f"{type(value).__name__}({', '.join(inner)})"
