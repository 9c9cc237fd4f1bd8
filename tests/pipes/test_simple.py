"""`SimplePipeQueue`: what one process, and several that nobody breaks, see of it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import queue
import select
import shutil
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from monkeywrench.pipes import (
    ForeignBytesWarning,
    QueueClosedError,
    SimplePipeQueue,
    UndeliveredWarning,
    _claims,
    _codec,
    _frames,
)

from .conftest import PATIENCE_S, Child, blocked, eventually

Fork = Callable[[Callable[[Child], None]], Child]
LONG = b"long" * 5000


@pytest.fixture
def pq(path: str) -> Iterator[SimplePipeQueue]:
    with SimplePipeQueue(path, history=False) as pipe_queue:
        yield pipe_queue


def files(path: str) -> set[str]:
    """The names of long messages' files beside the FIFO."""
    names = set(os.listdir(os.path.dirname(path))) - {os.path.basename(path)}
    return {name for name in names if not name.endswith("-lock")}


def fill(pq: SimplePipeQueue) -> int:
    """Put until not even a short message fits; return how many there are, each with its number first."""
    count = 0
    for content in ("x" * 3000, ""):
        with contextlib.suppress(queue.Full):
            while True:
                pq.put_nowait((count, content))
                count += 1
    return count


@pytest.mark.parametrize(
    "message",
    [
        None,
        True,
        0,
        -1,
        2**200,
        1.5,
        2j,
        "",
        "text",
        b"",
        b"bytes",
        (),
        [],
        {},
        set(),
        frozenset(),
        (1, [{"k": {2}}]),
    ],
)
def test_a_message_comes_out_as_it_went_in(pq: SimplePipeQueue, message: object) -> None:
    pq.put_nowait(message)
    received = pq.get_nowait()
    assert received == message
    assert type(received) is type(message)


@pytest.mark.parametrize("size", [4000, 4080, 4081, 4082, 4083, 4084, 4085, 4090, 5000, 65536, 3_000_000])
def test_a_message_of_any_size_comes_out_and_leaves_no_file(pq: SimplePipeQueue, path: str, size: int) -> None:
    message = os.urandom(size)
    pq.put(message)
    assert len(files(path)) == (size > 4082)
    assert pq.get() == message
    assert not files(path)


def test_a_message_that_holds_frames_comes_out_as_one(pq: SimplePipeQueue, path: str) -> None:
    frame = _frames.encode_frame(_frames.MESSAGE, _codec.encode("inner"))
    for message in (frame, [frame, frame], _frames.MAGIC, {"k": b"x" + _frames.MAGIC}):
        pq.put(message)
        assert pq.get() == message
    assert pq.empty()


@pytest.mark.usefixtures("deep")
def test_messages_keep_their_order_short_and_long(pq: SimplePipeQueue) -> None:
    messages = [(n, b"x" * (n * 400)) for n in range(20)]
    for message in messages[:10]:
        pq.put(message)
    for message in messages[10:]:
        pq.put(message)
    assert [pq.get() for _ in messages] == messages


def test_a_queue_that_is_empty_says_so(pq: SimplePipeQueue) -> None:
    assert pq.empty()
    assert pq.unread == 0
    with pytest.raises(queue.Empty, match="no message in"):
        pq.get_nowait()
    for timeout in (0, 0.01):
        with pytest.raises(queue.Empty):
            pq.get(timeout)
        with pytest.raises(queue.Empty):
            pq.get_many(3, timeout)
    pq.put(1)
    assert not pq.empty()
    assert pq.unread > 0
    assert pq.get(0) == 1
    assert pq.empty()


@pytest.mark.usefixtures("deep")
def test_a_queue_that_is_full_says_so_and_nothing_was_put(pq: SimplePipeQueue, path: str) -> None:
    count = fill(pq)
    assert pq.full()
    assert count >= 16
    for message in ("x" * 3000, LONG):
        with pytest.raises(queue.Full, match="nothing was put"):
            pq.put_nowait(message)
        for timeout in (0, 0.01):
            with pytest.raises(queue.Full):
                pq.put(message, timeout)
        with pytest.raises(queue.Full) as caught:
            pq.put_many([message, message], 0.01)
        assert caught.value.count == 0  # type: ignore[attr-defined]
    assert not files(path)
    assert [pq.get_nowait()[0] for _ in range(count)] == list(range(count))
    assert pq.empty()
    assert not pq.full()


