"""The fault that breaks nothing and writes everything down: each call of a peer that the triggers count."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ..triggers import Start, Trigger
from ._fault import Fault


@dataclass(frozen=True, slots=True)
class Census(Fault):
    """Have every call of *peer* recorded that counts: its kind, its number among those, and what it transferred.

    Where a call is in this history, a fault can be placed in the next trial of the same plan.
    """

    name: ClassVar[str] = "census"
    inside: ClassVar[bool] = True
    counts: ClassVar[bool] = True

    peer: str
    at: Trigger = field(default=Start(), init=False)

    def __str__(self) -> str:
        return f"a census of the calls of {self.peer}"
