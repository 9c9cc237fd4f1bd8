"""What the page draws of one trial: the neighbourhood of what matters whole, and all the rest summed up.

Events go in one by one, once; what is held does not grow with their number, except for messages that are on their way.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple

from monkeywrench.harness.history import Event, History
from monkeywrench.harness.verdict import Verdict

from ._bins import Bins
from ._words import how_ended, sentence

PUT, GET = 0, 1
OK, FAILED, OPEN = 0, 1, 2
# Of one finding, and of one kind of mark, so many are shown: more of the same tell nothing more.
MOST_EVENTS, MOST_MARKS = 8, 60
_LONGEST = 120
# Peers with a lane of their own; all others share one.
MOST_LANES = 48
_OTHERS = "all other peers"


class Op(NamedTuple):
    """One put or get: from when to when, whose, which message, and by which events."""

    began_ns: int
    ended_ns: int
    lane: int
    kind: int
    end: int
    producer: int | None
    number: int | None
    first: int
    last: int | None


@dataclass(frozen=True, slots=True)
class Detail:
    """How much of a trial is drawn: steps of time, and puts and gets drawn whole."""

    bins: int = 400
    ops: int = 4000
    around: int = 120


class _Lane:
    __slots__ = ("ended", "ended_ns", "index", "name", "started_ns")

    def __init__(self, index: int, name: str, started_ns: int) -> None:
        self.index, self.name, self.started_ns = index, name, started_ns
        self.ended: str | None = None
        self.ended_ns: int | None = None


class Summary:
    """Sees every event of a trial once, and then returns what the page draws of it."""

    def __init__(self, verdict: Verdict, detail: Detail) -> None:
        history = verdict.history
        self._verdict, self._plan, self._detail = verdict, history.plan, detail
        self._producers = producers_by_index(history)
        self._evidence: dict[int, tuple[str, int, str]] = {}
        self._wanted = {index for finding in verdict.findings for index in finding.events[:MOST_EVENTS]}
        self._first_lanes = {peer for finding in verdict.findings for peer in finding.peers}
        self._first_lanes |= {fault.peer for fault in self._plan.faults}
        self._lanes: dict[str, _Lane] = {}
        self._order: list[_Lane] = []
        self._others: _Lane | None = None
        self._bins = Bins(detail.bins)
        self._open: dict[str, Event] = {}
        self._marks: list[tuple[int, int, str, str, int]] = []
        self._mark_counts: dict[str, int] = {}
        self._all: list[Op] | None = []
        self._recent: deque[Op] = deque(maxlen=detail.around)
        self._near: dict[int, Op] = {}
        self._more_near = 0
        self._longest: list[tuple[int, int, Op]] = []
        self.events = 0
        self.last_ns = 0

    def see(self, event: Event) -> None:
        """Take in the next event."""
        self.events += 1
        self.last_ns = event.time_ns
        lane = self._lane(event)
        match event.f:
            case "enqueue" | "dequeue" if event.type == "invoke":
                self._open[event.process] = event
                if event.f == "enqueue":
                    self._bins.put_begins(event.time_ns, tuple(event.value))
            case "enqueue" | "dequeue":
                self._ended(event, lane)
            case "start":
                pass
            case _:
                self._befell(event, lane)
        if event.index in self._wanted:
            self._evidence[event.index] = (
                event.process,
                event.time_ns,
                sentence(event, self._plan, self._producers),
            )
            self._look_around()

    def to_json(self) -> dict[str, Any]:
        """Return what the page draws, as JSON's types. Times are in nanoseconds."""
        for process, event in self._open.items():
            lane = self._lanes[process]
            end_ns = self.last_ns if lane.ended_ns is None else lane.ended_ns
            self._near[event.index] = self._op(event, None, lane, end_ns)
        whole = self._all is not None
        ops = {op.first: op for op in self._all or ()}
        for _, _, op in self._longest:
            ops[op.first] = op
        ops |= self._near
        drawn = sorted(ops.values())
        return {
            "span": self.last_ns,
            "events": self.events,
            "whole": whole,
            "lanes": [[lane.name, lane.started_ns, lane.ended_ns, lane.ended] for lane in self._order],
            "bins": self._bins.to_json(len(self._order), self.last_ns),
            "ops": [list(column) for column in zip(*drawn, strict=True)],
            "marks": [list(column) for column in zip(*self._marks, strict=True)],
            "findings": [self._window(finding.events) for finding in self._verdict.findings],
            "producers": {str(index): name for index, name in self._producers.items()},
        }

    def evidence(self, events: tuple[int, ...]) -> list[tuple[int, str, int, str]]:
        """Return index, process, time and sentence of a finding's events, as many as are shown."""
        return [(index, *self._evidence[index]) for index in sorted(events[:MOST_EVENTS]) if index in self._evidence]

    def latency_ms(self) -> list[float | None]:
        """Return the quantiles of how long messages took, from the begin of their put to the end of their get."""
        return list(self._bins.total())

    def _lane(self, event: Event) -> _Lane:
        lane = self._lanes.get(event.process)
        if lane is None:
            crowded = len(self._order) >= MOST_LANES and event.process not in self._first_lanes
            lane = self._others if crowded else None
            if lane is None:
                lane = _Lane(len(self._order), _OTHERS if crowded else event.process, event.time_ns)
                self._order.append(lane)
                self._others = lane if crowded else self._others
            self._lanes[event.process] = lane
        return lane

    def _ended(self, event: Event, lane: _Lane) -> None:
        began = self._open.pop(event.process, event)
        if event.f == "enqueue":
            self._bins.put_ends(event.time_ns, tuple(event.value), lane.index, ok=event.type == "ok")
        else:
            is_message = event.type == "ok" and isinstance(event.value, list)
            self._bins.get_ends(event.time_ns, tuple(event.value) if is_message else None, lane.index)
        op = self._op(began, event, lane, event.time_ns)
        if self._all is not None:
            self._all.append(op)
            if len(self._all) > self._detail.ops:
                self._all = None
        if self._more_near:
            self._more_near -= 1
            self._keep(op)
        else:
            self._recent.append(op)
        lasted = op.ended_ns - op.began_ns
        if len(self._longest) < _LONGEST:
            heapq.heappush(self._longest, (lasted, op.first, op))
        elif lasted > self._longest[0][0]:
            heapq.heapreplace(self._longest, (lasted, op.first, op))

    def _op(self, began: Event, ended: Event | None, lane: _Lane, end_ns: int) -> Op:
        value = began.value if began.f == "enqueue" else ended.value if ended is not None else None
        producer, number = value if isinstance(value, list | tuple) else (None, None)
        return Op(
            began.time_ns,
            end_ns,
            lane.index,
            PUT if began.f == "enqueue" else GET,
            OPEN if ended is None else OK if ended.type == "ok" else FAILED,
            producer,
            number,
            began.index,
            None if ended is None else ended.index,
        )

    def _befell(self, event: Event, lane: _Lane) -> None:
        """Take note of what is no put or get."""
        kind = event.f
        if kind == "exit":
            if lane is not self._others:
                lane.ended_ns, lane.ended = event.time_ns, how_ended(event)
            if event.value.get("code") == 0:
                return
        self._mark_counts[kind] = self._mark_counts.get(kind, 0) + 1
        if self._mark_counts[kind] > MOST_MARKS:
            return
        said = sentence(event, self._plan, self._producers)
        self._marks.append((event.time_ns, lane.index, kind, said, event.index))
        self._look_around()

    def _look_around(self) -> None:
        """Keep the puts and gets around this moment."""
        while self._recent:
            self._keep(self._recent.popleft())
        self._more_near = self._detail.around

    def _keep(self, op: Op) -> None:
        if len(self._near) < self._detail.ops:
            self._near[op.first] = op

    def _window(self, events: tuple[int, ...]) -> list[int] | None:
        """Return from when to when a finding's events are, with room around them.

        Who is stuck is so for most of the trial: what matters is where it began.
        """
        times = [self._evidence[index][1] for index in events[:MOST_EVENTS] if index in self._evidence]
        if not times:
            return None
        if max(times) - min(times) > self.last_ns // 2:
            times = [min(times)]
        room = max((max(times) - min(times)) // 4, self.last_ns // 400, 100_000)
        return [max(0, min(times) - room), min(self.last_ns, max(times) + room)]


def producers_by_index(history: History) -> dict[int, str]:
    """Return the names of the producers by the index that their messages carry."""
    return {index: name for name, index in history.producers.items()}
