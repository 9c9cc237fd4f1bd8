"""Long messages: the body in a file beside the FIFO, and in the pipe a claim on it.

Laws of this module:

- everything goes relative to the directory's descriptor, never through the path again;
- a file's name carries the FIFO's inode number. While somebody holds the FIFO open that number belongs to no
  other FIFO, so a sweep for it touches nothing of anybody else's;
- who holds the only lock may sweep, nobody else: a file that nobody has read yet, one whose reader died and
  one whose writer died look alike.
"""

from __future__ import annotations

import contextlib
import os
import stat
import struct
from functools import partial
from typing import Final, NamedTuple
from zlib import crc32

from ._codec import MAX_BYTES
from ._errors import PipeQueueError

__all__ = ["BadClaimError", "Claim", "create", "read", "remove", "sweep"]

PREFIX: Final = ".monkeywrench-"
_ID_SIZE: Final = 16
_CLAIM: Final = struct.Struct(f">{_ID_SIZE}sQI")


class BadClaimError(PipeQueueError):
    """The file that a claim names is missing, or not the one which was claimed."""


class Claim(NamedTuple):
    """What a frame says about a long message's file."""

    id: bytes
    size: int
    checksum: int

    def pack(self) -> bytes:
        """Return the claim as a frame's payload."""
        return _CLAIM.pack(*self)

    @classmethod
    def unpack(cls, payload: bytes) -> Claim:
        """Read a frame's payload. Raises `BadClaimError` if it is no claim that a queue made."""
        if len(payload) != _CLAIM.size:
            raise BadClaimError(f"a claim has {_CLAIM.size} bytes, not {len(payload)}")
        claim = cls(*_CLAIM.unpack(payload))
        if claim.size > MAX_BYTES:
            raise BadClaimError(f"it claims {claim.size} bytes, over the limit of {MAX_BYTES}")
        return claim


def claim_for(body: bytes, ident: bytes) -> Claim:
    """Return the claim on `body` in the file `ident`."""
    return Claim(ident, len(body), crc32(body))


def name_of(inode: int, ident: bytes) -> str:
    """Return the name of the file, in the FIFO's directory."""
    return f"{PREFIX}{inode:016x}-{ident.hex()}"


def create(directory: int, name: str, body: bytes, mode: int) -> None:
    """Write `body` to the new file `name`, or leave no file.

    Raises `OSError` (no space, no permission ...).
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    opened: list[int] = []
    try:
        try:
            descriptor = _open(opened, directory, name, flags, mode)
            os.fchmod(descriptor, mode)
            written = os.write(descriptor, body)
            if written < len(body):
                rest = memoryview(body)
                while written < len(body):
                    written += os.write(descriptor, rest[written:])
        finally:
            for descriptor in opened:
                os.close(descriptor)
    except BaseException:
        if opened:
            remove(directory, name)
        raise


def read(directory: int, name: str, claim: Claim) -> bytes:
    """Return the claimed body. Its file stays, for who has read it to `remove`.

    Raises `BadClaimError` when the file is missing, may not be read or is not as claimed (it stays where it is).
    Any other `OSError`, as when descriptors run out, leaves the file for another try.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    opened: list[int] = []
    try:
        try:
            descriptor = _open(opened, directory, name, flags)
        except FileNotFoundError as error:
            raise BadClaimError(f"its file {name} is missing") from error
        except OSError as error:
            there = _status(directory, name)
            if there is not None and not stat.S_ISREG(there.st_mode):
                raise BadClaimError(f"{name} is no regular file") from error
            if there is not None and isinstance(error, PermissionError) and not _lets_read(there):
                # The file itself refuses, not the way to it: it would for ever, and hold up what comes behind.
                raise BadClaimError(f"{name} may not be read") from error
            raise
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise BadClaimError(f"{name} is no regular file")
        if status.st_uid != os.geteuid():
            raise BadClaimError(f"{name} belongs to another user")
        if status.st_size != claim.size:
            raise BadClaimError(f"{name} has {status.st_size} bytes, and {claim.size} were claimed")
        body = os.read(descriptor, claim.size)
        if len(body) < claim.size:
            pieces, left = [body], claim.size - len(body)
            while left:
                piece = os.read(descriptor, left)
                if not piece:
                    raise BadClaimError(f"{name} became shorter")
                pieces.append(piece)
                left -= len(piece)
            body = b"".join(pieces)
    finally:
        for descriptor in opened:
            os.close(descriptor)
    if crc32(body) != claim.checksum:
        raise BadClaimError(f"the checksum of {name} is wrong")
    return body


def remove(directory: int, name: str) -> None:
    """Remove the file, if it is there."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=directory)


def sweep(directory: int, inode: int) -> None:
    """Remove every file which belongs to the FIFO. Only for who holds the exclusive lock on it.

    In a directory that may not be listed, or not be written, what is there stays.
    """
    prefix = f"{PREFIX}{inode:016x}-"
    with contextlib.suppress(OSError):
        listing = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
        try:
            names = os.listdir(listing)
        finally:
            os.close(listing)
        for name in names:
            if name.startswith(prefix):
                remove(directory, name)


def _open(opened: list[int], directory: int, name: str, flags: int, mode: int = 0) -> int:
    """Open a file, and put its descriptor into `opened` too, for who must close it whatever happens."""
    # In one step: no signal's handler comes between opening it and having its number.
    opened.extend(map(partial(os.open, dir_fd=directory), (name,), (flags,), (mode,)))
    return opened[-1]


def _status(directory: int, name: str) -> os.stat_result | None:
    """Return what can be seen of a file, or None: what cannot be asked now may be asked again."""
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return None


def _lets_read(status: os.stat_result) -> bool:
    """Whether the file's mode lets this user read it, as far as that says."""
    return bool(status.st_mode & (stat.S_IRUSR if status.st_uid == os.geteuid() else stat.S_IRGRP | stat.S_IROTH))
