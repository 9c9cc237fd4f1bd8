"""A trial summed up in steps of time. How long it takes is known only in the end, so the steps grow with it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

QUANTILES = (0.5, 0.95, 0.99, 0.999)
_NARROWEST_NS = 10_000
# Buckets of latencies to an octave: a quantile is right to 2.2 %.
_FINE = 16


class _Step:
    """What happened in one step of time. ``latencies`` counts the messages received by the logarithm of theirs."""

    __slots__ = ("busy", "flight", "got", "latencies", "put")

    def __init__(self) -> None:
        self.put = 0
        self.got = 0
        self.flight = 0
        self.latencies: Counter[int] = Counter()
        self.busy: Counter[int] = Counter()

    def absorb(self, later: _Step) -> None:
        """Take in what happened in the step after this one."""
        self.put += later.put
        self.got += later.got
        self.flight = max(self.flight, later.flight)
        self.latencies.update(later.latencies)
        self.busy.update(later.busy)


class Bins:
    """At most *most* steps of equal width: doubled, and the steps joined two by two, whenever time runs out of them."""

    def __init__(self, most: int) -> None:
        self.width_ns = _NARROWEST_NS
        self._most = most
        self._steps: list[_Step] = []
        # Messages whose put has begun and which nobody has received: when it began.
        self._begun: dict[tuple[int, int], int] = {}

    def put_begins(self, time_ns: int, message: tuple[int, int]) -> None:
        """A put of a message begins."""
        self._begun[message] = time_ns
        self._note_flight(self._at(time_ns))

    def put_ends(self, time_ns: int, message: tuple[int, int], lane: int, *, ok: bool) -> None:
        """A put of a message returns, or fails."""
        step = self._at(time_ns)
        step.busy[lane] += 1
        if ok:
            step.put += 1
        else:
            self._begun.pop(message, None)

    def get_ends(self, time_ns: int, message: tuple[int, int] | None, lane: int) -> None:
        """A get returns a message, or what is none, or fails."""
        step = self._at(time_ns)
        step.busy[lane] += 1
        if message is None:
            return
        step.got += 1
        began = self._begun.pop(message, None)
        if began is not None:
            step.latencies[int(math.log2(max(1, time_ns - began)) * _FINE)] += 1
        self._note_flight(step)

    def to_json(self, lanes: int, last_ns: int) -> dict[str, Any]:
        """Return the steps up to *last_ns* as columns: rates a second, latencies in ms, and how many puts and gets of
        each lane ended.

        What goes on in no step at all is left out: ``flight`` of a step without an event is that of the step before.
        """
        self._at(last_ns)
        flight: list[int] = []
        for step in self._steps:
            quiet = not (step.put or step.got or step.flight or step.busy)
            flight.append(flight[-1] if quiet and flight else step.flight)
        seconds = self.width_ns / 1e9
        latency = [quantiles(step.latencies) for step in self._steps]
        return {
            "width": self.width_ns,
            "put": [_short(step.put / seconds) for step in self._steps],
            "got": [_short(step.got / seconds) for step in self._steps],
            "flight": flight,
            "latency": [[row[each] for row in latency] for each in range(len(QUANTILES))],
            "busy": [[step.busy[lane] for step in self._steps] for lane in range(lanes)],
        }

    def total(self) -> Sequence[float | None]:
        """Return the quantiles of all latencies, in ms; None where nothing was received."""
        total: Counter[int] = Counter()
        for step in self._steps:
            total.update(step.latencies)
        return quantiles(total)

    def _note_flight(self, step: _Step) -> None:
        step.flight = max(step.flight, len(self._begun))

    def _at(self, time_ns: int) -> _Step:
        place = time_ns // self.width_ns
        while place >= self._most:
            for left in range(0, len(self._steps) - 1, 2):
                self._steps[left].absorb(self._steps[left + 1])
            del self._steps[1::2]
            self.width_ns *= 2
            place = time_ns // self.width_ns
        while place >= len(self._steps):
            self._steps.append(_Step())
        return self._steps[place]


def quantiles(latencies: Counter[int]) -> list[float | None]:
    """Return the quantiles in ms of a count by logarithm; None for each if it is empty."""
    total = latencies.total()
    if not total:
        return [None] * len(QUANTILES)
    found: list[float | None] = []
    ordered = sorted(latencies.items())
    seen, at = 0, -1
    for quantile in QUANTILES:
        while seen < math.ceil(quantile * total):
            at += 1
            seen += ordered[at][1]
        found.append(_short(2 ** ((ordered[at][0] + 0.5) / _FINE) / 1e6))
    return found


def _short(value: float) -> float:
    """Return the value to four digits: nobody sees more in a chart, and it is half the bytes."""
    return float(f"{value:.4g}")
