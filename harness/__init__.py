"""The chaos harness: real peers around a queue, faults thrown in, and a verdict from the recorded history.

Nothing is loaded before it is asked for: pytest imports this package in every run, in suites that never use it too.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import jepsen, machine, strategies
    from ._errors import HarnessError, HistoryError, MonkeywrenchError, PeerError, PlanError
    from .adapters import Adapter
    from .checkers import Finding
    from .faults import Delay, Error, Foreign, Kill, Limit, Noop, Pause, Remove, Short, Shrink, Stale
    from .guarantees import Guarantees
    from .history import Event, History
    from .peers import Peer, ready, spawn
    from .plan import Plan
    from .runner import run
    from .suite import QueueSuite
    from .survey import Survey, crash_points
    from .trial import Trial
    from .triggers import blocked, call, elapsed, ended, every, message, messages, rate, read, start, write
    from .verdict import Verdict, judge

_HOMES = {
    "Adapter": "adapters",
    "Event": "history",
    "Finding": "checkers",
    "Guarantees": "guarantees",
    "HarnessError": "_errors",
    "History": "history",
    "HistoryError": "_errors",
    "MonkeywrenchError": "_errors",
    "Plan": "plan",
    "PlanError": "_errors",
    "QueueSuite": "suite",
    "Survey": "survey",
    "Trial": "trial",
    "Verdict": "verdict",
    "crash_points": "survey",
    "elapsed": "triggers",
    "ended": "triggers",
    "start": "triggers",
    "rate": "triggers",
    "message": "triggers",
    "every": "triggers",
    "call": "triggers",
    "blocked": "triggers",
    "judge": "verdict",
    "messages": "triggers",
    "read": "triggers",
    "run": "runner",
    "Peer": "peers",
    "PeerError": "_errors",
    "ready": "peers",
    "spawn": "peers",
    "write": "triggers",
}


_MODULES = ("jepsen", "machine", "strategies")
_FAULTS = ("Delay", "Error", "Foreign", "Kill", "Limit", "Noop", "Pause", "Remove", "Short", "Shrink", "Stale")
_HOMES |= dict.fromkeys(_FAULTS, "faults")


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_MODULES})


__all__ = [
    "Adapter",
    "Delay",
    "Error",
    "Event",
    "Finding",
    "Foreign",
    "Guarantees",
    "HarnessError",
    "History",
    "HistoryError",
    "Kill",
    "Limit",
    "MonkeywrenchError",
    "Noop",
    "Pause",
    "Peer",
    "PeerError",
    "Plan",
    "PlanError",
    "QueueSuite",
    "Remove",
    "Short",
    "Shrink",
    "Stale",
    "Survey",
    "Trial",
    "Verdict",
    "blocked",
    "call",
    "crash_points",
    "elapsed",
    "ended",
    "every",
    "jepsen",
    "judge",
    "machine",
    "message",
    "messages",
    "rate",
    "read",
    "ready",
    "run",
    "spawn",
    "start",
    "strategies",
    "write",
]
