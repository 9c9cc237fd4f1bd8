"""``python -m monkeywrench.scenarios`` is ``monkeywrench``."""

from __future__ import annotations

import io
import os
import signal
import sys
from types import FrameType


def main() -> None:
    """Run the command line; Ctrl-C ends it without a word while it is still being imported."""
    catches = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if catches:
        # An exception might be lost: importing runs callbacks that raise none.
        signal.signal(signal.SIGINT, _end)
    from .cli import main as command

    if catches:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if isinstance(sys.stdout, io.TextIOWrapper):
        # Messages, and what peers said, may hold what no encoding has: that is written as Python writes it.
        sys.stdout.reconfigure(errors="backslashreplace")
    command(prog_name="monkeywrench")


def _end(_number: int, _frame: FrameType | None) -> None:
    os._exit(130)


if __name__ == "__main__":
    main()
