"""A peer is killed, exactly there."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import ClassVar

from ..triggers import Trigger


@dataclass(frozen=True, slots=True)
class Kill:
    """End a peer by SIGKILL. Nothing of it runs any more: what it held, it held to the end."""

    name: ClassVar[str] = "kill"
    final: ClassVar[bool] = True

    peer: str
    at: Trigger

    def __str__(self) -> str:
        return f"SIGKILL to {self.peer} {self.at}"

    def strike(self) -> None:
        """Send the signal to this process, by itself: no other place in time is as exact."""
        os.kill(os.getpid(), signal.SIGKILL)
