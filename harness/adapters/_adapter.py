"""How the harness makes, opens and uses one kind of queue."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from ..guarantees import Guarantees


class Adapter(ABC):
    """One kind of queue. Subclass it, fill in four methods, and every trial runs against your queue.

    The trial root makes an adapter's queue, then forks the peers, so that a queue which can only be inherited is
    tested like any other. Every peer then opens the queue for itself. The object that ``open`` returns is handed back
    to ``put``, ``get`` and ``close``. These call the queue as its users do: without a time-out, and without catching
    anything.
    """

    guarantees: ClassVar[Guarantees] = Guarantees()

    def __init_subclass__(cls, **settings: Any) -> None:
        super().__init_subclass__(**settings)
        if not isinstance(cls.guarantees, Guarantees):
            raise TypeError(f"{cls.__name__}.guarantees={cls.guarantees!r}: set it to Guarantees(order=…, …)")
        for name in ("fifo", "make", "open", "put", "get", "close", "destroy"):
            function = getattr(cls, name)
            if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
                raise TypeError(
                    f"{cls.__name__}.{name} is an async function, and nobody would await it: write a plain one, which "
                    "runs what it awaits in an event loop of the adapter's own"
                )

    def fifo(self, directory: Path) -> Path | None:
        """Return where ``make`` puts the FIFO of this queue, if it has one that a stranger could open."""
        return None

    @abstractmethod
    def make(self, directory: Path) -> None:
        """Make the queue; in the trial root, before any peer exists.

        directory: empty, this trial's own, on a local file system. What is still in it after ``destroy`` has leaked.
        """

    def open(self, role: str) -> Any:
        """Return this peer's end of the queue; in the peer. *role* is ``producer`` or ``consumer``."""
        return None

    @abstractmethod
    def put(self, end: Any, message: Any) -> None:
        """Put one message, waiting for as long as it takes."""

    @abstractmethod
    def get(self, end: Any) -> Any:
        """Return one message, waiting for as long as it takes."""

    def close(self, end: Any) -> None:  # noqa: B027 -- a queue that needs no closing is a queue
        """Close this peer's end; in the peer. Returns when all that was put is on its way."""

    def destroy(self) -> None:  # noqa: B027 -- a queue that leaves nothing behind by itself has nothing to do here
        """Remove the queue; in the trial root, when all peers have ended."""
