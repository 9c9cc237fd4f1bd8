"""Slow peers: one that stands still for a while, and one that takes its time."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import ClassVar

from ..triggers import Trigger
from ._fault import Fault, Scene, check_seconds


@dataclass(frozen=True, slots=True)
class Pause(Fault):
    """Stop a peer by SIGSTOP, all of its threads, and let it go on by SIGCONT.

    seconds: for how long it stands still.
    """

    name: ClassVar[str] = "pause"

    peer: str
    at: Trigger
    seconds: float = 0.2

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        check_seconds(seconds=self.seconds)

    @property
    def pause_s(self) -> float | None:
        return self.seconds

    def __str__(self) -> str:
        return f"SIGSTOP to {self.peer} {self.at}, for {self.seconds:g} s"

    def strike(self, scene: Scene) -> None:
        """Stop the peer. The trial root lets it go on when the time is up."""
        os.kill(scene.pid, signal.SIGSTOP)


@dataclass(frozen=True, slots=True)
class Delay(Fault):
    """Have a peer wait, in the thread that is there; its other threads go on.

    seconds: for how long.
    """

    name: ClassVar[str] = "delay"
    inside: ClassVar[bool] = True

    peer: str
    at: Trigger
    seconds: float = 0.001

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        check_seconds(seconds=self.seconds)

    @property
    def delay_s(self) -> float:
        return self.seconds

    def __str__(self) -> str:
        return f"{self.peer} delayed {self.at}, by {self.seconds:g} s"

    def strike(self, scene: Scene) -> None:
        """Wait."""
        time.sleep(self.seconds)
