"""A latch between processes: closed until it is opened, once, for all who wait."""

from __future__ import annotations

import os

from . import _gate


class Latch:
    """The end of file of a pipe whose writing end one process holds, until it opens the latch or dies."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()

    @property
    def is_open(self) -> bool:
        """Whether those who wait may go on; known to the process that opens it."""
        return self._writer < 0

    def open(self) -> None:
        """Let everybody go on. Opening it again does nothing."""
        if self._writer >= 0:
            os.close(self._writer)
            self._writer = -1

    def forget(self) -> None:
        """In a fork's child: hold nobody back any more, this process included."""
        self.open()

    def wait(self) -> None:
        """Return when the latch is open."""
        _gate.real.read(self._reader, 1)
