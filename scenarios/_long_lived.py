"""One producer and one consumer that exchange messages without end, for whoever watches what they use.

``python -m monkeywrench.scenarios._long_lived QUEUE DIRECTORY SEED PARENT``, with the parent's pid. It prints the pids
of all three processes as one line of JSON, and ends by SIGTERM, with its parent, or if a peer ends. How many messages
have gone is in ``counts``; why a peer ended in ``finding``: the kind, and one sentence.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import signal
import struct
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from monkeywrench.harness import _system
from monkeywrench.harness.adapters import Adapter, load
from monkeywrench.harness.workload import Workload

COUNTS, FINDING = "counts", "finding"
PRODUCER, CONSUMER = "producer-0", "consumer-0"
_COUNT = struct.Struct("Q")
_LARGE_EVERY = 100
# A producer may be two batches ahead and no more: a queue without bounds would fill the memory, and rightly so.
_BATCH, _AHEAD = 50, 2


def main(queue: str, directory: Path, seed: int, parent: int) -> int:
    """Make the queue, start the peers, and wait for the end."""
    _system.die_with_parent(parent)
    adapter = load(queue)
    (directory / "queue").mkdir()
    adapter.make(directory / "queue")
    workload = Workload(seed, large_every=_LARGE_EVERY, types=adapter.guarantees.types)
    (directory / COUNTS).write_bytes(bytes(2 * _COUNT.size))
    allowed = os.pipe()
    os.write(allowed[1], bytes(_AHEAD))
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGCHLD, signal.SIGTERM))
    pids = [
        _fork(lambda counts: _produce(adapter, workload, counts, allowed[0]), PRODUCER, directory),
        _fork(lambda counts: _consume(adapter, workload, counts, allowed[1]), CONSUMER, directory),
    ]
    print(json.dumps([os.getpid(), *pids]), flush=True)  # noqa: T201 -- this is what the parent reads
    ended = 0
    while signal.sigwait((signal.SIGCHLD, signal.SIGTERM)) == signal.SIGCHLD:
        ended = next((pid for pid in pids if os.waitpid(pid, os.WNOHANG)[0]), 0)
        if ended:
            break
    for pid in pids:
        if pid != ended:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    adapter.destroy()
    return 1 if ended else 0


def counts_in(directory: Path) -> tuple[int, int]:
    """Return how many messages have been put, and how many received."""
    put, received = _COUNT.iter_unpack((directory / COUNTS).read_bytes())
    return put[0], received[0]


def _fork(part: Callable[[memoryview], None], name: str, directory: Path) -> int:
    root = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        _system.die_with_parent(root)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGCHLD, signal.SIGTERM))
        with open(directory / COUNTS, "r+b") as file:
            part(memoryview(mmap.mmap(file.fileno(), 0)).cast("Q"))
    except _WrongError as wrong:
        (directory / FINDING).write_text(f"{wrong.kind}\n{wrong}\n")
    except BaseException:  # whatever a queue raises is told
        (directory / FINDING).write_text(f"crashed\n{name} crashed:\n{traceback.format_exc()}")
    finally:
        os._exit(1)


class _WrongError(Exception):
    """What a consumer got is not what it should have got."""

    def __init__(self, kind: str, sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


def _produce(adapter: Adapter, workload: Workload, counts: memoryview, allowance: int) -> None:
    end = adapter.open("producer")
    number = 0
    while os.read(allowance, 1):
        for _ in range(_BATCH):
            # In one piece, which struct.pack_into does not promise; and before anybody can have it.
            counts[0] = number + 1
            adapter.put(end, workload.message(0, number))
            number += 1


def _consume(adapter: Adapter, workload: Workload, counts: memoryview, allowance: int) -> None:
    end = adapter.open("consumer")
    in_order = adapter.guarantees.order == "per-producer" and not adapter.guarantees.duplicates
    received = 0
    early = missing = -1
    while True:
        explained = workload.explain(got := adapter.get(end))
        if explained is None:
            raise _WrongError(
                "unexpected", f"{CONSUMER} got what nobody put, as its message {received + 1}: {got!r:.200}"
            )
        _, number, defect = explained
        if defect:
            raise _WrongError("corrupted", f"{CONSUMER} got message {number} corrupted: {defect}")
        if missing >= 0:
            if number == missing:
                raise _WrongError("reordered", f"{CONSUMER} got message {early} before message {missing}")
            if received == missing + _BATCH:
                raise _WrongError("lost", f"{CONSUMER} got message {early} where message {missing} was to come")
        elif in_order and number < received:
            raise _WrongError("duplicated", f"{CONSUMER} got message {number} where message {received} was to come")
        elif in_order and number > received:
            early, missing = number, received  # lost or overtaken: the next ones tell
        received += 1
        counts[1] = received
        if received % _BATCH == 0:
            os.write(allowance, b"\0")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])))
