"""What may stand at the path, and what is said about everything else. Nothing at the path is ever changed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import queue
import resource
import shutil
import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from monkeywrench.pipes import (
    ForeignBytesWarning,
    NotAPipeError,
    PipeQueue,
    QueueBusyError,
    SimplePipeQueue,
    UnsafePipeError,
    _fifo,
)

from .conftest import Child

Fork = Callable[[Callable[[Child], None]], Child]
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's FIFO")


def snapshot(path: str) -> Any:
    """What must not change about whatever is at `path`."""
    status = os.lstat(path)
    content: object = None
    if stat.S_ISREG(status.st_mode):
        content = Path(path).read_bytes()
    elif stat.S_ISLNK(status.st_mode):
        content = os.readlink(path)
    return status.st_mode, status.st_ino, status.st_mtime_ns, status.st_size, status.st_uid, content


def long_files(directory: str) -> list[str]:
    return [name for name in os.listdir(directory) if name.startswith(".") and not name.endswith("-lock")]


def become_nobody(place: Path) -> None:
    """In a child: be nobody, whose `place` is, if this is root, whom no permission keeps out."""
    if os.geteuid() == 0:
        os.chown(place, 65534, 65534)
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)


def make_regular(path: str) -> None:
    Path(path).write_bytes(b"precious")


def make_directory(path: str) -> None:
    os.mkdir(path)


def make_socket(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(os.path.dirname(path))
        server.bind(os.path.basename(path))


def make_symlink(path: str) -> None:
    os.mkfifo(path + "-target", 0o600)
    os.symlink(path + "-target", path)


def make_dangling(path: str) -> None:
    os.symlink(path + "-nowhere", path)


def make_device(path: str) -> None:
    os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))


@pytest.fixture
def anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A path in a directory where other things may stand too."""
    monkeypatch.chdir(tmp_path)
    return str(tmp_path / "thing")


@pytest.mark.parametrize("history", [True, False])
@pytest.mark.parametrize(
    ("make", "said"),
    [
        (make_regular, "a regular file"),
        (make_directory, "a directory"),
        (make_socket, "a socket"),
        (make_symlink, "a symbolic link to '.*-target'; give the path that it leads to"),
        (make_dangling, "a dangling symbolic link"),
        pytest.param(make_device, "a device", marks=root_only),
    ],
)
def test_what_is_no_fifo_is_named_and_left_alone(
    anywhere: str, make: Callable[[str], None], said: str, history: bool
) -> None:
    make(anywhere)
    before = snapshot(anywhere)
    with pytest.raises(NotAPipeError, match=f"no FIFO, but {said}.*; it was left as it is|{said}") as caught:
        SimplePipeQueue.pipequeue(anywhere, history=history)
    assert caught.value.filename == anywhere
    assert isinstance(caught.value, OSError)
    assert snapshot(anywhere) == before


