"""What happened around a finding: the few events near it, one line each; and what the peers wrote meanwhile.

Pure functions of a verdict. A history can be long: it is gone through once, and what is near is kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from .history import Event, History

if TYPE_CHECKING:
    from .verdict import Verdict

MOST_LINES = 20
MOST_OUTPUT_LINES = 25
MOST_OUTPUTS = 6
_BEFORE, _AFTER = 4, 2
# Of several findings, and of the many events of one, the first few say what happened.
_MOST_FINDINGS, _MOST_EVENTS = 3, 6
_REMARKABLE = ("stuck", "where", "leak", "deadline", "changed", "refused")
# Kept from a history that no finding points into: what came last.
_LAST = 6


def timeline(verdict: Verdict) -> list[str]:
    """Return the events near the verdict's findings, one line each, in order; at most MOST_LINES and the gaps.

    ``!`` marks a fault that struck, and a peer that did not come to its end in order; ``>`` what else a finding
    names as its evidence. Times are in milliseconds since the first event.
    """
    evidence = _evidence(verdict)
    near = {place for index in evidence for place in range(index - _BEFORE, index + _AFTER + 1)}
    remarkable: list[Event] = []
    kept: list[Event] = []
    last: deque[Event] = deque(maxlen=_LAST)
    for event in verdict.history.events:
        if event.index in near:
            kept.append(event)
        if _is_remarkable(event) and len(remarkable) < MOST_LINES:
            remarkable.append(event)
        last.append(event)
    # What matters most comes first; then they are cut to size, and put in order.
    pointed = [event for event in kept if event.index in evidence]
    around = sorted(kept, key=lambda event: min((abs(event.index - index) for index in evidence), default=0))
    ranked = [*pointed, *remarkable[: MOST_LINES // 2], *around, *remarkable, *(() if evidence else reversed(last))]
    chosen = list({event.index: event for event in ranked}.values())[:MOST_LINES]
    return list(_lines(sorted(chosen, key=lambda event: event.index), evidence, verdict.history))


def outputs(verdict: Verdict) -> dict[str, str]:
    """Return what the peers that matter wrote to their standard output and error, by their names: the end of it.

    Those are the peers that a finding names, and those that a fault struck; all of them, if there is no such peer.
    """
    names: dict[str, str] = {}
    involved = {peer for finding in verdict.findings for peer in finding.peers}
    for event in verdict.history.events:
        if event.f == "output":
            names[event.process] = event.value["text"]
        elif event.f == "strike":
            involved.add(event.process)
    chosen = [name for name in names if name in involved] or list(names)
    return {name: _tail(names[name]) for name in chosen[:MOST_OUTPUTS]}


def _tail(text: str) -> str:
    lines = text.rstrip("\n").split("\n")
    left_out = len(lines) - MOST_OUTPUT_LINES
    return "\n".join([f"… {left_out} lines before", *lines[left_out:]] if left_out > 0 else lines)


def _evidence(verdict: Verdict) -> set[int]:
    return {index for finding in verdict.findings[:_MOST_FINDINGS] for index in finding.events[:_MOST_EVENTS]}


def _is_remarkable(event: Event) -> bool:
    return event.f in _REMARKABLE or _is_strike_or_end(event)


def _is_strike_or_end(event: Event) -> bool:
    return event.f == "strike" or (event.f == "exit" and (event.value.get("code") != 0 or "untold" in event.value))


def _lines(events: list[Event], evidence: set[int], history: History) -> Iterator[str]:
    width = max((len(event.process) for event in events), default=0)
    names = {index: name for name, index in history.producers.items()}
    before: Event | None = None
    for event in events:
        if before is not None and (gap := event.index - before.index - 1):
            yield f"{'…':>13}  {gap} more"
        mark = "!" if _is_strike_or_end(event) else ">" if event.index in evidence else " "
        yield f"{mark} {event.time_ns / 1e6:>11.3f}  {event.process:<{width}}  {_what(event, names, history)}"
        before = event


def _what(event: Event, names: dict[int, str], history: History) -> str:
    """Return what happened, as a person reads it."""
    value = event.value or {}
    match event.f, event.type:
        case "enqueue", kind:
            what = {"invoke": "begins", "ok": "returns", "fail": f"fails: {event.error}"}[kind]
            return f"put of message {event.value[1]} {what}"
        case "dequeue", "invoke":
            return "get begins"
        case "dequeue", "fail":
            return f"get fails: {event.error}"
        case "dequeue", _ if isinstance(event.value, list):
            producer, number = event.value
            defect = f": {event.error}" if event.error else ""
            return f"get returns message {number} of {names.get(producer, f'an unknown producer {producer}')}{defect}"
        case "dequeue", _:
            return f"get returns {value.get('unknown')}"
        case "start", _:
            return "starts" + (f", pid {value['pid']}" if "pid" in value else "")
        case "strike", _:
            inside = f", inside its {value['inside']}" if value.get("inside") else ""
            return f"{history.plan.faults[value['fault']]}{inside}"
        case "call", _:
            inside = f", inside its {value['inside']}" if value.get("inside") else ""
            return f"makes {value['kind']} {value['n']}{inside}"
        case "exit", _:
            by = " by the harness" if value.get("by_harness") else ""
            return f"ended{by}: {value['signal']}" if "signal" in value else f"ended: exit status {value.get('code')}"
        case "stuck", _:
            return f"is stuck: nobody has moved for {value['seconds']:.1f} s"
        case "where", _:
            return "is asked where it is"
        case "deadline", _:
            return f"gives up: {value['seconds']:.3g} s have passed"
        case "full", _:
            return "does more than its log has room for"
        case "leak", _:
            return f"left behind: {value['kind']} {value['what']}"
        case "missed", _:
            return f"{history.plan.faults[value['fault']]}: did not strike: {value['why']}"
        case "output", _:
            return f"wrote {len(value['text'])} characters"
        case f, _:
            return " ".join([f, *(f"{key}={item}" for key, item in value.items()), *filter(None, [event.error])])
