"""The scenarios, named families of plans, and the command line that runs them. This is the one list of them."""

from __future__ import annotations

from ._scenario import Case, Scenario
from .killed_peers import KILLED_CONSUMER, KILLED_PRODUCER
from .partial_writes import TORN_WRITE

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario for scenario in (KILLED_PRODUCER, KILLED_CONSUMER, TORN_WRITE)
}

__all__ = ["SCENARIOS", "Case", "Scenario"]
