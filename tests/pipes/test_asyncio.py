"""`PipeQueue`: coroutines that wait, are cancelled, and are closed under."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import threading
import types
import warnings
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest
from monkeywrench.pipes import PipeQueue, QueueClosedError, SimplePipeQueue, UndeliveredWarning

from .conftest import PATIENCE_S, Child, descriptors, eventually

LONG = b"long" * 5000
Fork = Callable[[Callable[[Child], None]], Child]


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine; no test waits for ever."""

    async def bounded() -> Any:
        async with asyncio.timeout(PATIENCE_S):
            return await main

    return asyncio.run(bounded())


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0)


def waiting(pq: PipeQueue) -> int:
    """How many coroutines wait."""
    return sum(len(waiters._futures) for waiters in pq._waiting.values())


def fill(pq: PipeQueue) -> int:
    count = 0
    for content in ("x" * 3000, ""):
        with contextlib.suppress(asyncio.QueueFull):
            while True:
                pq.put_nowait((count, content))
                count += 1
    return count


def files(path: str) -> set[str]:
    names = set(os.listdir(os.path.dirname(path))) - {os.path.basename(path)}
    return {name for name in names if not name.endswith("-lock")}


@pytest.mark.parametrize("message", [(0, "First message."), LONG, None, [1], {1: {2}}])
def test_a_message_comes_out_as_it_went_in(path: str, message: object) -> None:
    async def main() -> None:
        async with PipeQueue(path, history=False) as pq:
            await pq.put(message)
            assert await pq.get() == message
            pq.put_nowait(message)
            assert pq.get_nowait() == message
            assert not files(path)

    run(main())
    assert not os.path.exists(path)


def test_a_queue_may_be_made_and_opened_where_no_loop_runs(path: str) -> None:
    pq = PipeQueue.pipequeue(path, history=False)
    assert pq._in is not None
    assert pq._out is not None
    with pq:
        for _ in range(2):  # and may be used by one loop after another

            async def main() -> Any:
                waiter = asyncio.create_task(pq.get())
                await until(lambda: waiting(pq) == 1)
                await pq.put(1)
                return await waiter

            assert run(main()) == 1


def test_a_generator_of_the_old_kind_may_use_it(path: str) -> None:
    pq = PipeQueue.pipequeue(path, history=False)

    @types.coroutine
    def old() -> Generator[Any, Any, Any]:
        yield from pq.put((0, "First message."))
        return (yield from pq.get())

    async def main() -> Any:
        return await old()

    assert run(main()) == (0, "First message.")
    pq.close()


@pytest.mark.usefixtures("deep")
def test_waiting_coroutines_get_one_message_each_in_turn(path: str) -> None:
    async def main() -> None:
        async with PipeQueue(path, history=False) as pq:
            waiters = []
            for n in range(5):
                waiters.append(asyncio.create_task(pq.get()))
                await until(lambda n=n: waiting(pq) == n + 1)  # type: ignore[misc]
            for n in range(5):
                await pq.put(n)
            assert await asyncio.gather(*waiters) == list(range(5))
            assert not pq._waiting

    run(main())


def test_a_waiting_put_goes_on_when_there_is_room(path: str) -> None:
    async def main() -> None:
        async with PipeQueue(path, history=False) as pq:
            count = fill(pq)
            assert pq.full()
            waiters = [asyncio.create_task(pq.put((count + n, LONG))) for n in range(3)]
            await until(lambda: waiting(pq) == 3)
            received = [(await pq.get())[0] for _ in range(count + 3)]
            await asyncio.gather(*waiters)
            assert received[:count] == list(range(count))
            assert sorted(received[count:]) == [count, count + 1, count + 2]
            assert pq.empty()

    run(main())


def test_the_loop_runs_while_coroutines_wait_and_messages_come_from_elsewhere(path: str, fork: Fork) -> None:
    with PipeQueue(path, history=False) as pq:

        def produce(child: Child) -> None:
            with SimplePipeQueue(path) as mine:
                for n in range(500):
                    mine.put((n, LONG if n % 50 == 0 else b""), PATIENCE_S)
                mine.put(None)

        child = fork(produce)

        async def main() -> list[int]:
            numbers = []
            while (message := await pq.get()) is not None:
                numbers.append(message[0])
            return numbers

        assert run(main()) == list(range(500))
        assert child.wait() == 0


