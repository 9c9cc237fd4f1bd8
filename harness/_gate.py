"""The one seam through which the system calls of a peer pass.

``install`` comes before whatever a queue is built on is imported, for some modules (``multiprocessing.connection``)
bind their calls as they load. Until a warden is set, a call passes straight through; the harness's own calls go
around the gate (``real``). What C code does by itself, the gate does not see.
"""

from __future__ import annotations

import functools
import os
import socket
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

try:
    import fcntl
except ImportError:  # no POSIX system: what imports this can be imported all the same, and tests are skipped
    fcntl = None  # type: ignore[assignment]


class Passage(NamedTuple):
    """One gated function: its kind, which of its arguments is the data (of reads, the size), its place in the list."""

    kind: str
    name: str
    real: Callable[..., Any]
    data: int | None
    number: int


class Warden(Protocol):
    """Who decides on each call; it makes the call itself, or does not."""

    def __call__(self, passage: Passage, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any: ...


# Every gated function: where it is, the kind that triggers know it by, its names, and the place of its data.
_GATED: tuple[tuple[Any, str, tuple[str, ...], int | None], ...] = (
    (os, "read", ("read", "pread"), 1),
    (os, "read", ("readv", "preadv"), None),
    (os, "write", ("write", "pwrite"), 1),
    (os, "write", ("writev", "pwritev", "sendfile"), None),
    (os, "open", ("open", "pipe", "pipe2", "mkfifo"), None),
    (os, "close", ("close",), None),
    (os, "unlink", ("unlink", "remove", "rename", "replace"), None),
    (os, "stat", ("stat", "lstat", "fstat", "ftruncate"), None),
    (os, "sync", ("fsync", "fdatasync"), None),
    (fcntl, "lock", ("flock", "lockf"), None),
    (fcntl, "control", ("fcntl", "ioctl"), None),
    (socket.socket, "write", ("send", "sendall", "sendto"), 1),
    (socket.socket, "write", ("sendmsg",), None),
    (socket.socket, "read", ("recv", "recvfrom"), 1),
    (socket.socket, "read", ("recv_into", "recvfrom_into", "recvmsg"), None),
)

_warden: Warden | None = None
_passages: list[tuple[Any, Passage]] = []


class _Real:
    """The calls as the system offers them, for the harness itself."""

    read = staticmethod(os.read)
    write = staticmethod(os.write)
    close = staticmethod(os.close)
    fstat = staticmethod(os.fstat)
    if fcntl is not None:
        fcntl = staticmethod(fcntl.fcntl)


real = _Real


def set_warden(warden: Warden | None) -> None:
    """Hand every gated call of this process to *warden* from now on; ``None`` lets them pass."""
    global _warden
    _warden = warden


def install() -> None:
    """Put the gate in place, once, for the life of this process and of all that it forks."""
    if _passages:
        return
    swapped: dict[Any, Any] = {}
    for owner, kind, names, data in _GATED:
        for name in names:
            function = getattr(owner, name, None)
            if function is not None:
                passage = Passage(kind, name, function, data, len(_passages))
                _passages.append((owner, passage))
                swapped[function] = _gated(passage)
                setattr(owner, name, swapped[function])
    # The standard library looks its functions up here to learn what they can do (shutil.rmtree, say).
    for known in (os.supports_dir_fd, os.supports_effective_ids, os.supports_fd, os.supports_follow_symlinks):
        known.update(swapped[function] for function in tuple(known) if function in swapped)


def name_of(number: int) -> str:
    """Return the name of the gated function with this number."""
    return _passages[number][1].name


def _gated(passage: Passage) -> Callable[..., Any]:
    function = passage.real

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if _warden is None:
            return function(*args, **kwargs)
        return _warden(passage, args, kwargs)

    return call