@pytest.mark.parametrize("make", [make_regular, make_symlink, make_directory, make_dangling])
def test_what_takes_the_fifos_place_while_it_is_opened_is_left_alone(
    anywhere: str, make: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check before opening sees a FIFO; what is opened is something else."""
    os.mkfifo(anywhere, 0o600)
    real, swapped = os.open, []

    def swap(name: Any, *args: Any, **kwargs: Any) -> int:
        if name == "thing" and not swapped:
            os.unlink(anywhere)
            make(anywhere)
            swapped.append(snapshot(anywhere))
        return real(name, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", swap)
        with pytest.raises(OSError, match="no FIFO, but"):
            SimplePipeQueue.pipequeue(anywhere)
    assert [snapshot(anywhere)] == swapped


def make_others_fifo(path: str) -> None:
    os.mkfifo(path)
    os.chmod(path, 0o644)
    os.chown(path, 12345, -1)


def make_fifo(path: str) -> None:
    os.mkfifo(path)
    os.chmod(path, 0o640)


SWAPS: dict[str, tuple[Callable[[str], None], type[OSError]]] = {
    "a file": (make_regular, NotAPipeError),
    "another user's FIFO": (make_others_fifo, UnsafePipeError),
    "another FIFO of ours": (make_fifo, FileExistsError),
}


@pytest.mark.parametrize("history", [True, False])
@pytest.mark.parametrize("swap", SWAPS)
def test_what_takes_the_place_of_the_fifo_that_was_made_is_left_alone(
    anywhere: str, swap: str, history: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is neither opened up to whom `mode` says, nor removed."""
    make, error = SWAPS[swap]
    if make is make_others_fifo and os.geteuid() != 0:
        pytest.skip("only root can make another user's FIFO")
    real, swapped = os.open, []

    def place(name: Any, *args: Any, **kwargs: Any) -> int:
        if name == "thing" and not swapped:
            # Kept elsewhere, so that its number is not used again at once.
            os.rename(anywhere, f"{anywhere}-made")
            make(anywhere)
            swapped.append(snapshot(anywhere))
        return real(name, *args, **kwargs)

    refused = make is not make_fifo or not history
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", place)
        with pytest.raises(error) if refused else contextlib.nullcontext():
            SimplePipeQueue.pipequeue(anywhere, history=history, mode=0o660).close()
    assert [snapshot(anywhere)] == swapped


def test_a_fifo_is_reused_and_stays_with_history(path: str) -> None:
    os.mkfifo(path, 0o600)
    before = os.stat(path)
    with SimplePipeQueue(path) as pq:
        pq.put(1)
        assert pq.get() == 1
    after = os.stat(path)
    assert (after.st_ino, after.st_mode) == (before.st_ino, before.st_mode)


@pytest.mark.parametrize("cls", [SimplePipeQueue, PipeQueue])
def test_a_fifo_that_is_there_is_refused_without_history(path: str, cls: type[SimplePipeQueue]) -> None:
    os.mkfifo(path, 0o600)
    before = snapshot(path)
    with pytest.raises(FileExistsError, match="history=False wants a new one") as caught:
        cls(path, history=False).__enter__()
    assert caught.value.filename == path
    assert caught.value.errno == errno.EEXIST
    assert snapshot(path) == before


def test_a_fifo_is_made_with_history_and_stays(path: str) -> None:
    with SimplePipeQueue(path):
        pass
    assert stat.S_ISFIFO(os.stat(path).st_mode)


def test_a_fifo_is_removed_without_history_by_close(path: str) -> None:
    pq = SimplePipeQueue.pipequeue(path, history=False)
    assert os.path.exists(path)
    pq.close()
    assert not os.path.exists(path)


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize("mode", [0o600, 0o660, 0o666, 0o640])
def test_the_mode_is_exactly_the_one_given(path: str, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        with SimplePipeQueue(path, history=False, mode=mode) as pq:
            assert stat.S_IMODE(os.stat(path).st_mode) == mode
            pq.put(b"x" * 10_000)
            directory = os.path.dirname(path)
            [name] = long_files(directory)
            assert stat.S_IMODE(os.stat(os.path.join(directory, name)).st_mode) == mode
            pq.get()
    finally:
        os.umask(before)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666, 0o660])
def test_a_fifo_that_others_may_write_to_is_refused_unless_mode_says_so(path: str, mode: int) -> None:
    os.mkfifo(path)
    os.chmod(path, mode)
    before = snapshot(path)
    with pytest.raises(UnsafePipeError, match=f"others may write to the FIFO: its mode is {mode:#o}"):
        SimplePipeQueue.pipequeue(path)
    assert snapshot(path) == before
    with SimplePipeQueue(path, mode=mode) as pq:
        pq.put(1)
        assert pq.get() == 1


@root_only
def test_another_users_fifo_is_refused(path: str) -> None:
    os.mkfifo(path, 0o666)
    os.chown(path, 12345, -1)
    before = snapshot(path)
    with pytest.raises(UnsafePipeError, match="belongs to user 12345") as caught:
        SimplePipeQueue.pipequeue(path, mode=0o666)
    assert isinstance(caught.value, PermissionError)
    assert snapshot(path) == before


@root_only
def test_a_long_message_in_another_users_file_is_skipped(path: str) -> None:
    with SimplePipeQueue(path, history=False) as pq:
        pq.put(b"x" * 10_000)
        directory = os.path.dirname(path)
        [name] = long_files(directory)
        os.chown(os.path.join(directory, name), 12345, -1)
        with pytest.warns(ForeignBytesWarning, match="another user"), pytest.raises(queue.Empty):
            pq.get_nowait()


@pytest.mark.usefixtures("system")
def test_a_long_message_in_a_file_that_may_not_be_read_is_skipped(tmp_path: Path, fork: Fork) -> None:
    """It would be tried again and again, and what lies behind it would never come."""
    place = Path(tmp_path.anchor, "tmp", f"monkeywrench-{os.getpid()}-claim")
    place.mkdir()

    def run(child: Child) -> None:
        become_nobody(place)
        with SimplePipeQueue(place / "fifo", history=False) as pq:
            pq.put(b"x" * 10_000)
            pq.put("behind")
            [name] = long_files(str(place))
            (place / name).chmod(0)
            with pytest.warns(ForeignBytesWarning, match="may not be read"):
                assert pq.get_nowait() == "behind"
            pq.put(b"y" * 10_000)
            # In a directory that may not be entered it is there for the next try.
            place.chmod(0)
            with pytest.raises(PermissionError):
                pq.get_nowait()
            # In one that may not be written its file stays, for who sweeps.
            place.chmod(0o555)
            assert pq.get_nowait() == b"y" * 10_000
            assert pq.empty()
            place.chmod(0o755)

    try:
        assert fork(run).wait() == 0
        assert not list(place.iterdir())
    finally:
        shutil.rmtree(place)