def test_timeouts_raise_asyncios_errors(path: str) -> None:
    async def main() -> None:
        async with PipeQueue(path, history=False) as pq:
            with pytest.raises(asyncio.QueueEmpty):
                pq.get_nowait()
            for timeout in (0, 0.01):
                with pytest.raises(asyncio.QueueEmpty):
                    await pq.get(timeout)
                with pytest.raises(asyncio.QueueEmpty):
                    await pq.get_many(2, timeout)
            count = fill(pq)
            for message in ("x" * 3000, LONG):
                with pytest.raises(asyncio.QueueFull):
                    pq.put_nowait(message)
                for timeout in (0, 0.01):
                    with pytest.raises(asyncio.QueueFull, match="nothing was put"):
                        await pq.put(message, timeout)
                with pytest.raises(asyncio.QueueFull) as caught:
                    await pq.put_many([message], 0.01)
                assert caught.value.count == 0  # type: ignore[attr-defined]
            with pytest.raises(TimeoutError, match="still unread"):
                await pq.drain(0.01)
            assert not files(path)
            assert not pq._waiting
            assert [(await pq.get())[0] for _ in range(count)] == list(range(count))
            await pq.drain(0)

    run(main())


@pytest.mark.parametrize("timeout", [float("inf"), pytest.param(10**400, id="10**400")])
def test_any_timeout_is_taken(path: str, timeout: float) -> None:
    async def main() -> None:
        async with PipeQueue(path, history=False) as pq:
            get = asyncio.create_task(pq.get(timeout))
            await until(lambda: waiting(pq) == 1)
            await pq.put(LONG, timeout)
            await pq.drain(timeout)
            assert await get == LONG

    run(main())


@pytest.mark.parametrize("timeout", [-1, "1", True, float("nan")])
def test_a_bad_timeout_is_refused(path: str, timeout: Any) -> None:
    async def main() -> None:
        async with PipeQueue(path, history=False) as pq:
            for call in (
                lambda: pq.get(timeout),
                lambda: pq.put(1, timeout),
                lambda: pq.drain(timeout),
                lambda: pq.get_many(1, timeout),
                lambda: pq.put_many([1], timeout),
            ):
                with pytest.raises((TypeError, ValueError), match="timeout must be"):
                    await call()
            assert pq.empty()
            with pytest.raises(TypeError, match=r"msg\[0\]"):
                await pq.put([bytearray()])
            with pytest.raises(TypeError, match=r"msgs\[1\]\[0\]"):
                await pq.put_many([1, [bytearray()]])
            assert pq.empty()

    run(main())


def test_many_come_out_in_order(path: str) -> None:
    messages = [(n, LONG if n % 50 == 7 else "short") for n in range(1200)]

    async def main() -> None:
        async with PipeQueue(path, history=False) as pq:
            putting = asyncio.create_task(pq.put_many(messages))
            received: list[Any] = []
            while len(received) < len(messages):
                received += await pq.get_many(100)
            await putting
            assert received == messages
            assert await pq.get_many(0) == []

    run(main())


def test_drain_waits_until_everything_was_taken(path: str) -> None:
    async def main() -> None:
        async with PipeQueue(path, history=False) as pq:
            await pq.put(1)
            draining = asyncio.create_task(pq.drain())
            await asyncio.sleep(0)
            assert not draining.done()
            await pq.get()
            await draining

    run(main())


# -- cancelling ----------------------------------------------------------------------------------------------


def test_cancelling_a_get_at_any_moment_loses_nothing(path: str) -> None:
    chance = random.Random(7)

    async def main() -> None:
        async with PipeQueue(path, history=False) as pq:
            sent, received = 0, []
            for _ in range(300):
                waiter = asyncio.create_task(pq.get())
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
                if chance.random() < 0.7:
                    await pq.put(sent)
                    sent += 1
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
                waiter.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    received.append(await waiter)
            with contextlib.suppress(asyncio.QueueEmpty):
                while True:
                    received.append(pq.get_nowait())
            assert received == list(range(sent))
            assert not pq._waiting

    run(main())


@pytest.mark.parametrize("message", ["x" * 3000, LONG])
def test_cancelling_a_put_at_any_moment_puts_all_or_nothing(path: str, message: object) -> None:
    chance = random.Random(7)

    async def main() -> None:
        async with PipeQueue(path, history=False, capacity=4096) as pq:
            for _ in range(60):
                count = fill(pq)
                putting = asyncio.create_task(pq.put(message))
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
                received = [await pq.get() for _ in range(chance.randrange(count + 1))]
                for _ in range(chance.randrange(4)):
                    await asyncio.sleep(0)
                putting.cancel()
                done = not (await asyncio.gather(putting, return_exceptions=True))[0]
                while not pq.empty():
                    received.append(await pq.get())
                assert received[count:] == [message] * done
                assert not files(path)
            assert not pq._waiting

    run(main())


