"""Watch one long-lived workload, and the harness itself, while trials with faults run beside it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from monkeywrench.harness import Finding, HarnessError, History, Verdict, _client
from monkeywrench.harness.adapters import load
from monkeywrench.harness.plan import Plan
from monkeywrench.harness.verdict import INVALID, UNKNOWN, VALID

from . import _long_lived
from ._pool import Failed, Pool, Todo
from ._result import Result
from ._terminal import Terminated, count_of
from ._trend import ENOUGH, Series

_SAMPLES = 200
_SHORTEST_S, _LONGEST_S = 0.02, 5.0
_END_S = 20.0
# How fast something goes depends on who else is at work on the machine.
_SHORTEST_TREND_S = 60.0
# Of its throughput. What takes longer with everything that it has ever done loses so much in the time that is looked
# at, and less and less later on.
_LOST_SHARE = 0.35
_TEMPORARY = "temporary"
_MESSAGES_S = 60.0  # until the first message has come
# So many in a row that cannot apply to the queue: then none does, and to try more of them would take all the time.
_NONE_APPLIES = 50


def soak(
    trials: Iterable[Todo],
    *,
    scenario: str,
    queue: str,
    command: str,
    seed: int,
    seconds: float,
    patience_s: float,
    jobs: int,
    say: Callable[[str], None],
    alive: Callable[[str], None],
) -> Generator[Result]:
    """Run trials beside the long-lived workload, for so many seconds; yield those that are not valid as they come, and
    at last what became of the workload. Ctrl-C and SIGTERM, in here or thrown in, are raised again after that.
    """
    adapter = load(queue)
    plan = Plan(queue=queue, seed=seed, patience_s=patience_s, name=f"{scenario}: the long-lived workload")
    began = time.monotonic()
    tick_s = min(max(seconds / _SAMPLES, _SHORTEST_S), _LONGEST_S)
    count = not_applicable = 0
    reasons: set[str] = set()
    stopped: BaseException | None = None

    def until_the_end() -> Iterator[Todo]:
        for todo in trials:
            if time.monotonic() >= end or workload.finding is not None or not_applicable >= _NONE_APPLIES:
                return
            yield todo

    with _client.directory() as directory, _Workload(queue, directory, seed, patience_s) as workload:
        end = time.monotonic() + seconds
        watch = _Watch(workload)
        try:
            with Pool(until_the_end(), jobs) as pool:
                for result in pool.results(tick_s):
                    if isinstance(result, Failed):
                        raise result.error
                    if result is not None and result.not_applicable is not None:
                        not_applicable += 1
                        if result.not_applicable not in reasons:
                            reasons.add(result.not_applicable)
                            yield result
                    elif result is not None:
                        count += 1
                        not_applicable = 0
                        if result.verdict is None or not result.verdict.valid:
                            yield result
                    watch.sample(count, tick_s)
                    alive(f"{scenario}: {count_of(count, 'trial')} beside {count_of(watch.received, 'message')}")
            # Trials there may be few of, or none that apply: the workload goes on all the same, until there is enough
            # to tell a trend from. And only a message that comes late shows that it has not got stuck just before.
            _, last = workload.counts()
            while workload.finding is None and (
                time.monotonic() < end or watch.received <= last or watch.samples < ENOUGH
            ):
                time.sleep(tick_s)
                watch.sample(count, tick_s)
                alive(f"{scenario}: {count_of(count, 'trial')} beside {count_of(watch.received, 'message')}")
        except (KeyboardInterrupt, Terminated) as error:
            stopped = error
        series = watch.series()
        put, received = workload.counts()
    findings = [workload.finding] if workload.finding else []
    doubts = []
    for each in series:
        say(f"  {each.summary()}")
        told = each.keeps_going()
        if told and each.name.startswith("the harness"):
            doubts.append(told)
        elif told:
            findings.append(Finding("slowed" if each.falling else "leaked", told))
    if not received:
        doubts.append("no message was received")
    took = time.monotonic() - began
    done = f"{count_of(count, 'trial')} beside {count_of(received, 'message')}"
    if stopped is not None:
        doubts.append(f"it was stopped after {took:.0f} of {seconds:g} s, with {done}")
    verdict = Verdict(
        status=INVALID if findings else UNKNOWN if doubts else VALID,
        findings=tuple(findings),
        doubts=tuple(doubts),
        counts={"put": put, "received": received, "recovered": 0},
        struck=(),
        history=History(plan, adapter.guarantees, ()),
        replay=command,
    )
    say(f"  {done}, in {took:.0f} s")
    yield Result(
        scenario=scenario,
        plan=plan,
        verdict=verdict,
        not_applicable=None,
        seconds=took,
        command=command,
        series=tuple(series),
    )
    if stopped is not None:
        raise stopped


class _Workload:
    """The processes that exchange messages without end, as long as the context lasts."""

    def __init__(self, queue: str, directory: Path, seed: int, patience_s: float) -> None:
        self._directory = directory
        self._patience_s = patience_s
        self._output = open(directory / "output", "wb")
        (directory / _TEMPORARY).mkdir()
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "monkeywrench.scenarios._long_lived"),
                *(queue, str(directory), str(seed), str(os.getpid())),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._output,
            env={**os.environ, "TMPDIR": str(directory / _TEMPORARY)},
            start_new_session=True,
        )
        self._received, self._moved = 0, time.monotonic()
        self.finding: Finding | None = None

    def __enter__(self) -> Self:
        assert self._process.stdout is not None
        try:
            line = self._process.stdout.readline()
            if not line:
                self._process.wait(_END_S)
                said = (self._directory / "output").read_text(errors="replace").strip()
                raise HarnessError(f"the long-lived workload did not begin. It said:\n{said}")
            self.pids: list[int] = json.loads(line)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_END_S)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._output.close()

    def counts(self) -> tuple[int, int]:
        """Return how many messages have been put, and how many received."""
        return _long_lived.counts_in(self._directory)

    def files(self) -> int:
        """Return how many files there are in the queue's directory, and among its temporary files."""
        places = (self._directory / "queue", self._directory / _TEMPORARY)
        return sum(len(below) + len(files) for place in places for _, below, files in os.walk(place))

    def look(self, received: int) -> None:
        """See whether it still goes on."""
        now = time.monotonic()
        if received != self._received:
            self._received, self._moved = received, now
        if self._process.poll() is not None:
            kind, _, rest = self._told().partition("\n")
            sentence, *details = rest.splitlines() or ["a peer of the long-lived workload ended, and nobody knows why"]
            self.finding = Finding(kind or "crashed", sentence, details=tuple(details))
        elif now - self._moved > (self._patience_s if received else max(_MESSAGES_S, self._patience_s)):
            sentence = f"the long-lived workload stands still since message {received}, for {now - self._moved:.1f} s"
            self.finding = Finding("stuck", sentence, (_long_lived.PRODUCER, _long_lived.CONSUMER))

    def _told(self) -> str:
        try:
            return (self._directory / _long_lived.FINDING).read_text(errors="replace")
        except FileNotFoundError:
            return ""


