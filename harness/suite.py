"""The whole catalogue of tests, against any queue: subclass ``QueueSuite``, and set ``adapter``.

Which faults can reach a queue is asked of the runner, and where they can strike of a dry run: nothing here knows any
queue. What cannot be tried is skipped, with the reason; what was tried and never struck fails.
"""

from __future__ import annotations

import dataclasses
import select
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from . import runner
from ._errors import PlanError
from .adapters import Adapter, made, reference_of
from .faults.stale import THINGS
from .guarantees import Guarantees
from .survey import CountedCall
from .triggers import Call, Trigger, blocked, call, elapsed, every, message, messages, start
from .workload import same

if TYPE_CHECKING:
    from .plugin import Wrench
    from .trial import Trial

ROLES = pytest.mark.parametrize("peer", ["producer-0", "consumer-0"])
_FAR_S = 0.1
# Where there is none, tests are collected, and skipped.
_PIPE_BUF = getattr(select, "PIPE_BUF", 512)
_MOST_CALLS = 500


class QueueSuite:
    """Tests of every property that a queue between processes should have, under every family of faults.

    Subclass it in a test module, and set ``adapter``. Each test is an ordinary method: override one to change it, to
    mark it (``xfail``, ``skip``) or, with ``None``, to have it no more. A test of your own is a method too:
    ``self.prove(self.trial(monkeywrench, producers=2).kill("producer-0", at=messages(3)))``.

    adapter: the queue under test: an adapter, its class, or what ``harness.adapters.load`` takes.
    messages: how many each producer puts, where the test does not say otherwise; at least 4.
    patience_s: without any event for so many seconds, peers are stuck.
    seed: draws the messages; by default the option's ``--wrench-seed``, else a new one for each trial.
    """

    __test__ = False  # this class is the catalogue; its subclasses are the tests

    adapter: ClassVar[Adapter | type[Adapter] | str | None] = None
    messages: ClassVar[int] = 20
    patience_s: ClassVar[float] = 5.0
    seed: ClassVar[int | None] = None

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        if "__test__" not in vars(cls):
            cls.__test__ = True

    # -- what a test is made of --------------------------------------------------------------------------------------

    @property
    def queue(self) -> Adapter:
        """The adapter, made if ``adapter`` is a class or a name."""
        return made(self.adapter, f"{type(self).__name__}.adapter")

    def trial(self, monkeywrench: Wrench, **settings: Any) -> Trial:
        """Return a new trial of the queue, as the fixture's ``trial`` makes it, with the settings of this class."""
        chosen: dict[str, Any] = {"messages": self.messages, "large_every": 0, "patience_s": self.patience_s}
        if self.seed is not None:
            chosen["seed"] = self.seed
        chosen["queue"] = self.adapter if isinstance(self.adapter, str) else self.queue
        return monkeywrench.trial(**chosen | settings)

    def prove(self, trial: Trial) -> None:
        """Run the trial, and fail unless its verdict is valid. Skip it if its faults cannot reach the queue."""
        __tracebackhide__ = True
        self.can(trial)
        verdict = trial.run()
        assert verdict.valid, verdict

    def can(self, trial: Trial) -> None:
        """Skip the test, with the reason, if a fault of the trial cannot reach the queue or is not held against it."""
        __tracebackhide__ = True
        queue = self.queue
        try:
            runner.check_reach(trial.plan, queue)
        except PlanError as reason:
            pytest.skip(str(reason))
        for fault in trial.plan.faults:
            if not (fault.posix or queue.guarantees.foreign_bytes):
                pytest.skip(f"{fault}: {trial.plan.queue} does not promise foreign_bytes")

    def places(
        self, trial: Trial, peer: str, operation: str, *kinds: str, torn: bool = False, short: bool = False
    ) -> list[CountedCall]:
        """Return the calls of *peer* inside an operation, by a dry run of the trial; skip the test if there are none.

        operation: ``open``, ``put``, ``get`` or ``close``.
        kinds: of calls; all of them unless said otherwise.
        torn: only those that a death can cut; *short*: only those that can return short.
        """
        __tracebackhide__ = True
        self.can(trial)
        gate = self.queue.guarantees.gate
        seen = [
            each
            for each in (trial.calls(peer) if gate else ())
            if each.kind in gate and (not kinds or each.kind in kinds)
        ]
        found = [each for each in seen if each.operation == operation]
        if kinds and not found and operation != "open":
            # A thread of the queue's own makes them, whatever the peer is in by then.
            found = [each for each in seen if each.operation != "open"]
        which = f"{' or '.join(kinds) or 'call'} of {peer} in its {operation}"
        if not found:
            pytest.skip(f"the gate sees no {which}: {trial.plan.queue}'s code makes none that counts")
        if torn or short:
            found = [each for each in found if each.torn]
            if not found:
                pytest.skip(f"every {which} transfers a single byte, or cannot be cut")
        if short:
            found = [each for each in found if not each.packet]
            if not found:
                pytest.skip(f"every {which} is in packet mode, and takes a whole packet: nothing returns a part of it")
        if torn or short:
            promised = self.queue.guarantees.foreign_bytes
            found = [each for each in found if each.posix or promised]
            if not found:
                pytest.skip(f"no POSIX system cuts a {which}, and {trial.plan.queue} does not promise foreign_bytes")
        return found

    def _wrapped(self, monkeywrench: Wrench, adapter: Adapter, **settings: Any) -> Trial:
        """Return a new trial of an adapter around the queue's, which is called as the queue is everywhere else."""
        trial = self.trial(monkeywrench, queue=adapter, **settings)
        trial.plan = dataclasses.replace(trial.plan, queue=reference_of(self.queue))
        return trial

    def _middle(self, trial: Trial, peer: str, operation: str, *kinds: str, **only: bool) -> CountedCall:
        __tracebackhide__ = True
        found = self.places(trial, peer, operation, *kinds, **only)
        return found[len(found) // 2]

    # -- left alone --------------------------------------------------------------------------------------------------

    def test_delivers_each_message_once_and_in_order(self, monkeywrench: Wrench) -> None:
        """Every message arrives once, in the order it was put, and nothing is left behind."""
        self.prove(self.trial(monkeywrench, messages=5 * self.messages))

    def test_keeps_types(self, monkeywrench: Wrench) -> None:
        """Every message comes out with the value and the types that went in."""
        self.prove(self.trial(monkeywrench, messages=max(120, self.messages)))

    def test_delivers_sizes_around_pipe_buf(self, monkeywrench: Wrench) -> None:
        """A message arrives whole, whether what is written of it is just below PIPE_BUF, just that, or just above."""
        count = len(_Padded.SIZES)
        self.prove(self._wrapped(monkeywrench, _Padded(self.queue), messages=count, producers=2))

    def test_delivers_what_is_false_or_none(self, monkeywrench: Wrench) -> None:
        """A message that is None, false, zero or empty arrives as what it is: nobody takes it for no message."""
        heralded = _Heralded(self.queue)
        trial = self._wrapped(monkeywrench, heralded, messages=max(2 * len(heralded.heralds), self.messages))
        if heralded.guarantees.order != "per-producer":
            pytest.skip(f"{trial.plan.queue} promises no order: nobody knows which message belongs to which")
        self.prove(trial)

    def test_delivers_large_messages(self, monkeywrench: Wrench) -> None:
        """Messages of many times PIPE_BUF arrive whole, from several producers at once, among small ones."""
        self.prove(self.trial(monkeywrench, producers=2, large_every=2))

    def test_delivers_messages_larger_than_the_pipe(self, monkeywrench: Wrench) -> None:
        """Messages of more bytes than the pipe has room for arrive whole."""
        self.prove(self.trial(monkeywrench, large_every=1).shrink())

    def test_serves_many_producers(self, monkeywrench: Wrench) -> None:
        """What several producers put at once arrives once each, and each producer's messages in order."""
        self.prove(self.trial(monkeywrench, producers=5, large_every=5))

    def test_serves_many_consumers(self, monkeywrench: Wrench) -> None:
        """Several consumers share the messages: each goes to one of them, in order."""
        self.prove(self.trial(monkeywrench, consumers=4, messages=2 * self.messages, large_every=5))

    def test_serves_many_of_both(self, monkeywrench: Wrench) -> None:
        """Several producers and several consumers at once lose and duplicate nothing."""
        self.prove(self.trial(monkeywrench, producers=3, consumers=3, large_every=5))

    def test_leaves_nothing_behind_when_idle(self, monkeywrench: Wrench) -> None:
        """Peers that open and close the queue, and hardly use it, leave no descriptor, thread, process or file."""
        self.prove(self.trial(monkeywrench, producers=2, consumers=3, messages=1))

    # -- killed ------------------------------------------------------------------------------------------------------

    @ROLES
    def test_survives_peer_killed_between_messages(self, monkeywrench: Wrench, peer: str) -> None:
        """A peer killed between two messages costs nothing, and blocks nobody."""
        trial = self.trial(monkeywrench, producers=2, large_every=5)
        self.prove(trial.kill(peer, at=messages(self.messages // 2)))

    def test_survives_producer_killed_before_a_write(self, monkeywrench: Wrench) -> None:
        """A producer killed before it writes puts nothing more, and blocks nobody."""
        self._killed(monkeywrench, "producer-0", "put", "write")

    def test_survives_producer_killed_inside_a_write(self, monkeywrench: Wrench) -> None:
        """A producer killed with a part of its message written costs nobody else anything."""
        self._killed(monkeywrench, "producer-0", "put", "write", torn=True)

    def test_survives_producer_killed_inside_a_large_write(self, monkeywrench: Wrench) -> None:
        """A producer killed with a part of a message of more than PIPE_BUF written costs nobody else anything."""
        self._killed(monkeywrench, "producer-0", "put", "write", torn=True, large_every=1)

    def test_survives_producer_killed_after_a_write(self, monkeywrench: Wrench) -> None:
        """A producer killed as soon as it has written blocks nobody; what its put had promised is there."""
        self._killed(monkeywrench, "producer-0", "put", "write", after=True)

    def test_survives_consumer_killed_before_a_read(self, monkeywrench: Wrench) -> None:
        """A consumer killed before it reads costs at most what the guarantees say, and blocks nobody."""
        self._killed(monkeywrench, "consumer-0", "get", "read")

    def test_survives_consumer_killed_inside_a_read(self, monkeywrench: Wrench) -> None:
        """A consumer killed with a part of a message read costs at most what the guarantees say."""
        self._killed(monkeywrench, "consumer-0", "get", "read", torn=True)

    def test_survives_consumer_killed_after_a_read(self, monkeywrench: Wrench) -> None:
        """A consumer killed as soon as it has read costs at most what the guarantees say."""
        self._killed(monkeywrench, "consumer-0", "get", "read", after=True)

    @ROLES
    def test_survives_peer_killed_in_open(self, monkeywrench: Wrench, peer: str) -> None:
        """A peer killed while it opens the queue costs nothing; the one in its place goes on."""
        self._killed(monkeywrench, peer, "open", replace=True)

    @ROLES
    def test_survives_peer_killed_in_close(self, monkeywrench: Wrench, peer: str) -> None:
        """A peer killed while it closes the queue costs nothing that had been delivered."""
        self._killed(monkeywrench, peer, "close")

    def test_survives_consumer_killed_while_blocked_in_get(self, monkeywrench: Wrench) -> None:
        """A consumer killed while it waits for a message blocks nobody; the one in its place gets what comes."""
        trial = self.trial(monkeywrench).pause("producer-0", at=messages(self.messages // 2), seconds=0.5)
        self.prove(trial.kill("consumer-0", at=blocked(), replace=True))

    def test_survives_producer_killed_while_blocked_in_put(self, monkeywrench: Wrench) -> None:
        """A producer killed while the pipe is full blocks nobody; the one in its place goes on."""
        # So many that they fill a page, however little a queue writes of each.
        trial = self.trial(monkeywrench, messages=max(400, self.messages), large_every=1).shrink()
        trial.pause("consumer-0", at=messages(1), seconds=1)
        self.prove(trial.kill("producer-0", at=blocked(), replace=True))

    @ROLES
    def test_survives_peer_killed_and_replaced(self, monkeywrench: Wrench, peer: str) -> None:
        """A peer takes the place of a killed one, and does what that had left to do."""
        trial = self.trial(monkeywrench, large_every=5)
        self.prove(trial.kill(peer, at=messages(self.messages // 2), replace=True))

    def test_survives_all_killed_at_once(self, monkeywrench: Wrench) -> None:
        """All peers are killed at once; newcomers exchange messages over the same queue."""
        trial = self.trial(monkeywrench, producers=2, consumers=2, messages=max(20, self.messages))
        for peer in trial.plan.peers:
            trial.kill(peer, at=elapsed(3 * _FAR_S))
        for peer in trial.plan.producer_names:
            trial.delay(peer, at=every(1), seconds=_FAR_S)
        self.prove(trial)

    @pytest.mark.parametrize("signal", ["SIGTERM", "SIGINT"])
    @ROLES
    def test_survives_signal(self, monkeywrench: Wrench, peer: str, signal: str) -> None:
        """A peer that ends by SIGTERM, or by Ctrl-C, costs at most what a killed one may."""
        trial = self.trial(monkeywrench, producers=2)
        self.prove(trial.kill(peer, at=messages(self.messages // 2), signal=signal))

    def test_survives_crash_points(self, monkeywrench: Wrench) -> None:
        """A peer may be killed at each and every call of a small workload: before it, inside it, after it."""
        trial = self.trial(monkeywrench, messages=2, large_every=2)
        self.can(trial)
        if not self.queue.guarantees.gate:
            pytest.skip(f"the gate sees no calls of {trial.plan.queue}, as its guarantees say")
        if sum(len(trial.calls(peer)) for peer in trial.plan.peers) > _MOST_CALLS:
            # Byte by byte: a small message has all the same calls, only fewer of each.
            trial = self.trial(monkeywrench, messages=2)
        survey = trial.crash_points()
        assert survey.valid, survey

    def _killed(
        self,
        monkeywrench: Wrench,
        peer: str,
        operation: str,
        *kinds: str,
        torn: bool = False,
        after: bool = False,
        replace: bool = False,
        large_every: int = 5,
    ) -> None:
        __tracebackhide__ = True
        trial = self.trial(monkeywrench, large_every=large_every)
        place = self._middle(trial, peer, operation, *kinds, torn=torn)
        at = Call(place.kind, place.n, place.size // 2 if torn else None, after)
        self.prove(trial.kill(peer, at=at, replace=replace))

    # -- slow --------------------------------------------------------------------------------------------------------

    @ROLES
    def test_survives_stopped_peer(self, monkeywrench: Wrench, peer: str) -> None:
        """A peer that is stopped by SIGSTOP goes on by SIGCONT as if nothing had been."""
        self.prove(self.trial(monkeywrench, large_every=5).pause(peer, at=messages(self.messages // 2)))

    def test_survives_slow_reader(self, monkeywrench: Wrench) -> None:
        """A consumer that takes its time gets everything."""
        self.prove(self.trial(monkeywrench, large_every=5).delay("consumer-0", at=every(1), seconds=0.002))

    def test_survives_full_pipe(self, monkeywrench: Wrench) -> None:
        """A pipe of one page that stays full, before a slow consumer, delivers everything."""
        trial = self.trial(monkeywrench, producers=2, large_every=5).shrink()
        self.prove(trial.delay("consumer-0", at=every(1), seconds=0.002))

    # -- partial transfers -------------------------------------------------------------------------------------------

    def test_survives_short_reads(self, monkeywrench: Wrench) -> None:
        """Reads that return one byte each are put together."""
        trial = self.trial(monkeywrench, messages=4)
        self.places(trial, "consumer-0", "get", "read", short=True)
        self.prove(trial.short("consumer-0", at=every(1, "read")))

    def test_survives_short_write(self, monkeywrench: Wrench) -> None:
        """A write that returns short is gone on with, or fails; it costs nobody else anything."""
        trial = self.trial(monkeywrench, large_every=5)
        place = self._middle(trial, "producer-0", "put", "write", short=True)
        self.prove(trial.short("producer-0", at=call("write", place.n), size=place.size // 2))

    def test_survives_short_write_of_a_large_message(self, monkeywrench: Wrench) -> None:
        """A write of more than PIPE_BUF that returns short is gone on with, or fails."""
        trial = self.trial(monkeywrench, large_every=1)
        place = self._middle(trial, "producer-0", "put", "write", short=True)
        self.prove(trial.short("producer-0", at=call("write", place.n), size=place.size // 2))

    # -- the system says no ------------------------------------------------------------------------------------------

    @pytest.mark.parametrize("errno", ["EINTR", "EAGAIN", "ENOSPC", "EIO", "EPIPE"])
    def test_survives_failed_write(self, monkeywrench: Wrench, errno: str) -> None:
        """A write that fails is tried again, or its put fails, and has put nothing."""
        self._fails(monkeywrench, "producer-0", "put", "write", errno)

    @pytest.mark.parametrize("errno", ["EINTR", "EAGAIN", "EIO"])
    def test_survives_failed_read(self, monkeywrench: Wrench, errno: str) -> None:
        """A read that fails is tried again, or its get fails, and has taken nothing."""
        self._fails(monkeywrench, "consumer-0", "get", "read", errno)

    @pytest.mark.parametrize("errno", ["EMFILE", "ENFILE"])
    @ROLES
    def test_survives_failed_open(self, monkeywrench: Wrench, peer: str, errno: str) -> None:
        """Without a descriptor to be had, the queue cannot be opened; when there is one again, it can."""
        self._fails(monkeywrench, peer, "open", "open", errno)

    @pytest.mark.parametrize("errno", ["EMFILE", "ENOSPC"])
    def test_survives_failed_open_in_put(self, monkeywrench: Wrench, errno: str) -> None:
        """A put that cannot open what it needs fails, and has put nothing."""
        self._fails(monkeywrench, "producer-0", "put", "open", errno)

    @pytest.mark.parametrize("errno", ["EMFILE"])
    def test_survives_failed_open_in_get(self, monkeywrench: Wrench, errno: str) -> None:
        """A get that cannot open what it needs fails, and has taken nothing."""
        self._fails(monkeywrench, "consumer-0", "get", "open", errno)

    @ROLES
    def test_survives_descriptor_limit(self, monkeywrench: Wrench, peer: str) -> None:
        """A peer without a descriptor left neither hangs nor loses anything."""
        trial = self.trial(monkeywrench, large_every=3)
        self.prove(trial.limit(peer, at=messages(2)))

    @ROLES
    def test_survives_descriptor_limit_in_open(self, monkeywrench: Wrench, peer: str) -> None:
        """A peer without a descriptor to open the queue with is told so, and can try again."""
        self.prove(self.trial(monkeywrench).limit(peer, at=start()))

    def _fails(self, monkeywrench: Wrench, peer: str, operation: str, kind: str, errno: str) -> None:
        __tracebackhide__ = True
        trial = self.trial(monkeywrench, large_every=5)
        found = self.places(trial, peer, operation, kind)
        # Of one operation in the middle, the first such call and the last: half of a message may be through by then.
        inside = found[len(found) // 2].inside
        numbers = [each.n for each in found if each.inside == inside]
        for n in dict.fromkeys((numbers[0], numbers[-1])):
            again = self.trial(monkeywrench, large_every=5, seed=trial.plan.seed)
            self.prove(again.error(peer, at=call(kind, n), errno=errno))

    # -- stale FIFOs and strangers -----------------------------------------------------------------------------------

    @pytest.mark.parametrize("thing", THINGS)
    def test_survives_stale(self, monkeywrench: Wrench, thing: str) -> None:
        """What is in the FIFO's place already is used if it is a FIFO, or refused; and what is none is left alone."""
        self.prove(self.trial(monkeywrench).stale(thing))

    def test_survives_fifo_removed(self, monkeywrench: Wrench) -> None:
        """Those who have the FIFO open go on when its path is gone."""
        self.prove(self.trial(monkeywrench).remove("producer-0", at=messages(self.messages // 2)))

    def test_survives_fifo_replaced(self, monkeywrench: Wrench) -> None:
        """Those who have the FIFO open go on when another one is at its path, and do not take that for theirs."""
        self.prove(self.trial(monkeywrench).remove("producer-0", at=messages(self.messages // 2), replace_it=True))

    def test_survives_foreign_bytes_between_messages(self, monkeywrench: Wrench) -> None:
        """Bytes that are no message cost no message, and are not delivered as one."""
        self.prove(self.trial(monkeywrench, large_every=5).foreign("producer-0", at=every(4)))

    def test_survives_foreign_bytes_inside_a_put(self, monkeywrench: Wrench) -> None:
        """Bytes that come in while a message is being put cost no message, that one included."""
        at: Trigger = message(self.messages // 2)
        trial = self.trial(monkeywrench, large_every=1)
        self.can(trial.foreign("producer-0", at=at))
        self.prove(trial)


class _Wrapping(Adapter):
    """Another adapter's queue, as it is."""

    def __init__(self, inner: Adapter) -> None:
        self._inner = inner
        self.guarantees: Guarantees = inner.guarantees  # type: ignore[misc]  # as the adapter inside has it

    def fifo(self, directory: Path) -> Path | None:
        return self._inner.fifo(directory)

    def make(self, directory: Path) -> None:
        self._inner.make(directory)

    def open(self, role: str) -> Any:
        return self._inner.open(role)

    def put(self, end: Any, message: Any) -> None:
        self._inner.put(end, message)

    def get(self, end: Any) -> Any:
        return self._inner.get(end)

    def close(self, end: Any) -> None:
        self._inner.close(end)

    def destroy(self) -> None:
        self._inner.destroy()


class _Padded(_Wrapping):
    """Another adapter's queue, with messages of sizes on both sides of PIPE_BUF, each a byte longer than the one
    before: wherever a queue's own bytes go, some message is exactly at the limit.
    """

    SIZES = range(_PIPE_BUF - 96, _PIPE_BUF + 4)

    def _padding(self, number: int) -> Any:
        size = self.SIZES[number % len(self.SIZES)]
        text = (f"{number} " * size)[:size]
        return text.encode() if "bytes" in self.guarantees.types else text

    def put(self, end: Any, message: Any) -> None:
        super().put(end, (*message, self._padding(message[1])))

    def get(self, end: Any) -> Any:
        got = super().get(end)
        # What does not fit is handed on as it is: the checkers know no message that looks like it.
        if type(got) not in (tuple, list) or len(got) != 4 or type(got[1]) is not int:
            return got
        return got[:3] if got[3] == self._padding(got[1]) else got


class _Heralded(_Wrapping):
    """Another adapter's queue, where a message that is false goes before each message.

    What is not as it should be is handed on as something that the checkers know no message of, and what came with it
    after that.
    """

    FALSE: tuple[Any, ...] = (None, False, b"", 0j, {}, 0.0, frozenset(), 0, [], set(), "", ())

    def __init__(self, inner: Adapter) -> None:
        super().__init__(inner)
        self.heralds = [each for each in self.FALSE if type(each).__name__ in self.guarantees.types]
        self._waiting: list[Any] = []  # heralds whose message has not come yet
        self._seen: set[tuple[int, int]] = set()
        self._held: list[Any] = []

    def put(self, end: Any, message: Any) -> None:
        super().put(end, self._herald(message[1]))
        super().put(end, message)

    def get(self, end: Any) -> Any:
        if self._held:
            return self._held.pop()
        while True:
            got = super().get(end)
            if type(got) in (tuple, list) and len(got) == 3 and type(got[0]) is type(got[1]) is int:
                break
            if not self.guarantees.duplicates and self._waiting:
                return got
            if not any(same(got, each) for each in self._waiting):
                self._waiting.append(got)
        producer, number, _ = got
        again = (producer, number) in self._seen
        # What has come to another consumer may come to this one, too, and without its herald.
        lone = self.guarantees.duplicates and (producer, number - 1) not in self._seen
        self._seen.add((producer, number))
        if again or lone:
            return got  # whether it may come again, the checkers know
        herald = self._herald(number)
        for at, each in enumerate(self._waiting):
            if same(each, herald):
                del self._waiting[at]
                return got
        came = ", ".join(map(repr, self._waiting)) or "nothing"
        self._waiting.clear()
        self._held.append(got)
        return f"{came}, where {herald!r} was put"

    def _herald(self, number: int) -> Any:
        return self.heralds[number % len(self.heralds)]


__all__ = ["QueueSuite"]