def test_a_timeout_is_waited_out(pq: SimplePipeQueue) -> None:
    start = time.monotonic()
    with pytest.raises(queue.Empty):
        pq.get(timeout=0.1)
    fill(pq)
    with pytest.raises(queue.Full):
        pq.put(LONG, timeout=0.1)
    with pytest.raises(TimeoutError, match="still unread"):
        pq.drain(timeout=0.1)
    assert time.monotonic() - start >= 0.3
    pq.get_many(10_000)


@pytest.mark.usefixtures("deep")
@pytest.mark.parametrize("capacity", [4096, 65536])
def test_a_capacity_is_taken_and_told(path: str, capacity: int) -> None:
    with SimplePipeQueue(path, history=False, capacity=capacity) as pq:
        if os.environ.get("_MONKEYWRENCH_PIPES_PORTABLE") is None:
            assert pq.capacity == capacity
            # Who comes later leaves it so.
            with SimplePipeQueue(path) as second:
                assert second.capacity == capacity
        count = fill(pq)
        received: list[Any] = []
        while len(received) < count:
            received += pq.get_many(count)
        assert [message[0] for message in received] == list(range(count))


# -- many ----------------------------------------------------------------------------------------------------


MIXTURES = {
    "plain": [(n, "short") for n in range(300)],
    "containers in between": [{"n": n} if n % 3 == 1 else [n] if n % 7 == 2 else n for n in range(100)],
    "lists and tuples": [[1], (1,), [], (), "a", ["b"], ("b",)],
    "on both sides of a packet": [(n, "x" * (n * 37 % 1200)) for n in range(60)],
    "long ones in between": [n if n % 5 else (n, LONG) for n in range(20)],
    "lone surrogates": ["a", "\ud800", ("b", "\udfff"), 3],
    "the magic in some": [b"\xc1mw", 1, (2, b"\xc1mw"), 3, 4],
}


@pytest.mark.usefixtures("deep")
@pytest.mark.parametrize("messages", MIXTURES.values(), ids=MIXTURES)
def test_many_of_every_kind_come_out_as_they_went_in(pq: SimplePipeQueue, messages: list[Any]) -> None:
    pq.put_many(messages)
    received = [pq.get_nowait() for _ in messages]
    assert repr(received) == repr(messages)
    assert pq.empty()


def test_a_batch_that_is_none_is_skipped_and_told(pq: SimplePipeQueue, foreigner: int) -> None:
    os.write(foreigner, _frames.encode_frame(_frames.BATCH, b"\x01") or b"")
    pq.put_many([1, 2])
    with pytest.warns(ForeignBytesWarning, match="not an array"):
        assert pq.get_nowait() == 1
    assert pq.get_nowait() == 2


def test_every_message_of_a_batch_counts_where_the_last_holder_closes(path: str) -> None:
    last = SimplePipeQueue.pipequeue(path, history=False)
    last.put_many(range(10))
    last.put(10)
    with pytest.warns(UndeliveredWarning, match="11 messages were still unread") as caught:
        last.close()
    assert caught[0].message.count == 11  # type: ignore[union-attr]


@pytest.mark.usefixtures("deep")
def test_many_come_out_in_order(pq: SimplePipeQueue) -> None:
    messages = [(n, LONG if n % 50 == 7 else "short") for n in range(400)]
    pq.put_many(messages)
    received = []
    while len(received) < len(messages):
        batch = pq.get_many(33)
        assert 1 <= len(batch) <= 33
        received += batch
    assert received == messages
    assert pq.empty()


def test_many_takes_an_iterator_and_no_message(pq: SimplePipeQueue) -> None:
    pq.put_many(iter(range(3)))
    pq.put_many([])
    assert pq.get_many(0) == []
    assert pq.get_many(10) == [0, 1, 2]


def test_many_with_one_that_cannot_be_put_puts_none(pq: SimplePipeQueue) -> None:
    with pytest.raises(TypeError, match=r"msgs\[2\]\['k'\] is of type builtins.bytearray.*none was put"):
        pq.put_many([1, 2, {"k": bytearray()}])
    # Where the key reads like a place.
    for odd, place in [
        ({("msg", object()): 1}, r"of msgs\[1\]\[1\] is of"),
        ({"msg": {"msg": object()}}, r"^msgs\[1\]\['msg'\]\['msg'\] is of"),
        ({("msg of msg", object())}, r"^the member \('msg of msg', .*\) of msgs\[1\]\[1\] is of"),
        (object(), r"^msgs\[1\] is of"),
    ]:
        with pytest.raises(TypeError, match=place):
            pq.put_many([1, odd])
    deep: list[Any] = []
    deep.append(deep)
    with pytest.raises(ValueError, match=r"msgs\[1\].*contains itself.*none was put"):
        pq.put_many([1, deep])
    assert pq.empty()


