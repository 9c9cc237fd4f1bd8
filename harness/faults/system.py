"""The system says no."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from typing import ClassVar

try:
    import resource
except ImportError:  # no POSIX system: nobody strikes there, but plans can be made
    resource = None  # type: ignore[assignment]

from .. import _system
from .._errors import PlanError
from ..triggers import Call, Message, Trigger
from ._fault import Fault, Scene, check_count

ERRNOS = ("EINTR", "EAGAIN", "ENOSPC", "EMFILE", "ENFILE", "EIO", "EPIPE", "EACCES", "EDQUOT", "ENOMEM", "EPERM")
# What Python raises where the program is wrong, and no system is to blame.
_MISTAKES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    NotImplementedError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Error(Fault):
    """Have a system call fail, and do nothing; a ``close`` closes all the same, as Linux does it.

    The put or get which makes the call may fail with that error (as OSError, or raised from it): a put that fails has
    put nothing, and a get that fails has taken nothing. It may as well try again, and succeed.

    errno: its name, such as ``ENOSPC``.
    """

    name: ClassVar[str] = "error"
    in_call: ClassVar[bool] = True

    peer: str
    at: Trigger
    errno: str = "EIO"

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        if self.errno not in ERRNOS:
            raise PlanError(f"errno={self.errno!r}: allowed are {', '.join(ERRNOS)}")
        if (isinstance(self.at, (Call, Message)) and self.at.byte is not None) or getattr(self.at, "after", False):
            raise PlanError(f"{self}: a call that fails transfers nothing; leave byte= and after= away")

    @property
    def error(self) -> OSError | None:
        number = getattr(errno, self.errno)
        return OSError(number, f"{os.strerror(number)} (injected)")

    def excuses(self, error: OSError) -> bool:
        return bool(error.errno == getattr(errno, self.errno))

    def __str__(self) -> str:
        return f"{self.errno} for {self.peer} {self.at}"


@dataclass(frozen=True, slots=True)
class Limit(Fault):
    """Leave a peer only a few descriptors, by RLIMIT_NOFILE, until an operation of the queue has failed of it.

    It may fail with EMFILE; or with an error that C code makes of that, such as ``sqlite3.OperationalError``. Which
    error is one, nobody can tell: while the limit is in force, any is taken for one that names no other errno, and is
    none of those of Python's own which tell of a mistake in the program. It is so taken once: the limit is lifted then.

    descriptors: how many more it can open.
    """

    name: ClassVar[str] = "limit"
    inside: ClassVar[bool] = True
    turn: ClassVar[int] = 2  # others open something to strike

    peer: str
    at: Trigger
    descriptors: int = 0

    def __post_init__(self) -> None:
        Fault.__post_init__(self)
        check_count(0, 1000, descriptors=self.descriptors)

    def excuses(self, error: OSError) -> bool:
        return error.errno == errno.EMFILE

    def accounts_for(self, error: BaseException) -> bool:
        """Whether the limit is in force, and this tells neither of something else nor of a mistake in the program."""
        lowered, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        if lowered == most or not isinstance(error, Exception) or isinstance(error, (BaseExceptionGroup, *_MISTAKES)):
            return False
        return getattr(error, "errno", None) in (None, errno.EMFILE)

    def __str__(self) -> str:
        return f"{self.descriptors} descriptors left for {self.peer} {self.at}"

    def strike(self, scene: Scene) -> None:
        """Lower the limit. It counts numbers, not descriptors: the free ones below the highest are left as well."""
        self.lift(scene)  # of an earlier one, under which nobody could look
        taken = sorted(_system.descriptors())
        free = [number for number in range(taken[-1] + self.descriptors + 2) if number not in taken]
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free[self.descriptors], most))

    def lift(self, scene: Scene) -> None:
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
