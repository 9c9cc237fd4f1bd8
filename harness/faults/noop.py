"""The fault that breaks nothing: the specimen to copy, and the proof that placing a fault costs nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..triggers import Trigger


@dataclass(frozen=True, slots=True)
class Noop:
    """Strike, and leave the peer as it was."""

    name: ClassVar[str] = "noop"
    final: ClassVar[bool] = False

    peer: str
    at: Trigger

    def __str__(self) -> str:
        return f"strike {self.peer} {self.at}, without effect"

    def strike(self) -> None:
        """Do nothing. The peer goes on."""
