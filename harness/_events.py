"""The events of a history, some twenty bytes each: in the order of time, in memory while few, then on disk.

They are kept as the peers wrote them (``_eventlog``), with every event's text in a spool beside them.
"""

from __future__ import annotations

import contextlib
import json
import struct
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, overload

from . import _eventlog as log
from ._errors import HistoryError
from ._spool import Spool

_UNPACK = log.RECORD.iter_unpack
_SIZE = log.RECORD.size
# How many records are in memory at once, of all logs together.
_CHUNK = 1 << 16
_MOST_PROCESSES = 0xFFFF
Raw = tuple[int, int, int, int, int, int]
"""Time, code, process, producer, number, and where the text is (0: none); see ``_eventlog.RECORD``."""


class Event(NamedTuple):
    """One thing that happened. ``time_ns`` counts from the first event."""

    index: int  # type: ignore[assignment]  # Jepsen's word for it; it hides tuple.index, which nobody misses
    time_ns: int
    process: str
    type: str
    f: str
    value: Any = None
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the event as JSON's types; what it has not is left out."""
        return {key: value for key, value in self._asdict().items() if value is not None}


class Events(Sequence[Event]):
    """Events by index. Each is made when it is asked for, and forgotten; nothing grows with their number but a file."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._names: dict[int, str] = {}
        self._numbers: dict[str, int] = {}
        self._records = Spool()
        self._texts = Spool(b"\0")  # so that no text is at 0
        self._first_ns = 0
        for event in events:
            self.append(event)

    def __len__(self) -> int:
        return len(self._records) // _SIZE

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> list[Event]: ...
    def __getitem__(self, index: int | slice) -> Event | list[Event]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        at = index + len(self) if index < 0 else index
        if not 0 <= at < len(self):
            raise IndexError(f"event {index}: the history has {len(self)}")
        return self.event(at, *log.RECORD.unpack(self.record(at)))

    def __iter__(self) -> Iterator[Event]:
        index = 0
        for chunk in self.chunks():
            for raw in _UNPACK(chunk):
                yield self.event(index, *raw)
                index += 1

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]  # they can be appended to

    def __repr__(self) -> str:
        return f"<{len(self)} events>"

    def chunks(self) -> Iterator[bytes]:
        """Yield the records as they are, many at a time, for ``RECORD.iter_unpack``."""
        for at in range(0, len(self._records), _CHUNK * _SIZE):
            yield self._records.read(at, _CHUNK * _SIZE)

    def record(self, index: int) -> bytes:
        """Return one record as it is."""
        return self._records.read(index * _SIZE, _SIZE)

    def name(self, process: int) -> str:
        """Return the name of the process that a record knows by its number."""
        return self._names[process]

    @property
    def names(self) -> dict[int, str]:
        """The processes' names, by number."""
        return dict(self._names)

    def append(self, event: Event) -> None:
        """Append one event. Its index will be its place."""
        self._records.append(self._packed(*event[1:]))

    def event(self, index: int, time: int, code: int, process: int, producer: int, number: int, at: int) -> Event:
        """Return the event that a record stands for."""
        kind, f = log.CODES[code]
        time_ns, name, text = time - self._first_ns, self._names[process], self._text(at) if at else None
        if code == log.NOTE:
            return Event(index, time_ns, name, *json.loads(text or "[]"))
        if code in (log.DEQUEUE_INVOKE, log.DEQUEUE_FAIL):
            return Event(index, time_ns, name, kind, f, None, text)
        if code == log.DEQUEUE_OK and text and text[0] == "?":
            return Event(index, time_ns, name, kind, f, {"unknown": text[1:]})
        return Event(index, time_ns, name, kind, f, [producer, number], text)

    def _text(self, at: int) -> str:
        return self._texts.read(at + 4, int.from_bytes(self._texts.read(at, 4), "big")).decode(errors="surrogatepass")

    def _keep(self, text: bytes) -> int:
        at = self._texts.append(len(text).to_bytes(4, "big") + text)
        if at > 0xFFFFFFFF:
            raise HistoryError("more than 4 GiB of texts in one history")
        return at

    def _number(self, process: str) -> int:
        number = self._numbers.get(process)
        if number is None:
            number = max(self._names, default=-1) + 1
            if number > _MOST_PROCESSES:
                raise HistoryError(f"{process}: a history has {_MOST_PROCESSES} processes at most")
            self._know(number, process)
        return number

    def _know(self, number: int, process: str) -> None:
        self._names[number] = process
        self._numbers[process] = number

    def _packed(self, time: int, process: str, kind: str, f: str, value: Any, error: str | None) -> bytes:
        """Return an event as a record; as an operation's if it is one, and comes out of that as it went in."""
        code = _OPERATIONS.get((kind, f), log.NOTE)
        producer = number = at = 0
        if code in (log.DEQUEUE_INVOKE, log.DEQUEUE_FAIL):
            fits = value is None
        elif code == log.DEQUEUE_OK and type(value) is dict:
            fits = error is None and value.keys() == {"unknown"} and type(value["unknown"]) is str
            error = f"?{value['unknown']}" if fits else error
        elif code != log.NOTE:
            fits = type(value) is list and len(value) == 2 and all(type(each) is int for each in value)
            fits = fits and 0 <= value[0] <= log.MOST_PRODUCER and 0 <= value[1] <= log.MOST_NUMBER
            fits = fits and (error is None or (error != "" and error[0] != "?"))
            producer, number = value if fits else (0, 0)
        else:
            fits = False
        if not fits:
            code, error = log.NOTE, json.dumps([kind, f, value, error])
        if error is not None:
            at = self._keep(error.encode(errors="surrogatepass"))
        try:
            return log.RECORD.pack(time, code, self._number(process), producer, number, at)
        except struct.error:
            raise HistoryError(f"time_ns={time}: nanoseconds from 0 to {(1 << 64) - 1} are allowed") from None

    def lines(self) -> Iterator[str]:
        """Yield each event as JSON."""
        starts = {
            (process, code): f'"process": {json.dumps(name)}, "type": "{kind}", "f": "{f}"'
            for process, name in self._names.items()
            for code, (kind, f) in enumerate(log.CODES)
        }
        index = 0
        for chunk in self.chunks():
            for raw in _UNPACK(chunk):
                time, code, process, producer, number, at = raw
                if at:
                    yield json.dumps(self.event(index, *raw).to_json())
                else:
                    head = f'{{"index": {index}, "time_ns": {time - self._first_ns}, {starts[process, code]}'
                    has_value = code not in (log.DEQUEUE_INVOKE, log.DEQUEUE_FAIL)
                    yield f'{head}, "value": [{producer}, {number}]}}' if has_value else f"{head}}}"
                index += 1

    @classmethod
    def collect(cls, logs: Iterable[Path], notes: Iterable[Path]) -> Events:
        """Return the events out of the files that peers left, and of what was noted about them, merged by time."""
        events = cls()
        with contextlib.ExitStack() as stack:
            opened = []
            for path in logs:
                opened.append((entered := stack.enter_context(log.Log(str(path))), path.stem))
                for first in entered.chunks(1):
                    events._know(log.RECORD.unpack(first)[2], path.stem)
                    break
            most = max(64, _CHUNK // max(len(opened), 1))
            runs = [events._run(each, name, most) for each, name in opened]
            for path in notes:
                noted = [events._noted(each.time_ns, each.text, path.stem) for each in log.read_records(str(path))]
                runs += [iter([sorted(noted)])] if noted else []
            for merged in _merged(runs):
                if not events._records:
                    events._first_ns = log.RECORD.unpack(merged[0])[0]
                events._records.append(b"".join(merged))
        return events

    def _run(self, opened: log.Log, name: str, most: int) -> Iterator[list[bytes]]:
        """Yield the records of the log of this name, whose texts are kept here from now on."""
        for chunk in opened.chunks(most):
            records = [chunk[at : at + _SIZE] for at in range(0, len(chunk), _SIZE)]
            if _has_texts(chunk):
                for place, record in enumerate(records):
                    if record[-4:] != _NO_TEXT:
                        time, code, *rest, at = log.RECORD.unpack(record)
                        text = opened.text(at)
                        records[place] = (
                            self._noted(time, text, name)
                            if code == log.NOTE
                            else log.RECORD.pack(time, code, *rest, self._keep(text))
                        )
            yield records

    def _noted(self, time: int, text: bytes | str, name: str) -> bytes:
        """Return the record of what was noted in the file of this name."""
        value = json.loads(text)
        f, process, error = value.pop("f"), value.pop("process", name), value.pop("error", None)
        return self._packed(time, process, "info", f, value or None, error)


def _has_texts(chunk: bytes) -> bool:
    """Whether any of these records has a text: few have one, of very many."""
    return any(chunk[_SIZE - place :: _SIZE].strip(b"\0") for place in range(1, 5))


_NO_TEXT = bytes(4)
_OPERATIONS = {operation: code for code, operation in enumerate(log.CODES) if code != log.NOTE}


def _merged(runs: list[Iterator[list[bytes]]]) -> Iterator[list[bytes]]:
    """Merge runs of records, each of them sorted, while holding one piece of each."""
    pieces = [next(run, []) for run in runs]
    while True:
        pieces = [piece or next(run, []) for piece, run in zip(pieces, runs, strict=True)]
        if not any(pieces):
            return
        # Up to here nothing can come in between any more.
        end = min(piece[-1] for piece in pieces if piece)
        taken: list[bytes] = []
        for place, piece in enumerate(pieces):
            if piece:
                cut = bisect_right(piece, end)
                taken += piece[:cut]
                pieces[place] = piece[cut:]
        taken.sort()
        yield taken