def test_a_cancelled_waiter_passes_its_turn_on(path: str) -> None:
    async def main() -> None:
        async with PipeQueue(path, history=False) as pq:
            first = asyncio.create_task(pq.get())
            second = asyncio.create_task(pq.get())
            await until(lambda: waiting(pq) == 2)
            pq.put_nowait("for one of them")
            await until(lambda: waiting(pq) < 2)  # the first was told, but has not run yet
            first.cancel()
            assert await second == "for one of them"
            assert (await asyncio.gather(first, return_exceptions=True)) != ["for one of them"]

    run(main())


def test_the_watch_ends_with_the_last_waiter(path: str) -> None:
    async def main() -> None:
        async with PipeQueue(path, history=False) as pq:
            first, second = asyncio.create_task(pq.get()), asyncio.create_task(pq.get())
            await until(lambda: waiting(pq) == 2)
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            pq.put_nowait("still watched")
            assert await second == "still watched"
            third = asyncio.create_task(pq.get())
            await until(lambda: waiting(pq) == 1)
            third.cancel()
            await asyncio.gather(third, return_exceptions=True)
            assert pq._in is not None
            assert not asyncio.get_running_loop().remove_reader(pq._in)

    run(main())


def test_asyncios_own_timeout_works_too(path: str) -> None:
    async def main() -> None:
        async with PipeQueue(path, history=False) as pq:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await pq.get()
            await pq.put(1)
            assert await pq.get() == 1

    run(main())


# -- closing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["coroutine", "callback", "thread"])
def test_close_wakes_every_waiter(path: str, where: str) -> None:
    before = descriptors()

    async def main() -> None:
        before_loop = descriptors()
        pq = PipeQueue.pipequeue(path, history=False)
        gets: list[asyncio.Task[Any]] = [
            asyncio.create_task(pq.get()),
            asyncio.create_task(pq.get_many(3)),
            asyncio.create_task(collect(pq)),
        ]
        await until(lambda: waiting(pq) == 3)
        descriptor = pq._in
        assert descriptor is not None
        if where == "coroutine":
            pq.close()
            # The watch ends before the descriptor does: its number may be somebody else's at once.
            assert not asyncio.get_running_loop().remove_reader(descriptor)
        elif where == "callback":
            asyncio.get_running_loop().call_soon(pq.close)
        else:
            thread = threading.Thread(target=pq.close)
            thread.start()
        outcomes = await asyncio.gather(*gets, return_exceptions=True)
        if where == "thread":
            while thread.is_alive():
                await asyncio.sleep(0)
            thread.join()
        assert [type(outcome) for outcome in outcomes[:2]] == [QueueClosedError] * 2
        assert outcomes[2] == []
        with pytest.raises(QueueClosedError):
            await pq.get()
        with pytest.raises(QueueClosedError):
            await pq.put(1)
        assert descriptors() == before_loop

    run(main())
    assert not os.path.exists(path)
    assert descriptors() == before


