"""The fault that breaks nothing: the specimen to copy, and the proof that placing a fault costs nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..triggers import Trigger
from ._fault import Fault


@dataclass(frozen=True, slots=True)
class Noop(Fault):
    """Strike, and leave the peer as it was."""

    name: ClassVar[str] = "noop"

    peer: str
    at: Trigger

    def __str__(self) -> str:
        return f"strike {self.peer} {self.at}, without effect"
