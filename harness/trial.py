"""A trial in the making: what a test says step by step, until it runs."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

from ._errors import PlanError
from .adapters import DEFAULT, Adapter, absolute, load, reference_of
from .faults import Kill
from .plan import Plan
from .runner import run
from .triggers import Trigger
from .verdict import Verdict


def draw_seed() -> int:
    """Return a seed that nobody chose. It is printed with every verdict."""
    return random.SystemRandom().randrange(1 << 32)


class Trial:
    """One plan in the making. Each method checks what it is told at once, and returns the trial.

    queue: an adapter, its class, or what ``harness.adapters.load`` takes; the built-in queue by default.
    producers, consumers: how many peers of each role.
    messages: how many each producer puts.
    seed: draws the messages; a new one by default.
    runner: runs the plan; ``harness.run`` by default.

    All other arguments are those of ``Plan``. Raises PlanError for values that cannot be.
    """

    def __init__(
        self,
        queue: Adapter | type[Adapter] | str = DEFAULT,
        *,
        producers: int = 1,
        consumers: int = 1,
        messages: int = 100,
        large_every: int = 10,
        seed: int | None = None,
        patience_s: float = 5.0,
        deadline_s: float = 120.0,
        name: str = "trial",
        runner: Callable[[Plan, Adapter | None], Verdict] | None = None,
    ) -> None:
        if isinstance(queue, type) and issubclass(queue, Adapter):
            queue = queue()
        if not isinstance(queue, (Adapter, str)):
            raise PlanError(f"queue={queue!r}: an adapter is allowed, or the name of one")
        self._adapter = queue if isinstance(queue, Adapter) else None
        self.has_run = False
        self._runner = runner or (lambda plan, adapter: run(plan, adapter=adapter))
        if isinstance(queue, str):
            load(queue)
        self.plan = Plan(
            queue=absolute(queue) if isinstance(queue, str) else reference_of(queue),
            producers=producers,
            consumers=consumers,
            messages=messages,
            large_every=large_every,
            seed=draw_seed() if seed is None else seed,
            patience_s=patience_s,
            deadline_s=deadline_s,
            name=name,
        )

    def kill(self, peer: str, *, at: Trigger, replace: bool = False) -> Trial:
        """Have *peer* killed by SIGKILL at the place or time that the trigger names.

        replace: whether a fresh peer then takes its place and does what it had left to do: ``producer-0.1`` that of
            ``producer-0``, ``producer-0.2`` that of ``producer-0.1``.
        """
        self.plan = dataclasses.replace(self.plan, faults=(*self.plan.faults, Kill(peer, at, replace)))
        return self

    def run(self) -> Verdict:
        """Run the trial, and return the verdict on it. See ``harness.run``."""
        self.has_run = True
        return self._runner(self.plan, self._adapter)
