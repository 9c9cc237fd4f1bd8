"""What a queue's own code forks inside a peer: it is no peer. No fault strikes there, and nothing of it is recorded;
if it comes back out of the queue's code, it does not play the peer's part a second time, but ends.
"""

from __future__ import annotations

import os
import traceback

from . import _gate, _system
from ._eventlog import Recorder

_peer = 0
_recorders: tuple[Recorder, ...] = ()


def begin(*recorders: Recorder) -> None:
    """Take note that this process is a peer, and that these recorders are its own."""
    global _peer, _recorders
    _peer, _recorders = os.getpid(), recorders


def end(error: BaseException | None = None) -> None:
    """End this process at once, unless it is the peer itself: as Python ends with this error, or without one."""
    if os.getpid() == _peer:
        return
    status = 0
    if isinstance(error, SystemExit):
        status = error.code & 0xFF if isinstance(error.code, int) else int(error.code is not None)
    elif error is not None:
        status = 1
        _system.say("".join(traceback.format_exception(error)))
    os._exit(status)


def _forked() -> None:
    _gate.set_warden(None)
    for recorder in _recorders:
        recorder.mute(end)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