@dataclass(slots=True)
class _Watch:
    """What is measured, again and again."""

    workload: _Workload
    began: float = field(default_factory=time.monotonic)
    last: float = 0.0
    received: int = 0
    trials: int = 0
    samples: int = 0
    points: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    def sample(self, trials: int, every_s: float) -> None:
        """Measure all, if it is time."""
        now = time.monotonic() - self.began
        if now - self.last < every_s:
            return
        _, received = self.workload.counts()
        self.workload.look(received)
        ancestor = _client.ancestor().process.pid
        usage = {"the queue": _usage(self.workload.pids), "the harness": _usage([os.getpid(), ancestor])}
        for whose, used in usage.items():
            if used is not None and self.workload.finding is None:
                self._add(f"{whose}'s memory", now, used[0])
                self._add(f"{whose}'s descriptors", now, used[1])
        self._add("the queue's files", now, self.workload.files())
        self._add("the queue's throughput", now, (received - self.received) / (now - self.last))
        self._add("the harness's throughput", now, (trials - self.trials) / (now - self.last))
        self.last, self.received, self.trials = now, received, trials
        self.samples += 1

    def _add(self, name: str, now: float, value: float) -> None:
        self.points.setdefault(name, []).append((now, value))

    def series(self) -> list[Series]:
        """Return all series, each with what it is allowed to grow."""

        def of(name: str, unit: str, **limits: Any) -> Series:
            return Series(name=name, unit=unit, points=tuple(self.points.get(name, ())), **limits)

        slower = {"falling": True, "share": _LOST_SHARE, "shortest_s": _SHORTEST_TREND_S}

        return [
            of("the queue's memory", "KiB", slack=1024, share=0.05),
            of("the queue's descriptors", "descriptors", slack=3),
            of("the queue's files", "files", slack=3),
            of("the queue's throughput", "messages/s", **slower),
            of("the harness's memory", "KiB", slack=4096, share=0.1),
            of("the harness's descriptors", "descriptors", slack=8),
            of("the harness's throughput", "trials/s", **slower),
        ]


def _usage(pids: Iterable[int]) -> tuple[float, float] | None:
    """Return the memory that these processes share with no file, in KiB, and their descriptors; or ``None`` where the
    system does not tell.
    """
    memory = descriptors = 0
    try:
        for pid in pids:
            with open(f"/proc/{pid}/status") as file:
                memory += next(int(line.split()[1]) for line in file if line.startswith("RssAnon:"))
            descriptors += len(os.listdir(f"/proc/{pid}/fd"))
    except (OSError, StopIteration):
        return None
    return memory, descriptors
