"""Every event in the trace-event format, which Perfetto and chrome://tracing open.

A trial is a process there, and a peer a thread of it. A put or get is one complete event (``X``), from its ``invoke``
to its end; all else is an instant (``i``). The trials come one after the other, as they ran. What is written is on its
way to the disk: only puts and gets that have not ended are held.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import IO, Any

from monkeywrench.harness.history import Event, History

from ._files import BEGINNINGS, TRACE
from ._summary import producers_by_index
from ._words import sentence

_encode = json.JSONEncoder(separators=(",", ":")).encode
# Between the end of a trial and the begin of the next.
_GAP_US = 1000.0
# Messages as arrows, from the put to the get: so many of a trial. More would double the file, and nobody could see any.
MOST_ARROWS = 10_000


class Trace:
    """Writes the trace of trial after trial to an open file; ``finish`` writes its end.

    directories: the names of the trials' own directories.
    """

    def __init__(self, file: IO[str], directories: Sequence[str]) -> None:
        self._file = file
        self._start_us = 0.0
        self._trial = 0
        self._first = True
        # By these names the next report knows what it may remove, from the first line alone.
        head = f'{BEGINNINGS[TRACE]}, "clock": "monotonic", "trials": {_encode(directories)}}}'
        file.write(f'{head}, "displayTimeUnit": "ns", "traceEvents": [')

    def begin(self, history: History, name: str) -> TraceOfTrial:
        """Return what takes the events of the next trial."""
        self._trial += 1
        return TraceOfTrial(self, history, name, self._trial, self._start_us)

    def write(self, **event: Any) -> None:
        """Write one trace event."""
        self._file.write(("\n" if self._first else ",\n") + _encode(event))
        self._first = False

    def ended(self, end_us: float) -> None:
        """Take note of when the trial has ended: the next one begins after that."""
        self._start_us = end_us + _GAP_US

    def finish(self) -> None:
        """Write the end of the file."""
        self._file.write("\n]}\n")


class TraceOfTrial:
    """Writes the events of one trial."""

    def __init__(self, trace: Trace, history: History, name: str, pid: int, start_us: float) -> None:
        self._write = trace.write
        self._trace = trace
        self._plan = history.plan
        self._producers = producers_by_index(history)
        self._pid, self._start_us, self._end_us = pid, start_us, start_us
        self._threads: dict[str, int] = {}
        self._open: dict[int, Event] = {}
        self._exits: dict[int, float] = {}
        self._arrows = MOST_ARROWS
        # Heads of arrows: messages whose put was drawn with the tail of one.
        self._tails: set[tuple[int, int]] = set()
        self._write(ph="M", name="process_name", pid=pid, tid=0, args={"name": name})
        self._write(ph="M", name="process_sort_index", pid=pid, tid=0, args={"sort_index": pid})

    def see(self, event: Event) -> None:
        """Take in the next event."""
        ts = self._end_us = self._start_us + event.time_ns / 1000
        tid = self._threads.get(event.process) or self._name(event.process)
        if event.f in ("enqueue", "dequeue"):
            if event.type == "invoke":
                self._open[tid] = event
                if event.f == "enqueue":
                    self._arrow_begins(event, tid, ts)
            else:
                self._operation(self._open.pop(tid, event), event, tid, ts)
            return
        if event.f == "exit":
            self._exits[tid] = ts
        args = {"index": event.index, "value": event.value, "error": event.error}
        self._write(
            ph="i",
            s="t" if event.f in ("start", "exit") else "p",
            name=sentence(event, self._plan, self._producers),
            cat=event.f,
            pid=self._pid,
            tid=tid,
            ts=round(ts, 3),
            args={key: value for key, value in args.items() if value is not None},
        )

    def finish(self) -> None:
        """Write the puts and gets that never ended: they last until their peer ended, or the trial did."""
        for tid, event in self._open.items():
            self._operation(event, None, tid, self._exits.get(tid, self._end_us))
        self._trace.ended(self._end_us)

    def _operation(self, began: Event, ended: Event | None, tid: int, end: float) -> None:
        ts = self._start_us + began.time_ns / 1000
        value = began.value if ended is None or ended.value is None else ended.value
        args: dict[str, Any] = {"outcome": "never returned" if ended is None else ended.type, "invoke": began.index}
        if ended is not None:
            args["index"] = ended.index
            if ended.error:
                args["error"] = ended.error
        name = "put" if began.f == "enqueue" else "get"
        if isinstance(value, list):
            name += f" {value[1]}"
            args["message"] = f"{value[1]} of {self._producers.get(value[0], value[0])}"
        elif value is not None:
            args["value"] = value
        self._write(
            ph="X",
            name=name,
            cat=began.f,
            pid=self._pid,
            tid=tid,
            ts=round(ts, 3),
            dur=round(max(0.0, end - ts), 3),
            args=args,
        )
        if began.f == "dequeue" and ended is not None and isinstance(ended.value, list):
            self._arrow_ends((ended.value[0], ended.value[1]), tid, end)

    def _arrow_begins(self, event: Event, tid: int, ts: float) -> None:
        if self._arrows:
            self._arrows -= 1
            message = (event.value[0], event.value[1])
            self._tails.add(message)
            self._write(ph="s", **self._arrow(message), tid=tid, ts=round(ts, 3))

    def _arrow_ends(self, message: tuple[int, int], tid: int, ts: float) -> None:
        if message in self._tails:
            self._tails.remove(message)
            self._write(ph="f", bp="e", **self._arrow(message), tid=tid, ts=round(ts, 3))

    def _arrow(self, message: tuple[int, int]) -> dict[str, Any]:
        identity = f"{self._pid}.{message[0]}.{message[1]}"
        return {"name": "message", "cat": "message", "id": identity, "pid": self._pid}

    def _name(self, process: str) -> int:
        tid = self._threads[process] = len(self._threads) + 1
        self._write(ph="M", name="thread_name", pid=self._pid, tid=tid, args={"name": process})
        self._write(ph="M", name="thread_sort_index", pid=self._pid, tid=tid, args={"sort_index": tid})
        return tid
