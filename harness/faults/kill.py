"""A peer is killed, exactly there."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import ClassVar

from .. import triggers
from .._errors import PlanError
from ..triggers import Trigger


@dataclass(frozen=True, slots=True)
class Kill:
    """End a peer by SIGKILL. Nothing of it runs any more: what it held, it held to the end.

    replace: whether a fresh peer takes its place, and does what it had left to do.
    """

    name: ClassVar[str] = "kill"
    final: ClassVar[bool] = True

    peer: str
    at: Trigger
    replace: bool = False

    def __post_init__(self) -> None:
        triggers.check(self.at)
        if type(self.replace) is not bool:
            raise PlanError(f"replace={self.replace!r}: true or false is allowed")

    def __str__(self) -> str:
        return f"SIGKILL to {self.peer} {self.at}"

    def strike(self, pid: int) -> None:
        """Send the signal to the peer with this pid; a peer that sends it to itself goes no instruction further."""
        os.kill(pid, signal.SIGKILL)
