"""The queue that everybody writes first."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..guarantees import Guarantees
from ._adapter import Adapter


class JsonLinesAdapter(Adapter):
    """One line of JSON a message, over ``os.mkfifo``. One consumer reads it, byte by byte, and keeps nothing back.

    Several producers work as long as no line is longer than ``PIPE_BUF``; longer ones come out mixed.
    """

    guarantees = Guarantees(
        killed_consumer_may_cost=1,
        types=("NoneType", "bool", "dict", "float", "int", "list", "str"),
        most_consumers=1,
    )

    def fifo(self, directory: Path) -> Path:
        """Return where the FIFO is."""
        return directory / "lines.fifo"

    def make(self, directory: Path) -> None:
        """Make the FIFO, and hold it open until the end: nobody waits in ``open``, and nobody sees end of file."""
        self._path = self.fifo(directory)
        os.mkfifo(self._path, 0o600)
        self._held = os.open(self._path, os.O_RDWR)

    def open(self, role: str) -> int:
        """Open the FIFO at one end."""
        return os.open(self._path, os.O_WRONLY if role == "producer" else os.O_RDONLY)

    def put(self, end: int, message: Any) -> None:
        """Write one line."""
        os.write(end, json.dumps(message).encode() + b"\n")

    def get(self, end: int) -> Any:
        """Read one line."""
        line = bytearray()
        while not line.endswith(b"\n"):
            line += os.read(end, 1)
        return json.loads(line)

    def close(self, end: int) -> None:
        """Close this peer's end."""
        os.close(end)

    def destroy(self) -> None:
        """Close the last end, and remove the FIFO."""
        os.close(self._held)
        self._path.unlink(missing_ok=True)