def test_many_that_do_not_all_fit_say_how_many_did(pq: SimplePipeQueue) -> None:
    messages = [(n, "x" * 3000) for n in range(2000)]
    with pytest.raises(queue.Full, match="were put before") as caught:
        pq.put_many(messages, timeout=0.05)
    count = caught.value.count  # type: ignore[attr-defined]
    assert 0 < count < 2000
    assert [pq.get_nowait() for _ in range(count)] == messages[:count]
    assert pq.empty()


def test_what_shares_a_packet_is_held_by_one_consumer_and_counted(path: str) -> None:
    with SimplePipeQueue(path) as producer, SimplePipeQueue(path) as consumer, SimplePipeQueue(path) as other:
        producer.put_many(range(10))
        assert consumer.get() == 0
        assert producer.empty()
        assert not consumer.empty()
        assert consumer.unread > 0
        with pytest.raises(queue.Empty):
            other.get_nowait()
        assert [consumer.get() for _ in range(9)] == list(range(1, 10))
        assert consumer.empty()
    os.unlink(path)


def test_a_consumer_that_closes_tells_what_it_held(path: str) -> None:
    with SimplePipeQueue(path, history=False) as producer:
        consumer = SimplePipeQueue.pipequeue(path)
        producer.put_many(range(10))
        assert consumer.get() == 0
        with pytest.warns(UndeliveredWarning, match="9 messages were still unread"):
            consumer.close()


def test_drain_returns_when_everything_was_taken(pq: SimplePipeQueue, path: str, fork: Fork) -> None:
    def consume(child: Child) -> None:
        with SimplePipeQueue(path) as consumer:
            child.say("ready")
            for n in range(50):
                assert consumer.get(PATIENCE_S) == n

    child = fork(consume)
    assert child.told() == "ready"
    for n in range(50):
        pq.put(n)
    pq.drain(PATIENCE_S)
    assert pq.empty()
    assert child.wait() == 0


# -- between processes and threads ---------------------------------------------------------------------------


def test_each_message_reaches_one_consumer_in_its_producers_order(path: str, fork: Fork, pq: SimplePipeQueue) -> None:
    """Three producers, two consumers: G2, G3, G4 at once."""
    size, results = 300, f"{path}-results"

    def produce(number: int) -> Callable[[Child], None]:
        def run(child: Child) -> None:
            with SimplePipeQueue(path) as mine:
                for n in range(size):
                    mine.put((number, n, b"x" * (5000 if n % 40 == 0 else n)), PATIENCE_S)

        return run

    def consume(child: Child) -> None:
        with SimplePipeQueue(path) as mine, SimplePipeQueue(results) as out:
            while (message := mine.get(PATIENCE_S)) is not None:
                assert message[2] == b"x" * len(message[2])
                out.put((child_number(child), message[0], message[1]), PATIENCE_S)

    def child_number(child: Child) -> int:
        return os.getpid()

    with SimplePipeQueue(results, history=False) as out:
        consumers = [fork(consume) for _ in range(2)]
        producers = [fork(produce(number)) for number in range(3)]
        received: dict[tuple[int, int], list[int]] = {}
        for _ in range(3 * size):
            consumer, producer, n = out.get(PATIENCE_S)
            received.setdefault((consumer, producer), []).append(n)
        assert [producer.wait() for producer in producers] == [0, 0, 0]
        for _ in consumers:
            pq.put(None)
        assert [consumer.wait() for consumer in consumers] == [0, 0]
    for numbers in received.values():
        assert numbers == sorted(numbers)
    for producer in range(3):
        got = [n for (_, p), numbers in received.items() if p == producer for n in numbers]
        assert sorted(got) == list(range(size))


