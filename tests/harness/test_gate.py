"""The gate and the nemesis behind it, in a fresh interpreter: they never come into this one."""

import errno
import json
import os
import subprocess
import sys
import textwrap

import pytest
from monkeywrench.harness import call, spawn
from monkeywrench.harness.faults import Error
from monkeywrench.harness.history import Event

PRELUDE = """
import json, os, sys
from pathlib import Path
from monkeywrench.harness import _gate
_gate.install()
from monkeywrench.harness import _eventlog, _nemesis
from monkeywrench.harness.faults import Scene
from monkeywrench.harness.faults import Kill, Noop
from monkeywrench.harness.triggers import messages, read, write
os.chdir(sys.argv[1])
notes = _eventlog.Recorder("notes", 1 << 16)
def arm(*faults):
    events = _eventlog.Recorder("events", 1 << 16)
    scene = Scene(os.getpid(), None, Path.cwd())
    nemesis = _nemesis.Nemesis("me", list(enumerate(faults)), notes, scene, events)
    _gate.set_warden(nemesis)
    return nemesis
"""


def interpret(tmp_path, body):
    """Run *body* behind the gate; return its exit status and what the nemesis noted."""
    from monkeywrench.harness._eventlog import read_records

    code = PRELUDE + textwrap.dedent(body)
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode in (0, -9), done.stderr
    return done.returncode, [json.loads(record.text) for record in read_records(str(tmp_path / "notes"))]


@pytest.mark.parametrize(
    ("trigger", "written"),
    [
        ("write(3)", b"1234" * 2),
        ("write(3, byte=1)", b"1234" * 2 + b"1"),
        ("write(3, byte=3)", b"1234" * 2 + b"123"),
        ("write(3, after=True)", b"1234" * 3),
        ("write(1, byte=0)", b""),
    ],
)
def test_write_is_struck_at_its_byte(tmp_path, trigger, written):
    status, notes = interpret(
        tmp_path,
        f"""
        out = os.open("out", os.O_WRONLY | os.O_CREAT)
        arm(Kill("me", {trigger}))
        for _ in range(5):
            os.write(out, b"1234")
        """,
    )
    assert status == -9
    assert (tmp_path / "out").read_bytes() == written
    assert [note["f"] for note in notes] == ["strike"]


def test_write_of_any_buffer_is_cut(tmp_path):
    status, _ = interpret(
        tmp_path,
        """
        import array
        out = os.open("out", os.O_WRONLY | os.O_CREAT)
        arm(Kill("me", write(1, byte=5)))
        os.write(out, memoryview(array.array("I", [1, 2])))
        """,
    )
    assert status == -9
    assert (tmp_path / "out").read_bytes() == b"\1\0\0\0\2"


def test_write_too_short_to_be_cut_is_missed_with_the_reason(tmp_path):
    status, notes = interpret(
        tmp_path,
        """
        out = os.open("out", os.O_WRONLY | os.O_CREAT)
        arm(Kill("me", write(2, byte=4)))
        for _ in range(3):
            os.write(out, b"1234")
        """,
    )
    assert status == 0
    why = "that write had 4 bytes only"
    assert notes == [{"f": "missed", "process": "me", "fault": 0, "why": why, "impossible": True}]
    assert (tmp_path / "out").read_bytes() == b"1234" * 3


def test_call_that_transfers_nothing_does_not_count(tmp_path):
    status, notes = interpret(
        tmp_path,
        """
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        arm(Noop("me", read(2, after=True)))
        for round in range(3):
            try:
                os.read(ours, 10)
            except BlockingIOError:
                print("told to come again")
            os.write(theirs, b"x")
            os.read(ours, 10)
            assert notes.whole() > 16 or round == 0, round
        """,
    )
    assert status == 0
    assert len(notes) == 1


def test_read_that_is_told_to_come_again_is_cut_when_it_does(tmp_path):
    status, notes = interpret(
        tmp_path,
        """
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        arm(Kill("me", read(1, byte=2)))
        for _ in range(3):
            try:
                os.read(ours, 10)
            except BlockingIOError:
                pass
        os.write(theirs, b"1234")
        os.read(ours, 10)
        """,
    )
    assert status == -9
    assert [note["f"] for note in notes] == ["strike"]


@pytest.mark.skipif(not hasattr(os, "eventfd"), reason="eventfd is Linux's")
def test_number_of_an_eventfd_is_not_cut(tmp_path):
    status, notes = interpret(
        tmp_path,
        """
        arm(Kill("me", write(1, byte=4)))
        os.write(os.eventfd(0), (1).to_bytes(8, sys.byteorder))
        """,
    )
    assert status == 0
    assert [note["why"] for note in notes] == ["that write cannot be cut"]