def told_to_dismiss(loop: asyncio.AbstractEventLoop, monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Return a list that grows with what other threads tell the loop to do."""
    told: list[object] = []
    tell = loop.call_soon_threadsafe

    def call_soon_threadsafe(callback: Callable[..., object], *args: Any) -> asyncio.Handle:
        handle = tell(callback, *args)
        told.append(callback)
        return handle

    monkeypatch.setattr(loop, "call_soon_threadsafe", call_soon_threadsafe)
    return told


def test_closing_twice_at_once_waits_until_the_loop_has_let_go(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who comes second must not close what the loop still watches: its number may be somebody else's at once."""

    async def main() -> None:
        pq = PipeQueue.pipequeue(path, history=False)
        get = asyncio.create_task(pq.get())
        await until(lambda: waiting(pq) == 1)
        loop, descriptor = asyncio.get_running_loop(), pq._in
        assert descriptor is not None
        told = told_to_dismiss(loop, monkeypatch)
        first, second = threading.Thread(target=pq.close), threading.Thread(target=pq.close)
        # The loop is busy meanwhile.
        first.start()
        eventually(lambda: len(told) == 1, "the first waits for the loop")
        second.start()
        eventually(lambda: len(told) == 2 or not second.is_alive(), "the second does too")
        still_open = pq._in
        await until(lambda: not first.is_alive() and not second.is_alive())
        assert still_open == descriptor
        assert not loop.remove_reader(descriptor)
        with pytest.raises(QueueClosedError):
            await get

    run(main())
    assert not os.path.exists(path)


def test_closing_while_the_loop_stops_ends_its_watch(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pq = PipeQueue.pipequeue(path, history=False)
    loop = asyncio.new_event_loop()
    task = loop.create_task(pq.get())
    loop.run_until_complete(until(lambda: waiting(pq) == 1))
    descriptor = pq._in
    assert descriptor is not None
    told = told_to_dismiss(loop, monkeypatch)
    thread = threading.Thread(target=pq.close)

    def stop() -> None:
        loop.stop()
        thread.start()
        # Too late: the loop does not come to it any more.
        eventually(lambda: len(told) == 1, "it waits for the loop")

    loop.call_soon(stop)
    loop.run_forever()
    thread.join(PATIENCE_S)
    assert not loop.remove_reader(descriptor)
    with pytest.raises(QueueClosedError):
        loop.run_until_complete(task)
    loop.close()


def test_a_get_many_that_is_closed_delivers_what_it_has_taken(path: str) -> None:
    class ClosedBehind(PipeQueue):
        """Another thread closes it, as soon as the first message is taken."""

        async def get(self, timeout: float | None = None) -> Any:
            message = await super().get(timeout)
            thread = threading.Thread(target=self.close)
            thread.start()
            thread.join()
            return message

    async def main() -> None:
        with SimplePipeQueue(path, history=False) as other:
            pq = ClosedBehind.pipequeue(path)
            pq.put_nowait("taken")
            pq.put_nowait("left")
            assert await pq.get_many(5) == ["taken"]
            assert other.get_nowait() == "left"

    run(main())


async def collect(pq: PipeQueue) -> list[Any]:
    return [message async for message in pq]


def test_close_wakes_waiting_puts_and_leaves_no_file(path: str) -> None:
    async def main() -> None:
        pq = PipeQueue.pipequeue(path, history=False)
        other = SimplePipeQueue.pipequeue(path)
        count = fill(pq)
        puts = [asyncio.create_task(pq.put(message)) for message in ("x" * 3000, LONG)]
        await until(lambda: waiting(pq) == 2)
        pq.close()
        outcomes = await asyncio.gather(*puts, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [QueueClosedError] * 2
        assert not files(path)
        assert [other.get_nowait()[0] for _ in range(count)] == list(range(count))
        assert other.empty()
        other.close()

    run(main())


def test_a_loop_yields_messages_until_the_queue_is_closed(path: str) -> None:
    async def main() -> None:
        pq = PipeQueue.pipequeue(path, history=False)
        collecting = asyncio.create_task(collect(pq))
        for n in range(5):
            await pq.put(n)
        await pq.drain()
        pq.close()
        assert await collecting == list(range(5))

    run(main())


def test_close_after_the_loop_has_gone_leaves_nothing(path: str) -> None:
    before = descriptors()
    pq = PipeQueue.pipequeue(path, history=False)
    loop = asyncio.new_event_loop()
    task = loop.create_task(pq.get())
    loop.run_until_complete(until(lambda: waiting(pq) == 1))
    # The loop is stopped, not closed: its watch on the descriptor has to end before the descriptor does.
    pq.close()
    with pytest.raises(QueueClosedError):
        loop.run_until_complete(task)
    loop.close()
    assert descriptors() == before


def test_leaving_the_context_tells_what_nobody_read(path: str) -> None:
    async def main() -> None:
        async with PipeQueue(path, history=False) as pq:
            await pq.put(1)
            await pq.put(LONG)

    with pytest.warns(UndeliveredWarning, match="2 messages"):
        run(main())


def test_a_forks_child_leaves_the_parents_loop_alone(path: str, fork: Fork) -> None:
    """The child inherits the loop's own descriptor: ending a watch there would end the parent's."""

    async def main() -> None:
        async with PipeQueue(path, history=False) as pq:
            waiter = asyncio.create_task(pq.get())
            await until(lambda: waiting(pq) == 1)

            def child_closes(child: Child) -> None:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    pq._opened()
                    pq.close()

            assert fork(child_closes).wait() == 0
            with SimplePipeQueue(path) as other:
                other.put("still watched")
            assert await waiter == "still watched"

    run(main())