def test_threads_share_one_queue(pq: SimplePipeQueue) -> None:
    size, received = 400, []

    def produce(number: int) -> None:
        for n in range(size):
            pq.put((number, n, LONG if n % 100 == 0 else None), PATIENCE_S)

    def consume() -> None:
        while (message := pq.get(PATIENCE_S)) is not None:
            received.append(message[:2])

    consumers = [threading.Thread(target=consume) for _ in range(2)]
    producers = [threading.Thread(target=produce, args=(number,)) for number in range(2)]
    for thread in consumers + producers:
        thread.start()
    for thread in producers:
        thread.join()
    for _ in consumers:
        pq.put(None)
    for thread in consumers:
        thread.join()
    assert sorted(received) == [(number, n) for number in range(2) for n in range(size)]


def test_a_waiting_get_is_woken_by_a_put(path: str, pq: SimplePipeQueue, fork: Fork) -> None:
    def consume(child: Child) -> None:
        with SimplePipeQueue(path) as mine:
            child.say("ready")
            child.say(mine.get())

    child = fork(consume)
    assert child.told() == "ready"
    eventually(lambda: blocked(child.pid), "the consumer waits")
    pq.put("for you")
    assert child.told() == "for you"
    assert child.wait() == 0


def test_a_waiting_put_is_woken_by_a_get(path: str, pq: SimplePipeQueue, fork: Fork) -> None:
    count = fill(pq)

    def produce(child: Child) -> None:
        with SimplePipeQueue(path) as mine:
            child.say("ready")
            mine.put(LONG)
            child.say("done")

    child = fork(produce)
    assert child.told() == "ready"
    eventually(lambda: blocked(child.pid), "the producer waits")
    for _ in range(count):
        pq.get()
    assert child.told() == "done"
    assert pq.get() == LONG
    assert child.wait() == 0


# -- closing -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["get", "put", "put long", "drain", "get_many", "put_many"])
def test_close_wakes_a_waiting_thread_with_a_clear_error(path: str, what: str) -> None:
    pq = SimplePipeQueue.pipequeue(path, history=False)
    count = fill(pq) if "put" in what else 0
    if what == "drain":
        pq.put(1)
        count = 1
    calls: dict[str, Callable[[], object]] = {
        "get": pq.get,
        "put": lambda: pq.put("x" * 3000),
        "put long": lambda: pq.put(LONG),
        "drain": pq.drain,
        "get_many": lambda: pq.get_many(3),
        "put_many": lambda: pq.put_many(["x" * 3000]),
    }
    outcome: list[BaseException] = []

    def wait() -> None:
        try:
            calls[what]()
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    eventually(lambda: blocked(os.getpid(), thread.native_id), "the thread waits")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pq.close()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert [type(error) for error in outcome] == [QueueClosedError]
    assert "is closed; nothing was put or taken" in str(outcome[0])
    assert [getattr(warning.message, "count", 0) for warning in caught] == [count] * bool(count)


@pytest.mark.parametrize(
    "operation",
    [
        lambda pq: pq.put(1),
        lambda pq: pq.put(LONG),
        lambda pq: pq.put_nowait(1),
        lambda pq: pq.put_many([1]),
        lambda pq: pq.get(),
        lambda pq: pq.get_nowait(),
        lambda pq: pq.get_many(1),
        lambda pq: pq.empty(),
        lambda pq: pq.full(),
        lambda pq: pq.unread,
        lambda pq: pq.drain(),
        lambda pq: pq.capacity,
    ],
)
@pytest.mark.parametrize("opened", [True, False])
def test_a_closed_queue_refuses_every_operation(path: str, operation: Any, opened: bool) -> None:
    pq = SimplePipeQueue(path, history=False)
    if opened:
        pq.put(0)
        pq.get()
    pq.close()
    pq.close()
    assert "closed" in repr(pq)
    with pytest.raises(QueueClosedError, match="is closed"):
        operation(pq)
    assert not os.path.exists(path)


def test_a_queue_can_be_entered_again(path: str) -> None:
    pq = SimplePipeQueue(path, history=False)
    for n in range(3):
        with pq:
            pq.put(n)
            assert pq.get() == n
        assert not os.path.exists(path)


@pytest.mark.usefixtures("deep")
def test_the_last_one_to_close_tells_what_nobody_read(path: str) -> None:
    first = SimplePipeQueue.pipequeue(path)
    second = SimplePipeQueue.pipequeue(path)
    first.put_many([1, 2, LONG])
    first.put(4)
    first.close()
    with pytest.warns(UndeliveredWarning, match="4 messages were still unread") as caught:
        second.close()
    assert caught[0].message.count == 4  # type: ignore[union-attr]
    assert caught[0].filename == __file__
    assert not files(path)
    os.unlink(path)