def test_census_takes_note_of_what_counts_and_can_be_cut(tmp_path):
    _, notes = interpret(
        tmp_path,
        """
        from monkeywrench.harness.faults import Census
        nemesis = arm(Census("me"))
        nemesis.starts()
        nemesis.begins("put 1", 1)
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        try:
            os.read(ours, 10)
        except BlockingIOError:
            pass
        os.write(theirs, b"1234")
        os.read(ours, 10)
        with open("file", "wb") as file:
            os.write(file.fileno(), b"12")
        os.write(theirs, bytes(5000))
        os.write(theirs, b"1")
        """,
    )
    strike, *calls = notes
    assert strike["f"] == "strike"
    assert {call["inside"] for call in calls} == {"put 1"}
    assert [(call["kind"], call["n"], call["size"], call["torn"], call["posix"]) for call in calls] == [
        ("open", 1, 0, False, False),
        ("write", 1, 4, True, False),
        ("read", 1, 4, True, True),
        ("write", 2, 2, True, True),
        ("write", 3, 5000, True, True),
        ("write", 4, 1, False, False),
    ]


def test_strike_before_a_call_strikes_once(tmp_path):
    _, notes = interpret(
        tmp_path,
        """
        ours, theirs = os.pipe()
        os.set_blocking(ours, False)
        arm(Noop("me", read(1)))
        for _ in range(3):
            try:
                os.read(ours, 10)
            except BlockingIOError:
                pass
        """,
    )
    assert len(notes) == 1


def test_messages_are_counted_and_noop_leaves_the_peer_as_it_was(tmp_path):
    status, notes = interpret(
        tmp_path,
        """
        nemesis = arm(Noop("me", messages(2)), Noop("me", write(1)))
        for number in (1, 2, 3):
            nemesis.begins(f"put {number}")
            os.write(2, b".")
            nemesis.ended(number)
        """,
    )
    assert status == 0
    assert [(note["fault"], note["inside"]) for note in notes] == [(1, "put 1"), (0, None)]


def test_strike_tells_where_the_peer_was(tmp_path):
    (tmp_path / "deep.py").write_text("import os\ndef down(fd):\n    os.write(fd, b'abc')\n")
    _, notes = interpret(
        tmp_path,
        """
        sys.path.insert(0, ".")
        import deep
        arm(Kill("me", write(1)))
        deep.down(1)
        """,
    )
    place = notes[0]["stack"][-1]
    assert (place["line"], place["function"], place["code"]) == (3, "down", "os.write(fd, b'abc')")


@pytest.mark.parametrize(
    ("target", "size", "posix"), [("pipe", 4096, False), ("pipe", 4097, True), ("file", 100, True)]
)
def test_cut_that_no_kernel_makes_is_told_apart(tmp_path, target, size, posix):
    _, notes = interpret(
        tmp_path,
        f"""
        out = os.pipe()[1] if {target!r} == "pipe" else os.open("out", os.O_WRONLY | os.O_CREAT)
        arm(Kill("me", write(1, byte=9)))
        os.write(out, bytes({size}))
        """,
    )
    assert notes[0]["posix"] is posix


def test_gate_sees_what_multiprocessing_and_sockets_transfer(tmp_path):
    _, notes = interpret(
        tmp_path,
        """
        import multiprocessing, socket
        one, other = multiprocessing.Pipe()
        left, right = socket.socketpair()
        nemesis = arm(Noop("me", write(1)), Noop("me", read(1)), Noop("me", write(2)), Noop("me", read(3)))
        one.send("through the gate")
        other.recv()
        left.sendall(b"through the gate")
        right.recv(100)
        """,
    )
    assert [note["fault"] for note in notes] == [0, 1, 2, 3]


def test_standard_library_still_works_behind_the_gate(tmp_path):
    status, _ = interpret(
        tmp_path,
        """
        import shutil, subprocess, tempfile
        arm(Noop("me", write(10_000)))
        directory = tempfile.mkdtemp(dir=".")
        open(os.path.join(directory, "file"), "w").close()
        assert shutil.rmtree.avoids_symlink_attacks
        shutil.rmtree(directory)
        assert subprocess.run(["true"]).returncode == 0
        assert os.stat in os.supports_follow_symlinks and os.open in os.supports_dir_fd
        """,
    )
    assert status == 0


def test_gate_is_not_in_this_process():
    assert not hasattr(os.write, "__wrapped__")
    assert Event  # the harness is loaded here, and left the os module alone


def test_call_that_puts_a_file_on_the_disk_fails(tmp_path):
    def stores(path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
        os.write(descriptor, b"1")
        try:
            os.fsync(descriptor)
        except OSError as error:
            return error.errno
        return None

    with spawn(stores, str(tmp_path / "file"), name="w", faults=[Error("w", call("sync", 1), "EIO")]) as peer:
        assert peer.result() == errno.EIO
