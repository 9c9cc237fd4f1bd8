"""What on this system matters to trials and to the queue, each with one word; and what earlier runs have left."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import importlib.metadata
import os
import platform
import resource
import select
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import click
from monkeywrench.harness import PlanError, adapters

from . import _leftovers

CLEAN, LEFT = 0, 1
OK, WARN = "ok", "warn"
_MIB = 1 << 20
_PR_GET_CHILD_SUBREAPER = 37
# Either exempts a process from the quota of pipe pages: CAP_SYS_ADMIN, CAP_SYS_RESOURCE.
_EXEMPTING = 1 << 21 | 1 << 24
_REMOTE = ("nfs", "nfs4", "cifs", "smb3", "9p", "fuse.sshfs", "ceph", "glusterfs")


class Check(NamedTuple):
    """One thing about the system: ok or not, what was found, and why it matters."""

    name: str
    ok: bool
    found: str
    why: str


def examine() -> Iterator[Check]:
    """Yield every check, made now. None of them changes anything, or needs privileges."""
    for check in (
        _python,
        _plugin,
        _queues,
        _pipe_buf,
        _packets,
        _sizes,
        _quota,
        _descriptors,
        _proc,
        _subreaper,
        _place,
    ):
        try:
            yield check()
        except (OSError, ValueError, AttributeError) as error:
            what = str(check.__doc__).partition(":")[0]
            yield Check(what, False, f"not known: {error}", "this system does not say, or does not have it")


def show(*, clean: bool, echo: Callable[[str], object] = click.echo) -> int:
    """Tell everything, remove what was left behind if told to, and return the exit status."""
    for check in examine():
        echo(f"{OK if check.ok else WARN:<5} {check.name}: {check.found}")
        echo(f"      {check.why}")
    left = _leftovers.find()
    if clean and any(left):
        for told in _told(left):
            echo(f"clean {told}")
        left = _leftovers.clean(left)
    for told in _told(left):
        echo(f"{WARN:<5} {told}")
    if not any(left):
        echo(f"{OK:<5} nothing of earlier runs is left")
        return CLEAN
    if not clean:
        echo("      monkeywrench doctor --clean removes what is left and nobody uses, and nothing else")
    return LEFT


def _told(left: _leftovers.Leftovers) -> Iterator[str]:
    for stray in left.strays:
        yield f"left behind: process {stray.pid}, which worked for {stray.owner}, and that is dead"
    for directory in left.directories:
        fifos = f", with {directory.fifos} FIFO{'' if directory.fifos == 1 else 's'}" if directory.fifos else ""
        users = f"; in use by {', '.join(map(str, directory.users))}, so it stays" if directory.users else ""
        yield f"left behind: directory {directory.path} of {directory.owner}, which is dead{fifos}{users}"


def _python() -> Check:
    """Python: its version and kind."""
    ok = sys.version_info >= (3, 11) and sys.platform == "linux"
    found = f"{platform.python_implementation()} {platform.python_version()}, {platform.system()} {platform.release()}"
    return Check("Python", ok, found, "tested on CPython 3.11 to 3.15, on Linux")


def _plugin() -> Check:
    """Pytest plugin: whether pytest finds it."""
    found = [point for point in importlib.metadata.entry_points(group="pytest11") if point.name == "monkeywrench"]
    try:
        version = importlib.metadata.version("pytest")
    except importlib.metadata.PackageNotFoundError:
        version = None
    said = "pytest is not installed" if version is None else f"pytest {version}"
    said += ", and finds it" if found and version else "" if version is None else ", and does not find it"
    return Check("pytest plugin", bool(found and version), said, "the fixtures are there wherever pytest is")


def _queues() -> Check:
    """queues: which can be put under test here."""
    there: list[str] = []
    missing: list[str] = []
    for name in adapters.ADAPTERS:
        why = _missing(name)
        if why is None:
            there.append(name)
        else:
            missing.append(f"{name} ({why})")
    found = ", ".join(there) + (f"; not here: {', '.join(missing)}" if missing else "")
    return Check("queues", True, found, "what 'monkeywrench run --queue' can break")


def _missing(name: str) -> str | None:
    missing = getattr(adapters, "missing", None)
    if missing is not None:
        return str(why) if (why := missing(name)) else None
    try:
        adapters.load(name)
    except PlanError as error:
        return str(error)
    return None


def _pipe_buf() -> Check:
    """PIPE_BUF: the longest write that is all or nothing."""
    return Check(
        "PIPE_BUF",
        select.PIPE_BUF >= 4096,
        f"{select.PIPE_BUF} bytes",
        "a write up to it is all or nothing, also among many",
    )


def _packets() -> Check:
    """Packet mode: whether a pipe keeps packets apart."""
    reader, writer = os.pipe2(os.O_DIRECT | os.O_NONBLOCK)
    try:
        for packet in (b"one", b"two"):
            os.write(writer, packet)
        ok = os.read(reader, 4096) == b"one"
    except OSError as error:
        return Check("packet mode", False, os.strerror(error.errno or 0), "without it the queue reads under a lock")
    finally:
        os.close(reader)
        os.close(writer)
    return Check("packet mode", ok, "works" if ok else "does not work", "with it the queue needs no lock at all")


def _sizes() -> Check:
    """Pipe sizes: the default, and what a pipe may grow to."""
    most = int(Path("/proc/sys/fs/pipe-max-size").read_text())
    reader, writer = os.pipe()
    try:
        default = fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ)
        try:
            grown = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, _MIB)
        except PermissionError:
            grown = default
    finally:
        os.close(reader)
        os.close(writer)
    found = f"{default:,} bytes by default, at most {most:,}; one made now can have {grown:,}"
    return Check("pipe sizes", grown >= _MIB, found, "each message takes a page: 1 MiB is 256 messages deep")


def _quota() -> Check:
    """Quota of pipe pages: how many deep pipes a user may have."""
    soft = int(Path("/proc/sys/fs/pipe-user-pages-soft").read_text())
    status = Path("/proc/self/status").read_text()
    capabilities = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")), 16)
    exempt = bool(capabilities & _EXEMPTING)
    pipes = soft * os.sysconf("SC_PAGE_SIZE") // _MIB
    much = f"{soft:,} pages, {pipes} pipes of 1 MiB" if soft else "none is set"
    found = f"{much}; this process is {'' if exempt else 'not '}exempt"
    return Check("quota of pipe pages", exempt or not soft or pipes >= 16, found, "beyond it a pipe is two pages deep")


def _descriptors() -> Check:
    """descriptors: how many a process may have open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limits = [f"{limit:,}" if limit != resource.RLIM_INFINITY else "any number" for limit in (soft, hard)]
    ok = soft >= 1024 or soft == resource.RLIM_INFINITY
    return Check("descriptors", ok, f"{limits[0]}, at most {limits[1]}", "a trial takes about three for each peer")


