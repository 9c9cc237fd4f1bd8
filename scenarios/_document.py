"""Results as JSON's types, for programs that read what a command found."""

from __future__ import annotations

import dataclasses
from typing import Any

from ._result import Result

NOT_APPLICABLE = "not applicable"


def status_of(result: Result) -> str:
    """Return the verdict's status, or that there is none."""
    # A verdict is false unless it is valid.
    return NOT_APPLICABLE if result.verdict is None else result.verdict.status


def document_of(result: Result) -> dict[str, Any]:
    """Return all of a result but its history."""
    verdict = result.verdict
    return {
        "scenario": result.scenario,
        "trial": result.plan.name,
        "status": status_of(result),
        "not_applicable": result.not_applicable,
        "findings": [dataclasses.asdict(finding) for finding in verdict.findings] if verdict is not None else [],
        "doubts": list(verdict.doubts) if verdict is not None else [],
        "struck": list(verdict.struck) if verdict is not None else [],
        "messages": verdict.counts if verdict is not None else {},
        "seconds": round(result.seconds, 3),
        "replay": result.command,
        "plan": result.plan.to_json(),
        "series": [dataclasses.asdict(series) for series in result.series],
    }
