"""A signal as something that poll(2) sees."""

from __future__ import annotations

import os
import signal
from types import TracebackType
from typing import Any, Self


class Wakeup:
    """While open, each arrival of *number* makes ``fileno()`` readable. For the main thread of a process."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._reader, self._writer = os.pipe()
        for descriptor in (self._reader, self._writer):
            os.set_blocking(descriptor, False)
        self._handler: Any = signal.signal(number, lambda _number, _frame: None)
        self._descriptor = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def fileno(self) -> int:
        """Return the descriptor to poll."""
        return self._reader

    def clear(self) -> None:
        """Forget the arrivals so far."""
        try:
            while os.read(self._reader, 512):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Handle the signal as before, in this process; a fork has to close its copy too."""
        signal.set_wakeup_fd(self._descriptor)
        signal.signal(self._number, self._handler)
        os.close(self._reader)
        os.close(self._writer)
