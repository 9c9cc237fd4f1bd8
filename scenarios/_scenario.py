"""A scenario: a name, one sentence, its parameters, and the plans that follow from a seed."""

from __future__ import annotations

import itertools
import random
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from monkeywrench.harness import MonkeywrenchError, PlanError
from monkeywrench.harness.plan import MOST_MESSAGES, MOST_PEERS, Plan


class Sizes(NamedTuple):
    """How large a trial is to be: a value for each of a scenario's parameters."""

    producers: int
    consumers: int
    messages: int


class Case(NamedTuple):
    """One trial of a scenario: what sets it apart, and the fields of its plan that are its own."""

    name: str
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Range:
    """A parameter: its default, and from where to where it may go."""

    default: int
    least: int = 1
    most: int = MOST_PEERS

    def __post_init__(self) -> None:
        if not self.least <= self.default <= self.most:
            raise PlanError(f"default={self.default}: a number from {self.least} to {self.most} is allowed, its range")

    def __str__(self) -> str:
        return f"{self.default}" if self.least == self.most else f"{self.default} ({self.least} to {self.most})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A named family of plans.

    sentence: what befalls whom, for a person who chooses.
    cases: yields the cases, again and again; all that they draw, they draw from the generator that they are handed.
    expects: what a queue has to do to pass, for a person who wonders.
    producers, consumers, messages: the parameters. A case may have fewer peers, if it says so in its fields.
    trials: the default budget: each case once, unless it says otherwise.
    seconds: the other half of the default budget: no trial is begun after so long.
    long_lived: whether one long-lived workload runs beside its trials, and is watched for what keeps growing.
    """

    name: str
    sentence: str
    cases: Callable[[random.Random, Sizes], Iterator[Case]]
    expects: str
    producers: Range = Range(1)
    consumers: Range = Range(1)
    messages: Range = Range(60, 10, MOST_MESSAGES)
    trials: int | None = None
    seconds: float = 60.0
    long_lived: bool = False

    def __post_init__(self) -> None:
        if not self.name or set(self.name) & set(" /:\n"):
            raise PlanError(f"name={self.name!r}: a word is allowed, such as 'torn-write'")
        for name, parameter in self.parameters.items():
            if not isinstance(parameter, Range):
                raise PlanError(
                    f"scenario {self.name!r}: {name}={parameter!r}: a Range is expected: Range(default, least, most)"
                )
        if not callable(self.cases):
            raise PlanError(
                f"scenario {self.name!r}: cases={self.cases!r}: a function is expected that yields Case(…)s"
            )

    @property
    def parameters(self) -> dict[str, Range]:
        """The parameters by name, in the order of ``Sizes``."""
        return {name: getattr(self, name) for name in Sizes._fields}

    def sizes(self, overrides: Mapping[str, int | None] | None = None) -> Sizes:
        """Return the parameters' values: the defaults, but for the overrides that are no ``None``.

        Raises PlanError for what the scenario does not allow, with the range.
        """
        values = {}
        for name, parameter in self.parameters.items():
            value = (overrides or {}).get(name)
            if value is None:
                value = parameter.default
            elif not parameter.least <= value <= parameter.most:
                least, most = parameter.least, parameter.most
                allowed = f"{least} alone" if least == most else f"{least} to {most}"
                raise PlanError(f"{name}={value}: {self.name} takes {allowed}")
            values[name] = value
        return Sizes(**values)

    def plans(
        self, queue: str, seed: int, overrides: Mapping[str, int | None] | None = None, **settings: Any
    ) -> Iterator[Plan]:
        """Yield the scenario's plans for a queue, round after round without end: the same for the same seed.

        settings: further fields of all plans, such as ``patience_s``.
        """
        sizes = self.sizes(overrides)
        draw = random.Random(f"{seed} {self.name}")
        for turn in itertools.count(1):
            for case in self._drawn(draw, sizes):
                name = f"{self.name}: {case.name}{f' #{turn}' if turn > 1 else ''}"
                fields = settings | sizes._asdict() | case.fields
                try:
                    plan = Plan(queue=queue, seed=draw.randrange(1 << 32), name=name, **fields)
                except (PlanError, TypeError) as error:
                    raise PlanError(f"{name}: {error}") from None
                yield plan

    def budget(self, sizes: Sizes) -> int:
        """Return the default number of trials: each case once, unless the scenario says otherwise."""
        cases = sum(1 for _ in self._drawn(random.Random(0), sizes))
        return self.trials or cases

    def _drawn(self, draw: random.Random, sizes: Sizes) -> Iterator[Case]:
        """Yield the cases once. It is somebody else's code that runs here: what is wrong in it is a PlanError."""
        empty = True
        try:
            cases: Any = self.cases(draw, sizes)
            if not isinstance(cases, Iterable):
                raise PlanError(f"its cases return {cases!r}: they are to yield Case(…)")
            for case in cases:
                empty = False
                if not (isinstance(case, Case) and [type(field) for field in case] == [str, dict]):
                    raise PlanError(f"its cases yield {case!r}: Case(name, {{a plan's fields}}) is expected")
                yield case
        except MonkeywrenchError as error:
            raise PlanError(f"scenario {self.name!r}: {error}") from error
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{place.filename}:{place.lineno} in {place.name}"
            raise PlanError(f"scenario {self.name!r} failed: {type(error).__name__}: {error} ({where})") from error
        if empty:
            raise PlanError(f"scenario {self.name!r} has no cases: its cases yield one Case(…) at least")
