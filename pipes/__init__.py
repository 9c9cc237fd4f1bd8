# ruff: noqa: A005 - it is never imported by the bare name, which the standard library had until 3.12
"""The queue: messages between processes over a POSIX named pipe.

`SimplePipeQueue` has blocking calls, `PipeQueue` the same for asyncio. Both speak the same format, and both
promise the same: what a process puts, another gets, whole, once, in order, with its types, whoever is killed
in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._errors import (
    ForeignBytesWarning,
    MessageTooDeepError,
    MessageTooLargeError,
    NotAPipeError,
    PipeQueueError,
    QueueBusyError,
    QueueClosedError,
    UndeliveredWarning,
    UnsafePipeError,
)
from ._simple import SimplePipeQueue

if TYPE_CHECKING:
    from ._asyncio import PipeQueue

__all__ = [
    "ForeignBytesWarning",
    "MessageTooDeepError",
    "MessageTooLargeError",
    "NotAPipeError",
    "PipeQueue",
    "PipeQueueError",
    "QueueBusyError",
    "QueueClosedError",
    "SimplePipeQueue",
    "UndeliveredWarning",
    "UnsafePipeError",
]


def __getattr__(name: str) -> Any:
    # asyncio takes longer to import than all the rest: only for those who use it.
    if name == "PipeQueue":
        from ._asyncio import PipeQueue

        return PipeQueue
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
