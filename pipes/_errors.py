"""What the queue raises and warns of.

Laws of this module: an error raised by an operation on messages says whether the message was put or taken;
where the standard library has a name for what happened (`queue.Full`, `asyncio.QueueEmpty`,
`FileExistsError`), that is what is raised, and nothing here replaces it.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from typing import Any, Final

__all__ = [
    "ForeignBytesWarning",
    "MessageTooDeepError",
    "MessageTooLargeError",
    "NotAPipeError",
    "PipeQueueError",
    "QueueBusyError",
    "QueueClosedError",
    "UndecodableError",
    "UndeliveredWarning",
    "UnsafePipeError",
    "shown",
    "warn",
]


class PipeQueueError(Exception):
    """The base of every error that only this package raises."""


class QueueClosedError(PipeQueueError, ValueError):
    """The queue was closed: the operation did not happen, nothing was put or taken.

    Raised by any operation on a closed queue, and by one which was waiting when `close()` was called.
    """


class QueueBusyError(PipeQueueError, OSError):
    """The pipe could not be opened: another process kept it locked, as one does for a moment while it opens
    or closes; or a signal's handler used a queue with `history=False` which it interrupted while it was being
    opened.

    Nothing was changed. If the error comes back, look for a stopped process which holds the pipe open.
    """


class NotAPipeError(PipeQueueError, OSError):
    """What the path names is no FIFO (a file, a directory, a socket, a symbolic link, ...).

    It was left as it is.
    """


class UnsafePipeError(PipeQueueError, PermissionError):
    """The FIFO belongs to another user, or more users may write to it than `mode` says.

    It was left as it is.
    """


class MessageTooLargeError(PipeQueueError, ValueError):
    """The message is over the limit of encoded bytes or of elements. Nothing of it was put."""


class MessageTooDeepError(PipeQueueError, ValueError):
    """The message is nested too deep, or contains itself. Nothing of it was put."""


class UndecodableError(PipeQueueError, ValueError):
    """Bytes are not one encoded message within the limits.

    A queue skips them with a `ForeignBytesWarning`.
    """


class ForeignBytesWarning(RuntimeWarning):
    """Bytes in the pipe were skipped, since no queue of this version put them there whole.

    Something else writes to the pipe, or a writer died in the middle, or a long message's file is gone. Every
    message that arrived whole is still delivered.
    """


class UndeliveredWarning(RuntimeWarning):
    """Messages were still unread when the last holder closed the pipe, which forgets them.

    `count` is their number. Call `drain()` before `close()` to wait until a consumer has taken them.
    """

    def __init__(self, message: str, count: int = 0) -> None:
        super().__init__(message)
        self.count = count


_LONGEST_SHOWN: Final = 60


def shown(value: Any, text_of: Callable[[Any], str] = repr) -> str:
    """Return a short text for a value that is refused, which may be of a stranger's type: its own text is asked
    for, but not trusted, and nobody needs to know why there is none.
    """
    try:
        text = text_of(value)
    except Exception:
        # Python writes no number with too many digits, except in a base that is a power of two.
        text = hex(value) if type(value) is int else object.__repr__(value)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."


_PACKAGE = os.path.dirname(__file__) + os.sep


def warn(warning: Warning) -> None:
    """Issue `warning` at the line of the caller outside this package, which is the line that its reader can
    change.
    """
    level = 1
    frame = sys._getframe(0)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
        level += 1
    warnings.warn(warning, stacklevel=level)
