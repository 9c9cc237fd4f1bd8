"""persist-queue: a queue in an SQLite database."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import persistqueue

from ..guarantees import Guarantees
from ._adapter import Adapter

# A put in another process wakes nobody: whoever waits looks again, after ten seconds if left alone.
_BETWEEN_LOOKS_S = 0.01


class PersistQueueAdapter(Adapter):
    """``persistqueue.SQLiteQueue``, opened by its path in every peer.

    The only kind of persist-queue's that several processes can share (its ``Queue`` keeps its place in memory), for
    SQLite's own locks are theirs too. Its documentation promises threads alone: ``get`` selects a row and then deletes
    it, and between the two another consumer may have got the same one.
    And ``get`` takes a message that is ``None`` for an empty queue, and drops it.
    """

    guarantees = Guarantees(duplicates=True, gate=())

    def make(self, directory: Path) -> None:
        """Make the database."""
        self._path = directory / "database"
        persistqueue.SQLiteQueue(str(self._path)).close()

    def open(self, role: str) -> Any:
        """Open the database by its path."""
        return persistqueue.SQLiteQueue(str(self._path))

    def put(self, end: Any, message: Any) -> None:
        """Put one message; it is committed when this returns."""
        end.put(message)

    def get(self, end: Any) -> Any:
        """Return one message."""
        while True:
            try:
                return end.get(timeout=_BETWEEN_LOOKS_S)
            except persistqueue.Empty:
                continue

    def close(self, end: Any) -> None:
        """Close this peer's connection."""
        end.close()

    def destroy(self) -> None:
        """Remove the database."""
        shutil.rmtree(self._path)