def test_an_open_queue_shows_its_descriptors(path: str) -> None:
    pq = SimplePipeQueue(path)
    assert pq._in is None
    assert pq._out is None
    with pq:
        assert pq._in is not None
        assert pq._out is not None
    assert pq._in is None
    os.unlink(path)


# -- foreign bytes -------------------------------------------------------------------------------------------


@pytest.fixture
def foreigner(path: str, pq: SimplePipeQueue) -> Iterator[int]:
    """A descriptor of somebody who knows nothing of packets or frames."""
    descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    yield descriptor
    os.close(descriptor)


@pytest.mark.usefixtures("deep")
@pytest.mark.parametrize(
    "noise",
    [b"x", b"noise\n", _frames.MAGIC, _frames.MAGIC + b"\x01\x01\x0f\xff", b"\xc1m", os.urandom(9000)],
)
def test_foreign_bytes_cost_no_message_and_are_told(pq: SimplePipeQueue, foreigner: int, noise: bytes) -> None:
    received = []
    pq.put("before")
    os.write(foreigner, noise)
    pq.put("after")
    pq.put(LONG)
    os.write(foreigner, noise)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        received = [pq.get(PATIENCE_S) for _ in range(3)]
        with pytest.raises(queue.Empty):
            pq.get_nowait()
    assert received == ["before", "after", LONG]
    assert all(warning.category is ForeignBytesWarning for warning in caught)
    told = sum(int(str(warning.message).split()[1]) for warning in caught)
    assert told == 2 * len(noise)
    assert caught[0].filename == __file__
    assert "/fifo" in str(caught[0].message)


def test_foreign_bytes_where_warnings_are_errors_cost_no_message(pq: SimplePipeQueue, foreigner: int) -> None:
    os.write(foreigner, b"noise")
    pq.put_many([1, 2])
    with pytest.raises(ForeignBytesWarning):
        pq.get_nowait()
    assert pq.get_nowait() == 1
    os.write(foreigner, b"noise")
    pq.put_many([3, 4])
    with pytest.raises(ForeignBytesWarning):
        pq.get_many(4)
    assert pq.get_many(4) == [2, 3, 4]


@pytest.mark.parametrize("system", ["portable"], indirect=True)
def test_one_consumer_at_a_time_reads_a_stream(path: str, pq: SimplePipeQueue) -> None:
    pq.put(1)
    [name] = [name for name in os.listdir(os.path.dirname(path)) if name.endswith("-lock")]
    reading = os.open(os.path.join(os.path.dirname(path), name), os.O_RDWR)
    fcntl.flock(reading, fcntl.LOCK_SH)
    with pytest.raises(queue.Empty):
        pq.get_nowait()
    with pytest.raises(queue.Empty):
        pq.get(0.1)
    os.close(reading)
    assert pq.get_nowait() == 1


def test_a_frame_from_a_later_version_is_skipped_and_named(pq: SimplePipeQueue, foreigner: int) -> None:
    frame = bytearray(_frames.encode_frame(_frames.MESSAGE, b"\x01") or b"")
    frame[3] = 9
    os.write(foreigner, frame)
    with (
        pytest.warns(ForeignBytesWarning, match="version 9, and this is version 1"),
        pytest.raises(queue.Empty),
    ):
        pq.get_nowait()


def test_an_intact_frame_that_is_no_message_is_skipped(pq: SimplePipeQueue, foreigner: int) -> None:
    frame = _frames.encode_frame(_frames.MESSAGE, b"\xc1") or b""
    os.write(foreigner, frame)
    pq.put(1)
    with pytest.warns(ForeignBytesWarning, match="not a message"):
        assert pq.get_nowait() == 1
    pq._fifo.buffer.append((_frames.MESSAGE, b"\xc1"))  # type: ignore[union-attr]
    pq.put(2)
    with pytest.warns(ForeignBytesWarning, match="not a message"):
        assert pq.get_nowait() == 2


# -- long messages' files ------------------------------------------------------------------------------------


def break_missing(name: str) -> None:
    os.unlink(name)


def break_shorter(name: str) -> None:
    os.truncate(name, 10)


def break_content(name: str) -> None:
    with open(name, "r+b") as file:
        file.seek(100)
        file.write(b"!")


def break_directory(name: str) -> None:
    os.unlink(name)
    os.mkdir(name)


