"""Time one queue in one shape, in an interpreter of its own, and print messages a second.

``python -m monkeywrench.scenarios._measure CONTENDER SHAPE``. It forks its producers and consumers, as a fresh process
without threads can.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ._contenders import CONTENDERS, Contender, End

BATCH = 100
_TIMES = struct.Struct("dd")
_LONGEST_S = 100


@dataclass(frozen=True, slots=True)
class Shape:
    """How messages go: how many, of what size, from how many to how many, one by one or in batches.

    messages: divisible by producers, by consumers, and by the batch.
    payload_bytes: 0 for the small message of the published figures.
    trip: whether each message is answered before the next is put.
    """

    sentence: str
    messages: int
    producers: int = 1
    consumers: int = 1
    payload_bytes: int = 0
    batch: bool = False
    trip: bool = False


SHAPES: dict[str, Shape] = {
    "small": Shape("small messages, one by one", 60_000),
    "batches": Shape(f"small messages, {BATCH} at a time where the queue can", 120_000, batch=True),
    "1 MiB": Shape("messages of 1 MiB", 300, payload_bytes=1 << 20),
    "4 to 1": Shape("small messages, four producers, one consumer", 40_000, producers=4),
    "1 to 4": Shape("small messages, one producer, four consumers", 40_000, consumers=4),
    "round trips": Shape("a small message there and one back, in turn", 6_000, trip=True),
}


def main(contender: str, shape: str) -> None:
    """Time, and print one number."""
    chosen = next(each for each in CONTENDERS if each.name == contender)
    print(repr(measure(chosen(), SHAPES[shape])))  # noqa: T201 -- this is what the caller reads


def measure(contender: Contender, shape: Shape) -> float:
    """Return messages a second, from when the first producer begins until the last consumer is done."""
    message: Any = (12_345, "First message." if not shape.payload_bytes else os.urandom(shape.payload_bytes))
    if contender.raw:
        message = message[1] if shape.payload_bytes else b"x" * 40
        type(contender).sample = message  # type: ignore[attr-defined]
    with contender.make() as there, contender.make() as back:
        producers: list[Callable[[End, End], None]] = [_producer(shape, message)] * shape.producers
        consumers: list[Callable[[End, End], None]] = [_consumer(shape, message)] * shape.consumers
        times = _run([*producers, *consumers], there, back)
    return shape.messages / (max(end for _, end in times) - min(begin for begin, _ in times))


def _producer(shape: Shape, message: Any) -> Callable[[End, End], None]:
    count = shape.messages // shape.producers

    def produce(there: End, back: End) -> None:
        if shape.trip:
            put, get = there.put, back.get
            for _ in range(count):
                put(message)
                get()
        elif shape.batch and there.put_many is not None:
            messages = [message] * BATCH
            for _ in range(count // BATCH):
                there.put_many(messages)
        else:
            put = there.put
            for _ in range(count):
                put(message)

    return produce


def _consumer(shape: Shape, message: Any) -> Callable[[End, End], None]:
    count = shape.messages // shape.consumers

    def consume(there: End, back: End) -> None:
        if shape.trip:
            get, put = there.get, back.put
            for _ in range(count):
                get()
                put(message)
        elif shape.batch and there.get_many is not None:
            left = count
            while left:
                left -= len(there.get_many(min(left, BATCH)))
        else:
            get = there.get
            for _ in range(count):
                get()

    return consume


def _run(
    works: list[Callable[[End, End], None]], there: Callable[[], End], back: Callable[[], End]
) -> list[tuple[float, float]]:
    """Run each work in a fork, all from one moment on; return when each began and ended."""
    ready, is_ready = os.pipe()
    go, start = os.pipe()
    told, tell = os.pipe()
    pids = []
    for work in works:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                signal.alarm(_LONGEST_S)  # whatever a queue does, this ends
                os.close(start)
                ends = there(), back()
                os.write(is_ready, b".")
                os.read(go, 1)
                began = time.monotonic()
                work(*ends)
                os.write(tell, _TIMES.pack(began, time.monotonic()))
                for end in ends:
                    end.close()
                status = 0
            finally:
                os._exit(status)
        pids.append(pid)
    left = len(works)
    while left:
        left -= len(os.read(ready, left))
    os.close(start)
    failed = [pid for pid in pids if os.waitpid(pid, 0)[1] != 0]
    if failed:
        raise SystemExit(f"{len(failed)} of {len(pids)} processes failed, or took more than {_LONGEST_S} s")
    return [_TIMES.unpack(os.read(told, _TIMES.size)) for _ in works]


if __name__ == "__main__":
    main(*sys.argv[1:])
