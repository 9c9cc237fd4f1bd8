"""The fault that breaks nothing: the specimen to copy, and the proof that placing a fault costs nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .. import triggers
from ..triggers import Trigger


@dataclass(frozen=True, slots=True)
class Noop:
    """Strike, and leave the peer as it was. *final* and *replace*: whether it ends the peer, and another follows."""

    name: ClassVar[str] = "noop"
    final: ClassVar[bool] = False
    replace: ClassVar[bool] = False

    peer: str
    at: Trigger

    def __post_init__(self) -> None:
        triggers.check(self.at)

    def __str__(self) -> str:
        return f"strike {self.peer} {self.at}, without effect"

    def strike(self, pid: int) -> None:
        """Do nothing to the peer with this pid. It goes on."""
