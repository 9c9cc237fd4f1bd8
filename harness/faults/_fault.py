"""What all faults have in common."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from .. import triggers
from .._errors import PlanError
from ..triggers import Trigger


class Scene(NamedTuple):
    """Where a fault strikes.

    pid: of the peer; its own, if the fault strikes inside the peer.
    fifo: where the queue has its FIFO, if it has one.
    aside: a directory of the trial's, on the same file system, for what is moved out of the way.
    """

    pid: int
    fifo: Path | None
    aside: Path


class Fault:
    """Frozen settings (whom, when, what), and one method, ``strike``, which breaks it.

    A fault strikes in the peer itself, where its trigger says; or, if that goes by the clock, from the trial root.

    name: what a plan's JSON calls it.
    final: whether it ends the peer.
    inside: whether it can strike only inside the peer.
    in_call: whether it changes what a system call does, and so needs a trigger that is inside of one.
    needs_fifo: whether it needs the FIFO of the queue.
    counts: whether it has the calls of its peer recorded.
    posix: whether the system can do this by itself. What only a foreign writer can do is held against no queue that
        does not promise to withstand it.
    turn: of several at one place, which comes first, in ascending order: who takes away what others need comes after
        them, and who ends the peer comes last.
    """

    name: ClassVar[str]
    final: ClassVar[bool] = False
    inside: ClassVar[bool] = False
    in_call: ClassVar[bool] = False
    needs_fifo: ClassVar[bool] = False
    counts: ClassVar[bool] = False
    posix: ClassVar[bool] = True
    turn: ClassVar[int] = 0

    peer: str
    at: Trigger

    def __post_init__(self) -> None:
        triggers.check(self.at)
        if self.at.by_clock and (self.inside or self.in_call):
            raise PlanError(f"{self}: {self.name} strikes inside the peer; elapsed() and blocked() come from outside")
        if self.in_call and self.at.call_kind is None:
            raise PlanError(
                f"{self}: {self.name} changes a system call; say which: read(n), write(n), call(kind, n), message(n), "
                "every(n, kind) or rate(probability, kind)"
            )

    @property
    def replaced(self) -> bool:
        """Whether a fresh peer takes the place of the one that this ends."""
        return False

    @property
    def pause_s(self) -> float | None:
        """For how many seconds the peer is stopped by this, or None if it is not."""
        return None

    @property
    def delay_s(self) -> float:
        """For how many seconds this has its peer wait, whenever it strikes."""
        return 0.0

    @property
    def error(self) -> OSError | None:
        """The error that the call fails with, or None."""
        return None

    @property
    def most_bytes(self) -> int | None:
        """How many bytes the call transfers at most, or None for as many as it is to."""
        return None

    def excuses(self, error: OSError) -> bool:
        """Whether an operation of the queue may fail with this error because of the fault."""
        return False

    def accounts_for(self, error: BaseException) -> bool:
        """Whether C code may have made this error of the fault: one that does not say what the system said."""
        return False

    def ended(self, how: Mapping[str, Any]) -> bool:
        """Whether a peer that this struck, and whose exit was noted so, ended by it: it may have survived."""
        return self.final

    def too_late(self, scene: Scene) -> str | None:
        """Return why this cannot strike any more, or None if it can."""
        return None

    def prepare(self, scene: Scene) -> None:
        """Get ready: everybody has the queue open. Called by the trial root, for faults that need the FIFO."""

    def strike(self, scene: Scene) -> None:
        """Break it."""

    def lift(self, scene: Scene) -> None:
        """Undo what the strike did, as far as it lasts: an operation has failed of it, or the trial heals."""


def check_seconds(**values: float) -> None:
    """Raise PlanError unless these are seconds that a fault may last."""
    for name, value in values.items():
        if type(value) not in (int, float) or not 0 <= value <= 3600:
            raise PlanError(f"{name}={value!r}: seconds from 0 to 3600 are allowed")


def check_count(least: int, most: int, **values: int) -> None:
    """Raise PlanError unless these are whole numbers from *least* to *most*."""
    for name, value in values.items():
        if type(value) is not int or not least <= value <= most:
            raise PlanError(f"{name}={value!r}: a whole number from {least} to {most} is allowed")
