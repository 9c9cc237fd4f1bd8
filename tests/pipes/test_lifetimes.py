"""Who dies when: forks, copies, SIGKILL at every system call, exits. Real processes, real signals."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import ctypes
import fcntl
import functools
import gc
import inspect
import itertools
import multiprocessing
import os
import pickle
import queue
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from monkeywrench.pipes import (
    ForeignBytesWarning,
    PipeQueue,
    QueueBusyError,
    QueueClosedError,
    SimplePipeQueue,
    UndeliveredWarning,
    _claims,
    _codec,
    _fifo,
)

from .conftest import PATIENCE_S, Child, blocked, descriptors, eventually

Fork = Callable[[Callable[[Child], None]], Child]
LONG = b"long" * 5000


def script(text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of its own."""
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(text), *arguments],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def leftovers(path: str) -> set[str]:
    return {name for name in os.listdir(os.path.dirname(path)) if not name.endswith("-lock")}


# -- forks and copies ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [SimplePipeQueue, PipeQueue])
def test_a_forks_child_opens_for_itself_and_removes_nothing(path: str, fork: Fork, cls: type[SimplePipeQueue]) -> None:
    with cls(path, history=False) as pq:
        inherited = {pq._in, pq._fifo.directory}  # type: ignore[union-attr]

        def run(child: Child) -> None:
            # The parent's descriptors are closed before anything else, and nothing is open until it is used.
            open_now = {int(name) for name in descriptors()}
            assert pq._in is None
            assert not inherited & open_now
            pq.put_nowait("from the child")
            assert pq._in is not None
            pq.close()
            assert os.path.exists(path)
            with pytest.raises(QueueClosedError):
                pq.put_nowait(1)

        assert fork(run).wait() == 0
        assert pq.get_nowait() == "from the child"
    assert not os.path.exists(path)


def test_a_forks_child_has_nothing_of_the_parents_buffer(path: str, fork: Fork) -> None:
    with SimplePipeQueue(path, history=False) as pq:
        pq.put_many(range(5))
        assert pq.get() == 0

        def run(child: Child) -> None:
            if pq.empty():
                with pytest.raises(queue.Empty):
                    pq.get_nowait()
            pq._opened()

        assert fork(run).wait() == 0
        assert pq.get_many(5) == [1, 2, 3, 4]


def test_a_forks_child_is_not_held_up_by_a_thread_of_the_parent(path: str, fork: Fork) -> None:
    """The lock may be held by a thread that the child does not have."""
    with SimplePipeQueue(path, history=False) as pq:
        held, done = threading.Event(), threading.Event()

        def hold() -> None:
            with pq._fifo.lock, pq._opening:  # type: ignore[union-attr]
                held.set()
                done.wait(PATIENCE_S)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait(PATIENCE_S)
        inherited = pq._fifo

        def run(child: Child) -> None:
            assert inherited is not None
            inherited.close_at_exit()
            pq.put_nowait("on its own")

        child = fork(run)
        assert child.wait() == 0
        done.set()
        thread.join()
        assert pq.get() == "on its own"


def test_a_forks_child_keeps_the_parent_from_being_the_last_only_when_it_uses_the_queue(path: str, fork: Fork) -> None:
    pq = SimplePipeQueue.pipequeue(path)

    def idle(child: Child) -> None:
        child.say("here")
        signal.pause()

    child = fork(idle)
    assert child.told() == "here"
    pq.put(1)
    with pytest.warns(UndeliveredWarning):
        pq.close()
    child.kill()


def test_a_childs_copy_of_a_queue_that_should_be_new_never_makes_it(path: str, fork: Fork) -> None:
    pq = SimplePipeQueue(path, history=False)
    copy = pickle.loads(pickle.dumps(pq))
    for stranger in (copy, pq):

        def run(child: Child, stranger: SimplePipeQueue = stranger) -> None:
            with pytest.raises(FileNotFoundError, match="the FIFO is gone"):
                stranger.put(1)

        assert fork(run).wait() == 0
    assert not os.path.exists(path)
    with pq:
        copy.put("now it is there")
        assert pq.get() == "now it is there"
        copy.close()
        assert os.path.exists(path)
    assert not os.path.exists(path)


