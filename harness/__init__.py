"""The chaos harness: real peers around a queue, faults thrown in, and a verdict from the recorded history.

Nothing is loaded before it is asked for: pytest imports this package in every run, in suites that never use it too.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._errors import HarnessError, HistoryError, MonkeywrenchError, PlanError
    from .adapters import Adapter
    from .checkers import Finding
    from .guarantees import Guarantees
    from .history import Event, History
    from .plan import Plan
    from .runner import run
    from .trial import Trial
    from .triggers import elapsed, messages, read, write
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
    "Trial": "trial",
    "Verdict": "verdict",
    "elapsed": "triggers",
    "judge": "verdict",
    "messages": "triggers",
    "read": "triggers",
    "run": "runner",
    "write": "triggers",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})


__all__ = [
    "Adapter",
    "Event",
    "Finding",
    "Guarantees",
    "HarnessError",
    "History",
    "HistoryError",
    "MonkeywrenchError",
    "Plan",
    "PlanError",
    "Trial",
    "Verdict",
    "elapsed",
    "judge",
    "messages",
    "read",
    "run",
    "write",
]