@root_only
@pytest.mark.parametrize(
    ("directory_mode", "said"),
    [(0o700, "no permission to enter"), (0o755, "no permission to make a FIFO")],
)
def test_no_permission_is_said(tmp_path: Path, directory_mode: int, said: str, fork: Fork) -> None:
    place = Path(tmp_path.anchor, "tmp", f"monkeywrench-{os.getpid()}-{directory_mode:o}")
    place.mkdir(mode=directory_mode)

    def as_nobody(child: Child) -> None:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        with pytest.raises(PermissionError, match=said) as caught:
            SimplePipeQueue.pipequeue(place / "fifo")
        assert caught.value.filename == str(place / "fifo")

    try:
        assert fork(as_nobody).wait() == 0
        assert not list(place.iterdir())
    finally:
        place.rmdir()


@root_only
def test_no_permission_for_the_fifo_is_said(tmp_path: Path, fork: Fork) -> None:
    place = Path(tmp_path.anchor, "tmp", f"monkeywrench-{os.getpid()}-fifo")
    place.mkdir()
    place.chmod(0o755)
    os.mkfifo(place / "fifo", 0o600)

    def as_nobody(child: Child) -> None:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        with pytest.raises(PermissionError, match="no permission to read and write"):
            SimplePipeQueue.pipequeue(place / "fifo")

    try:
        assert fork(as_nobody).wait() == 0
    finally:
        (place / "fifo").unlink()
        place.rmdir()


def free_descriptors(count: int) -> None:
    """Leave this process so many descriptors to open."""
    taken = {int(name) for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")}
    limit = 0
    while limit in taken or count:
        count -= limit not in taken
        limit += 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))


def test_an_opening_that_runs_out_of_descriptors_leaves_no_fifo(path: str, fork: Fork) -> None:
    """Whichever it wants for: the next one, with enough of them, makes the FIFO anew."""

    def run(child: Child) -> None:
        plenty = resource.getrlimit(resource.RLIMIT_NOFILE)
        failed = 0
        pq = SimplePipeQueue(path, history=False)
        while pq._in is None and failed < 20:
            free_descriptors(failed)
            with contextlib.suppress(OSError):
                pq.put(1)
            resource.setrlimit(resource.RLIMIT_NOFILE, plenty)
            if pq._in is None:
                assert not os.listdir(os.path.dirname(path))
                failed += 1
        assert 3 <= failed < 20
        assert pq.get() == 1
        pq.close()

    assert fork(run).wait() == 0


@pytest.mark.parametrize("umask", [0o777, 0o400, 0o200])
@pytest.mark.parametrize("history", [True, False])
def test_a_umask_that_keeps_the_owner_out_does_not(tmp_path: Path, fork: Fork, umask: int, history: bool) -> None:
    place = Path(tmp_path.anchor, "tmp", f"monkeywrench-{os.getpid()}-umask")
    place.mkdir()

    def run(child: Child) -> None:
        become_nobody(place)
        os.umask(umask)
        with SimplePipeQueue(place / "fifo", history=history, mode=0o640) as pq:
            assert stat.S_IMODE(os.stat(place / "fifo").st_mode) == 0o640
            pq.put(1)
            assert pq.get() == 1

    try:
        assert fork(run).wait() == 0
        assert [entry.name for entry in place.iterdir()] == ["fifo"] * history
    finally:
        shutil.rmtree(place)


@pytest.mark.parametrize("history", [True, False])
def test_a_missing_directory_is_said(tmp_path: Path, history: bool) -> None:
    path = str(tmp_path / "not" / "there")
    with pytest.raises(FileNotFoundError, match=r"the directory '.*not' does not exist; make it first") as caught:
        SimplePipeQueue.pipequeue(path, history=history)
    assert caught.value.filename == path


def test_a_file_as_directory_is_said(anywhere: str) -> None:
    make_regular(anywhere)
    with pytest.raises(NotADirectoryError, match="is not a directory"):
        SimplePipeQueue.pipequeue(anywhere + "/fifo")


@pytest.mark.parametrize("history", [True, False])
@pytest.mark.parametrize("tail", ["x" * 300, "d/" * 3000 + "x"])
def test_a_name_that_is_too_long_is_said(tmp_path: Path, tail: str, history: bool) -> None:
    with pytest.raises(OSError, match="too long") as caught:
        SimplePipeQueue.pipequeue(f"{tmp_path}/{tail}", history=history)
    assert caught.value.errno == errno.ENAMETOOLONG


