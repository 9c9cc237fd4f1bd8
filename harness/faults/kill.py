"""A peer is killed, exactly there."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from .._errors import PlanError
from ..triggers import Trigger
from ._fault import Fault, Scene

SIGNALS = ("SIGKILL", "SIGTERM", "SIGINT")


@dataclass(frozen=True, slots=True)
class Kill(Fault):
    """End a peer by a signal.

    signal: ``SIGKILL``: nothing of it runs any more; what it held, it held to the end. ``SIGTERM``: the same, unless
        the queue handles it. ``SIGINT``: Python raises KeyboardInterrupt, and the peer ends by that.
    replace: whether a fresh peer takes its place, and does what it had left to do.
    """

    name: ClassVar[str] = "kill"
    final: ClassVar[bool] = True
    turn: ClassVar[int] = 3

    peer: str
    at: Trigger
    signal: str = "SIGKILL"
    replace: bool = False

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if self.signal not in SIGNALS:
            raise PlanError(f"signal={self.signal!r}: allowed are {', '.join(SIGNALS)}")
        if type(self.replace) is not bool:
            raise PlanError(f"replace={self.replace!r}: true or false is allowed")

    @property
    def replaced(self) -> bool:
        return self.replace

    def __str__(self) -> str:
        return f"{self.signal} to {self.peer} {self.at}"

    def ended(self, how: Mapping[str, Any]) -> bool:
        """Whether the peer ended by the signal, or by what Python or the queue made of it at once."""
        if self.signal == "SIGKILL":
            return True
        number = signal.Signals[self.signal]
        by_it = how.get("signal") == self.signal or how.get("code") == 128 + number  # as a shell has it
        return by_it or bool(how.get("interrupted"))

    def strike(self, scene: Scene) -> None:
        """Send the signal. A peer that sends SIGKILL to itself goes no instruction further."""
        os.kill(scene.pid, signal.Signals[self.signal])
