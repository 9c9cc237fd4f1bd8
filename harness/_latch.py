"""What processes wait for when another one decides: a latch, once and for all; permits, one at a time."""

from __future__ import annotations

import os
import select

from . import _gate


class Latch:
    """The end of file of a pipe whose writing end one process holds, until it opens the latch or dies."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()

    @property
    def is_open(self) -> bool:
        """Whether those who wait may go on; known to the process that opens it."""
        return self._writer < 0

    def look(self) -> bool:
        """Return whether those who wait may go on, for one of them, who does not wait."""
        poll = select.poll()
        poll.register(self._reader, 0)
        return bool(poll.poll(0))

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


class Permits:
    """What one process may do, piece by piece, as long as the one that made this gives it leave, and lives.

    given: how many there were so far.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        self.given = 0

    def give(self, count: int) -> None:
        """Let so many more be taken."""
        os.write(self._writer, bytes(count))
        self.given += count

    def end(self) -> None:
        """Give no more: after those that were given, there are none."""
        os.close(self._reader)
        os.close(self._writer)

    def forget(self) -> None:
        """In a fork's child: keep nobody waiting for more, this process included."""
        os.close(self._writer)

    def take(self) -> bool:
        """Wait for the next one, and return whether there is one."""
        return _gate.real.read(self._reader, 1) != b""