@pytest.mark.parametrize("tail", ["/", "/.", "/.."])
def test_a_path_that_ends_in_no_name_is_said(tmp_path: Path, tail: str) -> None:
    with pytest.raises(NotAPipeError, match="must end in its name"):
        SimplePipeQueue.pipequeue(str(tmp_path) + tail)


@pytest.mark.parametrize("bad", ["", "a\0b", b""])
def test_a_path_that_can_be_none_is_said(bad: Any) -> None:
    with pytest.raises(ValueError, match="path must name a FIFO"):
        SimplePipeQueue(bad)


@pytest.mark.parametrize("bad", [None, 3, 1.5, object()])
def test_a_path_of_another_type_is_refused(bad: Any) -> None:
    with pytest.raises(TypeError):
        SimplePipeQueue(bad)


@pytest.mark.parametrize("convert", [str, Path, os.fsencode])
def test_a_path_may_be_text_bytes_or_a_path(path: str, convert: Callable[[str], Any]) -> None:
    with SimplePipeQueue(convert(path), history=False) as pq:
        assert pq.path == path


def test_a_relative_path_is_that_of_when_the_queue_was_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    pq = SimplePipeQueue("fifo", history=False)
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pq:
        assert (tmp_path / "fifo").exists()
    assert not (tmp_path / "fifo").exists()


@pytest.mark.parametrize("capacity", [0, -1, 1 << 31, 1.5, "1", True])
def test_a_bad_capacity_is_refused_with_the_value(path: str, capacity: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="capacity must be") as caught:
        SimplePipeQueue(path, capacity=capacity)
    assert str(capacity) in str(caught.value)


@pytest.mark.parametrize("mode", [0o400, 0o1600, -1, 0, "600", True, None])
def test_a_bad_mode_is_refused(path: str, mode: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="mode must be"):
        SimplePipeQueue(path, mode=mode)


def test_a_capacity_over_the_systems_limit_gives_what_is_allowed(path: str) -> None:
    with SimplePipeQueue(path, history=False, capacity=(1 << 31) - 1) as pq:
        assert pq.capacity >= 4096


# -- the lock, and the path while it is open -----------------------------------------------------------------


@pytest.fixture
def locked(path: str) -> Iterator[int]:
    """A FIFO which somebody keeps locked."""
    os.mkfifo(path, 0o600)
    descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    yield descriptor
    os.close(descriptor)


def test_a_pipe_that_stays_locked_is_said(path: str, locked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fifo, "LOCK_PATIENCE_S", 0.05)
    with pytest.raises(QueueBusyError, match=r"kept the FIFO locked for 0.05 s"):
        SimplePipeQueue.pipequeue(path)


def test_a_pipe_that_is_locked_for_a_moment_is_waited_for(path: str, locked: int) -> None:
    opened: list[SimplePipeQueue] = []
    thread = threading.Thread(target=lambda: opened.append(SimplePipeQueue.pipequeue(path)))
    thread.start()
    fcntl.flock(locked, fcntl.LOCK_UN)
    thread.join()
    opened[0].close()


def test_a_fifo_that_was_replaced_is_not_removed(path: str) -> None:
    pq = SimplePipeQueue.pipequeue(path, history=False)
    os.unlink(path)
    os.mkfifo(path)
    other = os.stat(path).st_ino
    pq.close()
    assert os.stat(path).st_ino == other


def test_a_fifo_that_was_removed_is_no_error(path: str) -> None:
    with SimplePipeQueue(path, history=False) as pq:
        os.unlink(path)
        pq.put(1)
        assert pq.get() == 1


@pytest.mark.parametrize("replace", [True, False])
def test_a_fifo_that_goes_while_it_is_opened_is_opened_again(
    path: str, monkeypatch: pytest.MonkeyPatch, replace: bool
) -> None:
    """Its maker closes between our `open` and our lock: what we hold then, nobody else will find."""
    real, gone = fcntl.flock, []

    def flock(descriptor: int, operation: int) -> None:
        if not gone:
            gone.append(os.stat(path).st_ino)
            os.rename(path, path + "-old")
            if replace:
                os.mkfifo(path, 0o600)
        real(descriptor, operation)

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", flock)
        pq = SimplePipeQueue.pipequeue(path)
    assert os.fstat(pq._in or -1).st_ino == os.stat(path).st_ino != gone[0]
    pq.close()
    os.unlink(path + "-old")


def test_a_fifo_that_is_replaced_again_and_again_is_an_error(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = fcntl.flock

    def flock(descriptor: int, operation: int) -> None:
        os.unlink(path)
        os.mkfifo(path + "-new", 0o600)
        os.rename(path + "-new", path)
        real(descriptor, operation)

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", flock)
        with pytest.raises(QueueBusyError, match="replaced 100 times"):
            SimplePipeQueue.pipequeue(path)
