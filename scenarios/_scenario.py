"""A scenario: a name, one sentence, and the plans that follow from a seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from monkeywrench.harness.plan import Plan


class Case(NamedTuple):
    """One trial of a scenario: what sets it apart, and the fields of its plan that are its own."""

    name: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A named family of plans.

    sentence: what befalls whom, for a person who chooses.
    cases: yields the cases; all that they draw, they draw from the generator that they are handed.
    """

    name: str
    sentence: str
    cases: Callable[[random.Random], Iterator[Case]]

    def plans(self, queue: str, seed: int, **settings: Any) -> list[Plan]:
        """Return the scenario's plans for a queue: the same for the same seed.

        settings: further fields of all plans, such as ``patience_s``.
        """
        draw = random.Random(f"{seed} {self.name}")
        return [
            Plan(
                queue=queue,
                seed=draw.randrange(1 << 32),
                name=f"{self.name}: {case.name}",
                **settings | case.fields,
            )
            for case in self.cases(draw)
        ]
