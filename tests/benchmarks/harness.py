"""How fast the harness is, beside doing the same without it; all in turn in one run, round after round.

``python tests/benchmarks/harness.py``. Trials: one producer and one consumer, 20 messages, the producer is killed after
its tenth, fresh peers exchange a message, what was received is checked. Beside them the same over multiprocessing's
spawn; then both once more, as many at once as there are processors. Messages: very many from one producer to one
consumer, with full history and all checks. Beside them the same messages over the same queue in a bare loop, made
before the clock starts. It also prints the most memory that the process had which ran the trial and checked it.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

from monkeywrench.pipes import SimplePipeQueue

MESSAGES, KILLED_AFTER = 20, 10
LAST = -1
_LONGEST_S = 900
_PROCESSORS = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def trials(count: int) -> None:
    """Print trials a second of the harness."""
    from monkeywrench.harness import Trial, messages

    def one(seed: int) -> None:
        verdict = Trial(messages=MESSAGES, large_every=0, seed=seed).kill("producer-0", at=messages(KILLED_AFTER)).run()
        assert verdict.valid, verdict
        assert verdict.counts["received"] == KILLED_AFTER, verdict

    print(repr(_rate(one, count)), repr(_rate(one, count, at_once=_PROCESSORS)))


def spawned(count: int) -> None:
    """Print trials a second by hand, of processes that multiprocessing spawns."""
    context = multiprocessing.get_context("spawn")

    def one(_: int) -> None:
        with tempfile.TemporaryDirectory(prefix="monkeywrench-") as directory:
            path = os.path.join(directory, "bench.fifo")
            with SimplePipeQueue(path, history=False):
                mine, theirs = context.Pipe(duplex=False)
                producer = context.Process(target=_produce, args=(path,))
                consumers = [context.Process(target=_consume, args=(path, theirs)) for _ in range(2)]
                producer.start()
                consumers[0].start()
                producer.join()
                healer = context.Process(target=_heal, args=(path,))
                consumers[1].start()
                healer.start()
                received = mine.recv() + mine.recv()
                for process in (*consumers, healer):
                    process.join()
                    assert process.exitcode == 0, process
                assert producer.exitcode == -signal.SIGKILL, producer
                assert sorted(received) == [(number, "First message.") for number in range(KILLED_AFTER)], received
                mine.close()
                theirs.close()

    print(repr(_rate(one, count)), repr(_rate(one, count, at_once=_PROCESSORS)))


def _produce(path: str) -> None:
    queue = SimplePipeQueue.pipequeue(path)
    for number in range(MESSAGES):
        queue.put((number, "First message."))
        if number + 1 == KILLED_AFTER:
            os.kill(os.getpid(), signal.SIGKILL)


def _consume(path: str, told: Connection) -> None:
    with SimplePipeQueue(path) as queue:
        told.send(list(iter(queue.get, LAST)))


def _heal(path: str) -> None:
    with SimplePipeQueue(path) as queue:
        queue.put(LAST)
        queue.put(LAST)


def _rate(one: Callable[[int], None], count: int, *, at_once: int = 1) -> float:
    one(0)  # what is made once is made
    began = time.monotonic()
    with ThreadPoolExecutor(at_once) as pool:
        for _ in pool.map(one, range(1, count + 1)):
            pass
    return count / (time.monotonic() - began)


def checked(count: int) -> None:
    """Print messages a second of one trial, its verdict included, and this process's peak of memory in MB."""
    from monkeywrench.harness import Trial

    Trial(messages=1, seed=1).run()
    trial = Trial(messages=count, large_every=0, seed=1, deadline_s=_LONGEST_S, patience_s=60)
    began = time.monotonic()
    verdict = trial.run()
    rate = count / (time.monotonic() - began)
    assert verdict.valid, verdict
    assert verdict.counts["received"] == count, verdict
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    print(repr(rate), repr(peak))


def bare(count: int) -> None:
    """Print messages a second of the same queue in a loop, from the first put to the last get."""
    from monkeywrench.harness.workload import Workload

    with tempfile.TemporaryDirectory(prefix="monkeywrench-") as directory:
        path = os.path.join(directory, "bench.fifo")
        with SimplePipeQueue(path, history=False) as queue:
            ready, is_ready = os.pipe()
            pid = os.fork()
            if pid == 0:
                status = 1
                try:
                    signal.alarm(_LONGEST_S)
                    os.close(ready)
                    workload = Workload(1, large_every=0)
                    messages = [workload.message(0, number) for number in range(count)]
                    producer = SimplePipeQueue.pipequeue(path)
                    put = producer.put
                    os.close(is_ready)
                    for message in messages:
                        put(message)
                    producer.close()
                    status = 0
                finally:
                    os._exit(status)
            os.close(is_ready)
            os.read(ready, 1)
            get = queue.get
            began = time.monotonic()
            for _ in range(count):
                get()
            rate = count / (time.monotonic() - began)
            assert os.waitpid(pid, 0)[1] == 0
    print(repr(rate))


PARTS: dict[str, Callable[[int], None]] = {each.__name__: each for each in (trials, spawned, bare, checked)}


def _figures(part: str, count: int) -> list[float]:
    """Return what one part prints, run in an interpreter of its own."""
    command = [sys.executable, __file__, "--part", part, "--count", str(count)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=2 * _LONGEST_S)
    return [float(figure) for figure in done.stdout.split()]


def _tell(what: str, figures: list[float], unit: str) -> None:
    print(f"{what:<48} {statistics.median(figures):>12,.1f} {min(figures):>12,.1f} {max(figures):>12,.1f}  {unit}")


def main() -> None:
    """Run everything, and print the medians, the least and the most."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="how often each is timed (default: %(default)s)")
    parser.add_argument("--trials", type=int, default=60, help="in one timing, 0 for none (default: %(default)s)")
    parser.add_argument("--messages", type=int, default=1_000_000, help="0 for none (default: %(default)s)")
    parser.add_argument("--part", choices=list(PARTS), help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.part:
        PARTS[options.part](options.count)
        return
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(options.rounds):
        if options.trials:
            for part, count in (("trials", options.trials), ("spawned", max(options.trials // 10, 1))):
                alone, at_once = _figures(part, count)
                found[part].append(alone)
                found[f"{part} at once"].append(at_once)
        if options.messages:
            found["bare"] += _figures("bare", options.messages)
            rate, peak = _figures("checked", options.messages)
            found["checked"].append(rate)
            found["peak"].append(peak)
    print(f"{'':<48} {'median':>12} {'min':>12} {'max':>12}")
    if options.trials:
        for how in ("", " at once"):
            _tell(f"trials{f', {_PROCESSORS}{how}' if how else ''}", found[f"trials{how}"], "a second")
            _tell("the same over multiprocessing's spawn", found[f"spawned{how}"], "a second")
            ratios = [one / other for one, other in zip(found[f"trials{how}"], found[f"spawned{how}"], strict=True)]
            _tell("ratio, round by round", ratios, "times")
    if options.messages:
        _tell(f"{options.messages:,} messages, history and checks", found["checked"], "messages a second")
        _tell("the same messages over the bare queue", found["bare"], "messages a second")
        ratios = [100 * one / other for one, other in zip(found["checked"], found["bare"], strict=True)]
        _tell("ratio, round by round", ratios, "%")
        _tell("most memory of the checking process", found["peak"], "MB")


if __name__ == "__main__":
    main()