def break_symlink(name: str) -> None:
    os.rename(name, name + "-moved")
    os.symlink(name + "-moved", name)


def break_fifo(name: str) -> None:
    os.unlink(name)
    os.mkfifo(name)


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (break_missing, "is missing"),
        (break_shorter, "10 bytes, and .* were claimed"),
        (break_content, "checksum"),
        (break_directory, "no regular file|belongs"),
        (break_symlink, "no regular file"),
        (break_fifo, "no regular file"),
    ],
)
def test_a_claim_on_a_wrong_file_is_skipped_and_get_goes_on(
    pq: SimplePipeQueue, path: str, harm: Callable[[str], None], reason: str
) -> None:
    pq.put(LONG)
    pq.put("next")
    [name] = files(path)
    name = os.path.join(os.path.dirname(path), name)
    harm(name)
    with pytest.warns(ForeignBytesWarning, match=reason):
        assert pq.get(PATIENCE_S) == "next"
    if harm is break_directory:
        os.rmdir(name)
    if harm is break_symlink:
        os.unlink(name + "-moved")


@pytest.mark.parametrize("payload", [b"", b"short", _claims.Claim(b"i" * 16, 1 << 40, 0).pack(), b"x" * 28])
def test_a_claim_that_is_none_is_skipped(pq: SimplePipeQueue, foreigner: int, payload: bytes) -> None:
    os.write(foreigner, _frames.encode_frame(_frames.CLAIM, payload) or b"")
    pq.put(1)
    with pytest.warns(ForeignBytesWarning, match=r"claim|missing"):
        assert pq.get_nowait() == 1


def test_a_claim_goes_nowhere_else(pq: SimplePipeQueue, path: str, foreigner: int) -> None:
    """The identity in a claim is bytes, whose hexadecimal digits name the file: it cannot be a path."""
    claim = _claims.claim_for(b"\xc0", b"/../../etc/passw")
    os.write(foreigner, _frames.encode_frame(_frames.CLAIM, claim.pack()) or b"")
    with pytest.warns(ForeignBytesWarning, match="2f2e2e2f.* is missing"), pytest.raises(queue.Empty):
        pq.get_nowait()


@pytest.mark.parametrize(("number", "calls"), [("EMFILE", "open"), ("EMFILE", "open stat"), ("EPERM", "open")])
def test_a_get_that_the_system_refuses_for_now_fails_and_loses_nothing(
    pq: SimplePipeQueue, monkeypatch: pytest.MonkeyPatch, number: str, calls: str
) -> None:
    pq.put(LONG)
    pq.put("next")

    def fail(*args: Any, **kwargs: Any) -> int:
        raise OSError(getattr(errno, number), number)

    with monkeypatch.context() as patch:
        for call in calls.split():
            patch.setattr(os, call, fail)
        with pytest.raises(OSError, match=number):
            pq.get_nowait()
        with pytest.raises(OSError, match=number):
            pq.get_many(2)
    assert pq.get_many(5) == [LONG, "next"]