@pytest.mark.parametrize("cls", [SimplePipeQueue, PipeQueue])
def test_a_pickled_queue_is_the_same_queue(path: str, cls: type[SimplePipeQueue]) -> None:
    with cls(path, history=False, capacity=65536, mode=0o640) as pq:
        copy = pickle.loads(pickle.dumps(pq))
        assert type(copy) is cls
        assert copy._in is None
        copy.put_nowait((1, "x"))
        assert pq.get_nowait() == (1, "x")
        copy.close()


@pytest.fixture(params=["fork", "spawn", "forkserver"])
def context(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A start method of multiprocessing, whose own helpers end with the test."""
    yield multiprocessing.get_context(request.param)
    from multiprocessing import forkserver, resource_tracker

    forkserver._forkserver._stop()  # type: ignore[attr-defined]
    resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]


# A fresh interpreter cannot import a test module: it gets its program as text.
ECHO = """
while (message := requests.get(30)) is not None:
    replies.put((os.getpid(), message), 30)
"""


def test_a_queue_is_handed_to_a_process_under_every_start_method(path: str, context: Any) -> None:
    with (
        SimplePipeQueue(path, history=False) as requests,
        SimplePipeQueue(f"{path}-replies", history=False) as replies,
    ):
        names = {"requests": requests, "replies": replies}
        process = context.Process(target=exec, args=("import os" + ECHO, names))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        for message in (1, LONG, ("x", {2})):
            requests.put(message)
            assert replies.get(PATIENCE_S) == (process.pid, message)
        requests.put(None)
        process.join(PATIENCE_S)
        assert process.exitcode == 0
        process.close()
    assert not leftovers(path)


# -- interrupted in the middle -------------------------------------------------------------------------------

NESTED = {"rows": [(n, (n, {n})) for n in range(3)]}


def once(real: Callable[..., Any], error: BaseException) -> Callable[..., Any]:
    """Return *real*, which raises an error when it is called for the first time."""
    errors = [error]

    def call(*args: Any, **kwargs: Any) -> Any:
        if errors:
            raise errors.pop()
        return real(*args, **kwargs)

    return call


# As a signal's handler raises it: in a hook that ormsgpack calls, or before the hook has begun.
WITHIN = {"in the hook": "_array", "before the hook": "_revive"}


@pytest.mark.parametrize("name", WITHIN.values(), ids=WITHIN)
@pytest.mark.parametrize("message", [NESTED, (NESTED, LONG)], ids=["short", "long"])
def test_a_get_that_is_interrupted_has_taken_nothing(
    path: str, monkeypatch: pytest.MonkeyPatch, name: str, message: object
) -> None:
    with SimplePipeQueue(path, history=False) as pq:
        pq.put(message)
        monkeypatch.setattr(_codec, name, once(getattr(_codec, name), KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            pq.get_nowait()
        assert pq.get_nowait() == message
        assert pq.empty()


@pytest.mark.parametrize("error", [TimeoutError("by a handler"), MemoryError(), RecursionError()])
def test_what_says_nothing_about_the_bytes_is_raised_as_it_is(
    path: str, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    with SimplePipeQueue(path, history=False) as pq:
        pq.put(NESTED)
        monkeypatch.setattr(_codec, "_array", once(_codec._array, error))
        with pytest.raises(type(error)) as raised:
            pq.get_nowait()
        assert raised.value is error
        assert pq.get_nowait() == NESTED


def test_a_get_without_enough_stack_has_taken_nothing(path: str) -> None:
    message: object = "core"
    for _ in range(60):
        message = (message,)

    def below(levels: int) -> object:
        return below(levels - 1) if levels else pq.get_nowait()

    raised = 0
    with SimplePipeQueue(path, history=False) as pq:
        pq.put(message)
        deepest = sys.getrecursionlimit() - len(inspect.stack())
        for room in range(40, 300):
            try:
                assert below(deepest - room) == message
            except RecursionError:
                raised += 1
            else:
                pq.put(message)
        assert raised
        assert pq.get_nowait() == message


@pytest.mark.parametrize("message", [NESTED, {1: "odd"}, (1, 2j)], ids=["nested", "odd", "flat"])
def test_a_put_that_is_interrupted_says_so(path: str, monkeypatch: pytest.MonkeyPatch, message: object) -> None:
    with SimplePipeQueue(path, history=False) as pq:
        monkeypatch.setattr(_codec, "_extend", once(_codec._extend, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            pq.put((message, 1j))
        with pytest.raises(queue.Empty):
            pq.get_nowait()


def test_a_get_many_that_is_interrupted_gives_all_of_them_back(path: str) -> None:
    class Interrupted(collections.deque[int]):
        left = 3

        def popleft(self) -> int:
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt
            return super().popleft()

    with SimplePipeQueue(path, history=False) as pq:
        pq.put_many(range(10))
        assert pq.get() == 0
        fifo = pq._opened()
        fifo.decoded = Interrupted(fifo.decoded or range(1, 10))
        with pytest.raises(KeyboardInterrupt):
            pq._take_many(fifo, 9, pq._take(fifo))
        fifo.decoded.left = 0
        assert pq.get_many(20) == list(range(1, 10))


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_batch_that_is_interrupted_while_it_is_unpacked_comes_once(path: str, when: str) -> None:
    """A signal's handler may raise as soon as the messages are in their place: then they are taken."""

    class Interrupted(collections.deque[int]):
        left = 1

        def extend(self, messages: Any) -> None:
            self.left -= 1
            if self.left == 0 and when == "before":
                raise KeyboardInterrupt
            super().extend(messages)
            if self.left == 0 and when == "after":
                raise KeyboardInterrupt

    with SimplePipeQueue(path, history=False) as pq:
        pq._opened().decoded = Interrupted()
        pq.put_many(range(10))
        with pytest.raises(KeyboardInterrupt):
            pq.get()
        assert pq.get_many(20) == list(range(10))
        assert pq.empty()


def test_a_wait_that_is_interrupted_keeps_nobody_from_closing(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pq = SimplePipeQueue.pipequeue(path, history=False)
    fifo = pq._opened()
    enter = fifo.enter

    def interrupted(use: Any) -> None:
        enter(use)
        raise KeyboardInterrupt

    monkeypatch.setattr(fifo, "enter", interrupted)
    with pytest.raises(KeyboardInterrupt):
        pq.get(PATIENCE_S)
    thread = threading.Thread(target=pq.close)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert not leftovers(path)


class StopError(Exception):
    """What a signal's handler raises."""


def interrupted_at_every_call(work: Callable[[SimplePipeQueue], object], make: Callable[[], SimplePipeQueue]) -> int:
    """Do some work with a queue again and again, interrupted at its first call, the second ... the last.

    A signal is pending at each call that the queue makes, as the kernel makes it: its handler raises as soon as the
    interpreter looks, when a function of Python's begins or one of C's has returned. Afterwards the queue must close,
    in any thread, and leave nothing. Returns at how many places it was. For a fork's child: it has one thread.
    """
    # Python 3.11 has none, and type checkers are told of the oldest.
    monitoring, tool = sys.monitoring, 3  # type: ignore[attr-defined, unused-ignore]
    event = monitoring.events.CALL
    trip = ctypes.pythonapi.PyErr_SetInterruptEx
    trip.argtypes, trip.restype = [ctypes.c_int] + 4 * [ctypes.py_object], None
    # A function of C's: the interpreter does not look before it is back where the call is.
    raise_signal = functools.partial(trip, int(signal.SIGUSR1))
    folders = (os.path.dirname(_fifo.__file__) + os.sep, contextlib.__file__)
    functions = [thing for thing in gc.get_objects() if type(thing) is types.FunctionType]
    codes = {thing.__code__ for thing in functions if thing.__code__.co_filename.startswith(folders)}
    left = 0

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            monitoring.register_callback(tool, event, raise_signal)

    def handle(*_: object) -> None:
        monitoring.register_callback(tool, event, None)
        raise StopError

    signal.signal(signal.SIGUSR1, handle)
    monitoring.use_tool_id(tool, "interrupted_at_every_call")
    for code in codes:
        monitoring.set_local_events(tool, code, event)
    warnings.simplefilter("ignore", UndeliveredWarning)
    before = descriptors()
    for turn in itertools.count():
        pq = make()
        left = turn + 1
        monitoring.register_callback(tool, event, raise_signal if turn == 0 else count)
        interrupted = None
        try:
            work(pq)
        except StopError as error:
            interrupted = error  # and with it every frame that it came through
        monitoring.register_callback(tool, event, None)
        closing = threading.Thread(target=pq.close, daemon=True)
        if turn % 2:
            pq.close()
        else:
            closing.start()
            closing.join(PATIENCE_S / 3)
        what = "".join(traceback.format_exception(interrupted)) if interrupted else "not interrupted"
        assert not closing.is_alive(), f"close() waits for ever: {what}"
        assert pq._in is None, f"close() has not closed it: {what}"
        assert not leftovers(pq.path), f"left {leftovers(pq.path)}: {what}"
        assert descriptors() == before, f"left descriptors: {what}"
        if interrupted is None:
            return turn
    raise AssertionError


def put_in_vain(pq: SimplePipeQueue) -> None:
    with contextlib.suppress(queue.Full):
        pq.put(LONG, 0.0001)


def get_in_vain(pq: SimplePipeQueue) -> None:
    with contextlib.suppress(queue.Empty):
        pq.get(0.0001)


def fill(pq: SimplePipeQueue) -> None:
    for message in ("x" * 3000, None):
        with contextlib.suppress(queue.Full):
            while True:
                pq.put_nowait(message)


INTERRUPTED: dict[str, tuple[Callable[[SimplePipeQueue], object], Callable[[SimplePipeQueue], object]]] = {
    "put": (SimplePipeQueue.empty, lambda pq: pq.put(LONG)),
    "put in vain": (fill, put_in_vain),
    "put_many": (SimplePipeQueue.empty, lambda pq: pq.put_many([LONG])),
    "get": (lambda pq: pq.put(LONG), lambda pq: pq.get(PATIENCE_S)),
    "get in vain": (SimplePipeQueue.empty, get_in_vain),
}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring came with Python 3.12")
@pytest.mark.skipif(
    sys.version_info[:2] == (3, 14),
    reason="Python 3.14 itself may leave a lock locked: it looks for signals between having it and 'with lock:'s block",
)
@pytest.mark.parametrize("what", INTERRUPTED)
def test_who_is_interrupted_at_any_call_keeps_nobody_from_closing(path: str, fork: Fork, what: str) -> None:
    prepare, work = INTERRUPTED[what]

    def make() -> SimplePipeQueue:
        pq = SimplePipeQueue.pipequeue(path, history=False, capacity=4096)
        prepare(pq)
        return pq

    def run(child: Child) -> None:
        assert interrupted_at_every_call(work, make) > 10

    assert fork(run).wait() == 0


def handled_while_it_opens(monkeypatch: pytest.MonkeyPatch, handle: Callable[[], object]) -> None:
    """Have a signal's handler called once, when a queue has its FIFO open and locked, but is not open itself."""
    real = fcntl.flock

    def flock(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", real)
        real(descriptor, operation)
        signal.raise_signal(signal.SIGUSR1)

    signal.signal(signal.SIGUSR1, lambda *_: handle())
    monkeypatch.setattr(fcntl, "flock", flock)


@pytest.mark.parametrize("history", [True, False])
def test_a_signal_handler_that_uses_the_queue_while_it_opens_leaves_one(
    path: str, fork: Fork, monkeypatch: pytest.MonkeyPatch, history: bool
) -> None:
    """It opens the queue itself, unless the FIFO should be new: then there is nothing to be had yet, which is said."""
    refused: list[str] = []

    def run(child: Child) -> None:
        before = descriptors()
        pq = SimplePipeQueue(path, history=history)

        def handle() -> None:
            try:
                pq.put_nowait("from the handler")
            except QueueBusyError as error:
                refused.append(str(error))

        handled_while_it_opens(monkeypatch, handle)
        pq.put("from outside")
        assert pq.get() == ("from the handler" if history else "from outside")
        assert pq.empty() is not history
        assert ["is being opened" in said for said in refused] == [True] * (not history)
        assert not history or pq.get() == "from outside"
        pq.close()
        assert descriptors() == before
        # And nobody holds the lock.
        alone = SimplePipeQueue.pipequeue(path)
        alone.put(1)
        with pytest.warns(UndeliveredWarning):
            alone.close()

    assert fork(run).wait() == 0


def test_a_signal_handler_may_close_the_queue_that_it_has_used_while_it_opens(
    path: str, fork: Fork, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(child: Child) -> None:
        before = descriptors()
        pq = SimplePipeQueue(path)

        def handle() -> None:
            pq.put_nowait("from the handler")
            pq.close()

        handled_while_it_opens(monkeypatch, handle)
        with pytest.warns(UndeliveredWarning, match="1 message was"), pytest.raises(QueueClosedError):
            pq.put("from outside")
        assert descriptors() == before

    assert fork(run).wait() == 0


def test_a_queue_that_is_closed_while_it_opens_is_closed(path: str) -> None:
    os.mkfifo(path, 0o600)
    stopped = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    fcntl.flock(stopped, fcntl.LOCK_EX)
    pq = SimplePipeQueue(path)
    outcome: list[BaseException] = []

    def put() -> None:
        try:
            pq.put(1)
        except QueueClosedError as error:
            outcome.append(error)

    thread = threading.Thread(target=put)
    before = descriptors()
    thread.start()
    eventually(lambda: len(descriptors() - before) > 2, "it has the FIFO open, and waits for the lock")
    pq.close()
    os.close(stopped)
    thread.join(PATIENCE_S)
    assert len(outcome) == 1
    assert pq._in is None


def test_a_put_many_that_is_closed_says_how_many_were_put(path: str) -> None:
    with SimplePipeQueue(path, history=False, capacity=4096) as other:
        pq = SimplePipeQueue.pipequeue(path)
        outcome: list[QueueClosedError] = []

        def put() -> None:
            with pytest.raises(QueueClosedError) as raised:
                pq.put_many([b"x" * 900] * 5000)
            outcome.append(raised.value)

        thread = threading.Thread(target=put)
        thread.start()
        eventually(lambda: blocked(os.getpid(), thread.native_id), "it waits for room")
        pq.close()
        thread.join(PATIENCE_S)
        count = outcome[0].count  # type: ignore[attr-defined]
        assert 0 < count < 5000
        assert f"{count} messages were put before" in str(outcome[0])
        assert len(other.get_many(5000)) == count


@pytest.mark.filterwarnings("ignore::monkeywrench.pipes.UndeliveredWarning")
def test_a_long_put_of_a_coroutine_is_waited_for_by_who_closes(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its file would be made through a descriptor that is closed, or anybody's by now."""
    pq = PipeQueue.pipequeue(path, history=False)
    fifo, create = pq._opened(), _claims.create
    thread = threading.Thread(target=pq.close)

    def closed_meanwhile(*args: Any) -> None:
        thread.start()
        eventually(lambda: fifo.closing, "it is being closed")
        create(*args)

    monkeypatch.setattr(_claims, "create", closed_meanwhile)
    with contextlib.suppress(QueueClosedError):
        asyncio.run(pq.put(LONG))
    thread.join(PATIENCE_S)
    assert not leftovers(path)


# -- SIGKILL -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("victims", [1, 3])
def test_consumers_killed_while_they_wait_hold_up_nobody(path: str, fork: Fork, victims: int) -> None:
    with SimplePipeQueue(path, history=False) as pq:

        def consume(child: Child) -> None:
            child.say("ready")
            pq.get()

        children = [fork(consume) for _ in range(victims)]
        for child in children:
            assert child.told() == "ready"
            eventually(lambda child=child: blocked(child.pid), "the consumer waits")  # type: ignore[misc]
            assert child.kill() == -signal.SIGKILL
        for n in range(10):
            pq.put((n, LONG), PATIENCE_S)
            assert pq.get(PATIENCE_S) == (n, LONG)
    assert not leftovers(path)


@pytest.mark.parametrize("message", ["x" * 3000, LONG])
def test_a_producer_killed_while_it_waits_holds_up_nobody(path: str, fork: Fork, message: object) -> None:
    with SimplePipeQueue(path, history=False, capacity=4096) as pq:
        count = 0
        for filler in ("x" * 3000, None):
            try:
                while True:
                    pq.put_nowait(filler)
                    count += 1
            except queue.Full:
                pass

        def produce(child: Child) -> None:
            child.say("ready")
            pq.put(message)

        child = fork(produce)
        assert child.told() == "ready"
        eventually(lambda: blocked(child.pid), "the producer waits")
        child.kill()
        for _ in range(count):
            pq.get(PATIENCE_S)
        assert pq.empty()
        pq.put("next")
        assert pq.get() == "next"
    # The file of the dead one's long message is swept by the last holder.
    assert not leftovers(path)


def crash_points(*arguments: str) -> int:
    """Run crash_points.py, and return how many it found; what it did not like fails the test."""
    program = Path(__file__).with_name("crash_points.py")
    command = [sys.executable, str(program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=4 * PATIENCE_S, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.usefixtures("deep")
@pytest.mark.parametrize("operation", ["put", "put_many", "get"])
def test_sigkill_at_every_system_call_costs_at_most_one_message(
    path: str, operation: str, record_property: Callable[..., None]
) -> None:
    """G7, exhaustively: open, use and close a queue, killed at the first call, the second ... the last."""
    record_property("crash points", crash_points("beside", operation, path))


@pytest.mark.parametrize("history", ["new", "history"])
def test_sigkill_at_every_system_call_of_who_is_alone_leaves_nothing_that_the_next_does_not_sweep(
    path: str, history: str, record_property: Callable[..., None]
) -> None:
    """G7 and G9 for the first to open and the last to close: it makes the FIFO, puts, gets, and sweeps."""
    record_property("crash points", crash_points("alone", history, path))


@pytest.mark.usefixtures("deep")
def test_sigkill_at_random_moments_costs_at_most_one_message_each(path: str, fork: Fork, system: str) -> None:
    """G2, G3, G4 and G7 together: two producers and two consumers, one of each killed at any moment."""
    chance = random.Random(20240607)
    size = 60
    for _ in range(12):
        with (
            SimplePipeQueue(path, history=False) as pq,
            SimplePipeQueue(f"{path}-log", history=False) as log,
        ):

            def produce(child: Child, pq: SimplePipeQueue = pq) -> None:
                for n in range(size):
                    pq.put((child.name, n, LONG if n % 7 == 0 else b""))  # type: ignore[attr-defined]

            def consume(child: Child, pq: SimplePipeQueue = pq, log: SimplePipeQueue = log) -> None:
                if system == "portable":
                    # A reader killed between header and payload leaves the payload, for the next to skip.
                    warnings.simplefilter("ignore", ForeignBytesWarning)
                while (message := pq.get()) is not None:
                    assert message[2] in (LONG, b"")
                    log.put((os.getpid(), *message[:2]))

            def named(name: int) -> Callable[[Child], None]:
                def run(child: Child) -> None:
                    child.name = name  # type: ignore[attr-defined]
                    produce(child)

                return run

            producers = [fork(named(number)) for number in range(2)]
            consumers = [fork(consume) for _ in range(2)]
            for victim in (producers[0], consumers[0]):
                time.sleep(chance.uniform(0, 0.01))  # the moment is the point, nothing depends on it
                victim.kill()
            seen: list[tuple[int, int, int]] = []
            assert producers[1].wait() == 0
            pq.drain(PATIENCE_S)
            pq.put(None)
            assert consumers[1].wait() == 0
            while not log.empty():
                seen.append(log.get())
            assert len(set(seen)) == len(seen)
            assert len({(p, n) for _, p, n in seen}) == len(seen)
            for consumer in {c for c, _, _ in seen}:
                for producer in range(2):
                    numbers = [n for c, p, n in seen if (c, p) == (consumer, producer)]
                    assert numbers == sorted(numbers)
            assert len([n for _, p, n in seen if p == 1]) >= size - 1
        assert not leftovers(path)


@pytest.mark.parametrize("message", ["short", LONG])
def test_what_dead_processes_left_is_swept_by_the_next_to_open(path: str, fork: Fork, message: object) -> None:
    def die(child: Child) -> None:
        mine = SimplePipeQueue.pipequeue(path)
        mine.put(message)
        os.kill(os.getpid(), signal.SIGKILL)

    assert fork(die).wait() == -signal.SIGKILL
    with SimplePipeQueue(path) as pq:
        # A FIFO forgets its bytes when its last holder goes.
        assert pq.empty()
        assert leftovers(path) == {"fifo"}


def test_what_a_dead_producer_put_is_not_swept_while_a_stranger_holds_the_pipe(path: str, fork: Fork) -> None:
    """The bytes live on with any holder, one without a lock too: then the claims in them are still good."""
    os.mkfifo(path, 0o600)
    stranger = os.open(path, os.O_RDWR | os.O_NONBLOCK)

    def die(child: Child) -> None:
        mine = SimplePipeQueue.pipequeue(path)
        mine.put(LONG)
        os.kill(os.getpid(), signal.SIGKILL)

    assert fork(die).wait() == -signal.SIGKILL
    with SimplePipeQueue(path) as pq:
        assert pq.get(PATIENCE_S) == LONG
    os.close(stranger)


def test_a_sweep_leaves_what_belongs_to_others(path: str, tmp_path: Any) -> None:
    with SimplePipeQueue(f"{path}-other", history=False) as other:
        other.put(LONG)
        with SimplePipeQueue(path, history=False) as pq:
            pq.put(LONG)
            second = SimplePipeQueue.pipequeue(path)
            second.close()
            assert pq.get() == LONG
        assert other.get() == LONG


def test_an_unread_long_message_survives_another_opening_and_closing(path: str) -> None:
    pq = SimplePipeQueue.pipequeue(path, history=False)
    pq.put(LONG)
    for _ in range(3):
        SimplePipeQueue.pipequeue(path).close()
    assert pq.get() == LONG
    pq.close()


def test_a_stopped_consumer_holds_up_nobody(path: str, fork: Fork) -> None:
    with SimplePipeQueue(path, history=False) as pq:

        def consume(child: Child) -> None:
            child.say("ready")
            pq.get()

        child = fork(consume)
        assert child.told() == "ready"
        eventually(lambda: blocked(child.pid), "the consumer waits")
        os.kill(child.pid, signal.SIGSTOP)
        pq.put(1)
        assert pq.get(PATIENCE_S) == 1
        child.kill()


# -- closing while in use ------------------------------------------------------------------------------------


def test_a_signal_handler_may_close_the_queue_that_waits(path: str, fork: Fork) -> None:
    """`close()` waits until waiters have left; the one it interrupts must not wait for itself."""

    def run(child: Child) -> None:
        pq = SimplePipeQueue.pipequeue(path, history=False)
        signal.signal(signal.SIGUSR1, lambda *_: pq.close())
        child.say("ready")
        with pytest.raises(QueueClosedError):
            pq.get()
        assert not os.path.exists(path)
        assert pq._in is None

    child = fork(run)
    assert child.told() == "ready"
    eventually(lambda: blocked(child.pid), "it waits")
    os.kill(child.pid, signal.SIGUSR1)
    assert child.wait() == 0


def test_a_signal_handler_may_use_the_queue_that_it_interrupts(path: str, fork: Fork) -> None:
    def run(child: Child) -> None:
        pq = SimplePipeQueue.pipequeue(path, history=False)
        handled = []

        def handler(*_: object) -> None:
            pq.put_nowait("from the handler")
            handled.append(True)
            # Where a stream is being read, there is nothing to get for the handler.
            with contextlib.suppress(queue.Empty):
                pq.get_nowait()

        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
        for n in range(10_000):
            pq.put(n)
            pq.get()
            while not pq.empty():
                pq.get(0)
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert handled
        pq.close()

    assert fork(run).wait() == 0


def test_a_closed_descriptors_number_is_never_used(path: str) -> None:
    """Threads put and get while the queue closes and its numbers go to others at once."""
    for _ in range(20):
        pq = SimplePipeQueue.pipequeue(path, history=False)
        stop = threading.Event()

        def work(pq: SimplePipeQueue = pq, stop: threading.Event = stop) -> None:
            try:
                while not stop.is_set():
                    pq.put_nowait("x")
                    pq.get(0)
            except (QueueClosedError, queue.Empty, queue.Full):
                pass

        threads = [threading.Thread(target=work) for _ in range(3)]
        for thread in threads:
            thread.start()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UndeliveredWarning)
            pq.close()
        reader, writer = os.pipe()
        more = [os.dup(writer) for _ in range(4)]
        os.set_blocking(reader, False)
        stop.set()
        for thread in threads:
            thread.join()
        with pytest.raises(BlockingIOError):
            os.read(reader, 1)
        for descriptor in (reader, writer, *more):
            os.close(descriptor)


def test_closing_twice_at_once_closes_once(path: str) -> None:
    for _ in range(20):
        pq = SimplePipeQueue.pipequeue(path, history=False)
        threads = [threading.Thread(target=pq.close) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert pq._in is None
        assert not os.path.exists(path)


# -- descriptors, collection, exit ---------------------------------------------------------------------------


@pytest.mark.usefixtures("deep")
def test_no_use_of_a_queue_leaves_a_descriptor(path: str) -> None:
    before = descriptors()
    for _ in range(5):
        with SimplePipeQueue(path, history=False) as pq:
            pq.put(LONG)
            pq.put_many([1, LONG])
            assert pq.get() == LONG
            assert len(pq.get_many(5)) == 2
            with pytest.raises(queue.Empty):
                pq.get(0.001)
        assert descriptors() == before
    with SimplePipeQueue(path), pytest.raises(FileExistsError):
        SimplePipeQueue.pipequeue(path, history=False)
    os.unlink(path)
    os.mkdir(path)
    with pytest.raises(OSError, match="a directory"):
        SimplePipeQueue.pipequeue(path)
    os.rmdir(path)
    assert descriptors() == before


def test_waiting_takes_no_further_descriptor(path: str) -> None:
    with SimplePipeQueue(path, history=False) as pq:
        pq.put(1)
        assert pq.get() == 1
        before = descriptors()
        with pytest.raises(queue.Empty):
            pq.get(0.001)
        assert descriptors() == before


def test_descriptors_are_not_inherited_by_programs(path: str) -> None:
    with SimplePipeQueue(path, history=False) as pq:
        pq.put(1)
        pq.get()
        fifo = pq._fifo
        assert fifo is not None
        for descriptor in (fifo.fd, fifo.directory, fifo.read_lock, *fifo._wake):
            assert descriptor < 0 or not os.get_inheritable(descriptor)


def test_a_queue_that_nobody_closed_is_closed_when_collected(path: str) -> None:
    before = descriptors()
    pq = SimplePipeQueue.pipequeue(path, history=False)
    assert descriptors() > before
    del pq
    gc.collect()
    assert descriptors() == before
    assert not os.path.exists(path)


@pytest.mark.parametrize("how", ["end", "sys.exit(0)", "raise KeyError", "a thread waits"])
def test_a_queue_that_nobody_closed_is_closed_at_exit(path: str, how: str) -> None:
    ended = script(
        """
        import sys, threading
        from monkeywrench.pipes import SimplePipeQueue
        pq = SimplePipeQueue.pipequeue(sys.argv[1], history=False)
        how = sys.argv[2]
        if how == "a thread waits":
            threading.Thread(target=pq.get, daemon=True).start()
        else:
            pq.put(b"x" * 10_000)
        exec(how if " waits" not in how and how != "end" else "")
        """,
        path,
        how,
    )
    assert ended.returncode == ("raise" in how)
    assert ("1 message was still unread" in ended.stderr) == ("waits" not in how)
    assert not leftovers(path)


UNCLOSED = """
import builtins
from monkeywrench.pipes import SimplePipeQueue
SimplePipeQueue.pipequeue(path, history=False).put_nowait(b"x" * 10_000)
builtins.kept = SimplePipeQueue.pipequeue(path + "-kept", history=False)
builtins.kept.put_nowait(b"x" * 10_000)
pq.put("done")
"""


def test_a_queue_that_nobody_closed_is_closed_at_the_exit_of_a_multiprocessing_child(path: str, context: Any) -> None:
    with SimplePipeQueue(path, history=False) as pq:
        process = context.Process(target=exec, args=(UNCLOSED, {"pq": pq, "path": f"{path}-child"}))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        assert pq.get(PATIENCE_S) == "done"
        process.join(PATIENCE_S)
        assert process.exitcode == 0
        process.close()
        assert leftovers(path) == {"fifo"}


def test_importing_brings_no_heavy_module() -> None:
    ended = script(
        """
        import sys
        before = set(sys.modules)
        import monkeywrench.pipes
        new = set(sys.modules) - before
        heavy = {"asyncio", "multiprocessing", "subprocess", "socket", "typing_extensions"}
        assert not heavy & new, heavy & new
        from monkeywrench.pipes import PipeQueue
        assert "asyncio" in sys.modules
        assert "multiprocessing" not in sys.modules
        try:
            monkeywrench.pipes.nothing
        except AttributeError as error:
            assert "nothing" in str(error)
        else:
            raise SystemExit("no error")
        """
    )
    assert ended.returncode == 0, ended.stderr


def test_the_public_names_are_all_there() -> None:
    import monkeywrench.pipes as pipes

    assert pipes.__all__ == sorted(pipes.__all__)
    for name in pipes.__all__:
        assert getattr(pipes, name).__doc__
    assert _fifo.PORTABLE_VARIABLE.startswith("_")
