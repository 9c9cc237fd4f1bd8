"""Partial transfers: a call that moves less than it was asked to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .._errors import PlanError
from ..triggers import Call, Message, Trigger
from ._fault import Fault, check_count


@dataclass(frozen=True, slots=True)
class Short(Fault):
    """Have a read or write transfer only the first few bytes, and return that it did.

    No POSIX system does this to a pipe's write of at most ``PIPE_BUF`` bytes, nor to a read in packet mode.

    size: how many bytes go through, at least 1.
    """

    name: ClassVar[str] = "short"
    in_call: ClassVar[bool] = True

    peer: str
    at: Trigger
    size: int = 1

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        check_count(1, 1 << 30, size=self.size)
        if self.at.call_kind not in ("read", "write", "any"):
            raise PlanError(f"{self}: only reads and writes transfer bytes")
        if (isinstance(self.at, (Call, Message)) and self.at.byte is not None) or getattr(self.at, "after", False):
            raise PlanError(f"{self}: size= says where the call is cut; leave byte= and after= away")

    @property
    def most_bytes(self) -> int | None:
        return self.size

    def __str__(self) -> str:
        return f"{self.peer} cut short {self.at}, to {self.size} {'byte' if self.size == 1 else 'bytes'}"