def _proc() -> Check:
    """/proc: whether processes can be looked at."""
    ok = all(os.path.exists(f"/proc/self/{name}") for name in ("fd", "stat", f"task/{os.getpid()}/children"))
    why = "finds who holds a FIFO, who is blocked, and what is left behind"
    return Check("/proc", ok, "there" if ok else "not whole, or not there", why)


def _subreaper() -> Check:
    """prctl: whether orphans can be adopted."""
    found = ctypes.c_int(-1)
    done = ctypes.CDLL(None, use_errno=True).prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(found), 0, 0, 0)
    said = "works" if done == 0 else errno.errorcode.get(ctypes.get_errno(), "fails")
    return Check("prctl", done == 0, said, "a parent's death ends its peers, and no orphan gets away")


def _place() -> Check:
    """Temporary files: where trials put theirs."""
    directory = tempfile.gettempdir()
    kind = _file_system(os.path.realpath(directory))
    free = shutil.disk_usage(directory).free
    ok = kind not in _REMOTE and free >= 256 * _MIB
    found = f"{directory} on {kind}, {free / (1 << 30):,.1f} GiB free"
    return Check("temporary files", ok, found, "FIFOs and histories of trials are there: it has to be local, with room")


def _file_system(path: str) -> str:
    """Return the type of the file system that a path is on."""
    best, kind = "", "a file system that is not known"
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, mount, found = line.split()[:3]
        mount = mount.replace("\\040", " ")
        if f"{path}/".startswith(f"{mount.rstrip('/')}/") and len(mount) >= len(best):
            best, kind = mount, found
    return kind