@pytest.mark.parametrize("call", ["open", "fchmod", "write", "close"])
def test_a_put_without_space_fails_and_leaves_nothing(
    pq: SimplePipeQueue, path: str, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    real = getattr(os, call)

    def fail(*args: Any, **kwargs: Any) -> Any:
        if call in ("write", "close"):
            real(args[0], b"half") if call == "write" else real(*args)
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(OSError, match="No space left"):
            pq.put(LONG)
    assert not files(path)
    # A write of "half" went to the file, never to the pipe.
    assert pq.empty()


# In a mount namespace of its own, so that the disk goes with the process, whatever becomes of either.
ON_A_SMALL_DISK = """
mount -t tmpfs -o size=64k tmpfs "$1" || exit 77
exec "$2" -W error -c '
import os, sys
from monkeywrench.pipes import SimplePipeQueue
long = b"long" * 5000
with SimplePipeQueue(sys.argv[1] + "/fifo", history=False) as pq:
    pq.put(long)
    try:
        pq.put(long * 10)
    except OSError as error:
        print(error)
    pq.put("short")
    assert [pq.get_nowait(), pq.get_nowait()] == [long, "short"]
    assert {name for name in os.listdir(sys.argv[1]) if not name.endswith("-lock")} == {"fifo"}
    pq.put(long)
    assert pq.get_nowait() == long
' "$1"
"""


@pytest.mark.usefixtures("system")
@pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare(1) to mount a disk that goes with its process")
def test_a_full_disk_fails_the_long_put_alone(tmp_path: Path) -> None:
    command = ["unshare", "--mount", "sh", "-c", ON_A_SMALL_DISK, "sh", tmp_path, sys.executable]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    if done.returncode == 77 or done.stderr.startswith("unshare:"):
        pytest.skip(f"only root can mount a small disk: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    assert "No space left on device" in done.stdout
    assert str(tmp_path) in done.stdout


def test_a_write_that_is_cut_short_is_repeated_as_a_whole(pq: SimplePipeQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    """No kernel does it to so short a write, but what stands between may."""
    real = os.write
    with monkeypatch.context() as patch:
        cut = iter([9])
        patch.setattr(os, "write", lambda fd, data: real(fd, data[: next(cut, len(data))]))
        pq.put("whole")
    with pytest.warns(ForeignBytesWarning, match="cut off|no frame"):
        assert pq.get() == "whole"
    assert pq.empty()


# -- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [-1, float("nan"), "1", True, b"", [1]])
def test_a_bad_timeout_is_refused_with_the_value(pq: SimplePipeQueue, timeout: Any) -> None:
    calls: list[Callable[[], object]] = [
        lambda: pq.get(timeout),
        lambda: pq.put(1, timeout),
        lambda: pq.drain(timeout),
        lambda: pq.get_many(1, timeout),
        lambda: pq.put_many([1], timeout),
    ]
    for call in calls:
        with pytest.raises((TypeError, ValueError), match="timeout must be") as caught:
            call()
        assert repr(timeout) in str(caught.value)
    assert pq.empty()


@pytest.mark.parametrize("timeout", [float("inf"), 1e12, pytest.param(10**400, id="10**400"), 0, 0.0])
def test_any_timeout_from_zero_is_taken(pq: SimplePipeQueue, timeout: float) -> None:
    pq.put(1, timeout)
    assert pq.get(timeout) == 1
    pq.put(LONG, timeout)
    assert pq.get_many(1, timeout) == [LONG]
    pq.put_many([2], timeout)
    thread = threading.Thread(target=pq.get)
    thread.start()
    if timeout:
        pq.drain(timeout)
    thread.join()


def test_what_is_refused_is_shown_however_long(pq: SimplePipeQueue, path: str) -> None:
    """Python writes no number of more than some thousand digits."""

    class Dumb:
        def __repr__(self) -> str:
            raise AttributeError("no text")

    number: Any = 10**5000
    calls: list[tuple[str, Callable[[], object]]] = [
        ("timeout must be", lambda: pq.get(-number)),
        ("timeout must be", lambda: pq.put(1, [number])),  # type: ignore[arg-type]
        ("timeout must be", lambda: pq.drain(Dumb())),  # type: ignore[arg-type]
        ("n must be", lambda: pq.get_many(-number)),
        ("n must be", lambda: pq.get_many((number,))),  # type: ignore[arg-type]
        ("capacity must be", lambda: SimplePipeQueue(path, capacity=number)),
        ("capacity must be", lambda: SimplePipeQueue(path, capacity="x" * 1000)),  # type: ignore[arg-type]
        ("mode must be", lambda: SimplePipeQueue(path, mode=number)),
        ("mode must be", lambda: SimplePipeQueue(path, mode={number})),  # type: ignore[arg-type]
    ]
    for said, call in calls:
        with pytest.raises((TypeError, ValueError), match=said) as caught:
            call()
        assert len(str(caught.value)) < 300
    assert pq.empty()


def test_an_endless_timeout_waits(pq: SimplePipeQueue) -> None:
    thread = threading.Thread(target=lambda: pq.put("late"))
    assert not select.select([pq._in], [], [], 0)[0]
    thread.start()
    assert pq.get(float("inf")) == "late"
    thread.join()


@pytest.mark.parametrize("n", [-1, 1.5, "1", True, None])
def test_a_bad_count_is_refused_with_the_value(pq: SimplePipeQueue, n: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="n must be") as caught:
        pq.get_many(n)
    assert repr(n) in str(caught.value)


def test_a_message_that_cannot_be_put_leaves_the_queue_as_it_was(pq: SimplePipeQueue) -> None:
    for put in (pq.put, pq.put_nowait):
        with pytest.raises(TypeError, match=r"msg\[2\]\['k'\]"):
            put((1, 2, {"k": object()}))
    assert pq.empty()
    pq.put(1)
    assert pq.get() == 1
