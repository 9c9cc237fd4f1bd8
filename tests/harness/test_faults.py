"""Every fault strikes for real, does what it says, and is survived by the right queue."""

import contextlib
import errno
import itertools
import json
import os
import pickle
import socket
import sqlite3
import subprocess
import tempfile

import pytest
from monkeywrench.harness import (
    Adapter,
    Guarantees,
    PlanError,
    Trial,
    blocked,
    call,
    elapsed,
    ended,
    every,
    message,
    messages,
    rate,
    read,
    start,
    write,
)
from monkeywrench.harness import _eventlog as log
from monkeywrench.harness._outside import Outside
from monkeywrench.harness.adapters.naive import JsonLinesAdapter
from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter
from monkeywrench.harness.faults import Delay, Error, Foreign, Kill, Limit, Pause, Remove, Scene, Short

HANDED_OVER = {
    "SIGKILL before its 7th call": lambda t: t.kill("producer-0", at=call("any", 7)),
    "SIGKILL before it opens the queue": lambda t: t.kill("producer-0", at=start(), replace=True),
    "SIGKILL inside open": lambda t: t.kill("producer-0", at=call("lock", 1), replace=True),
    "SIGTERM": lambda t: t.kill("producer-0", at=write(7), signal="SIGTERM", replace=True),
    "SIGINT": lambda t: t.kill("consumer-0", at=messages(7), signal="SIGINT", replace=True),
    "SIGKILL at a byte of a message": lambda t: t.kill("producer-0", at=message(20, byte=5)),
    "SIGKILL at a call of a large message": lambda t: t.kill("producer-0", at=message(10, call=3), replace=True),
    "SIGKILL while blocked in get": lambda t: t.pause("producer-0", at=messages(5), seconds=0.4).kill(
        "consumer-0", at=blocked(), replace=True
    ),
    "pause": lambda t: t.pause("consumer-0", at=read(7)),
    "pause by the clock": lambda t: t.pause("consumer-0", at=elapsed(0)),
    "pause twice": lambda t: t.pause("consumer-0", at=read(3), seconds=0.05).pause("consumer-0", at=messages(20)),
    "delay each read": lambda t: t.delay("consumer-0", at=every(1, "read")),
    "delay each message": lambda t: t.delay("producer-0", at=every(1)),
    "short write": lambda t: t.short("producer-0", at=write(5), size=3),
    "every write short": lambda t: t.short("producer-0", at=every(1, "write"), size=3),
    "EIO on write": lambda t: t.error("producer-0", at=write(5), errno="EIO"),
    "EINTR on read": lambda t: t.error("consumer-0", at=read(5), errno="EINTR"),
    "ENOSPC on a large message's file": lambda t: t.error("producer-0", at=message(10, call=1), errno="ENOSPC"),
    "EMFILE on a large message's file": lambda t: t.error("consumer-0", at=message(10, call=2), errno="EMFILE"),
    "EIO on close": lambda t: t.error("consumer-0", at=call("close", 2), errno="EIO"),
    "EIO on every other close": lambda t: t.error("consumer-0", at=every(2, "close"), errno="EIO"),
    "EMFILE on every open": lambda t: t.error("consumer-0", at=every(1, "open"), errno="EMFILE"),
    "EIO on unlink": lambda t: t.error("consumer-0", at=call("unlink", 1), errno="EIO"),
    "EIO on some reads": lambda t: t.error("consumer-0", at=rate(0.2, "read"), errno="EIO"),
    "ENOSPC on some calls of any kind": lambda t: t.error("producer-0", at=rate(0.2, "any"), errno="ENOSPC"),
    "no descriptors for a producer": lambda t: t.limit("producer-0", at=messages(3)),
    "no descriptors for a consumer": lambda t: t.limit("consumer-0", at=messages(3)),
    "no descriptors to open with": lambda t: t.limit("producer-0", at=start()),
    "no descriptors to open with, nor memory": lambda t: t.limit("producer-0", at=start(), descriptors=1).error(
        "producer-0", at=every(1, "open"), errno="ENOMEM"
    ),
    "no descriptors for foreign bytes": lambda t: t.limit("producer-0", at=messages(2)).foreign(
        "producer-0", at=messages(2)
    ),
    "foreign bytes": lambda t: t.foreign("producer-0", at=every(3)),
    "FIFO removed": lambda t: t.remove("producer-0", at=messages(3)).kill("producer-0", at=messages(5), replace=True),
    "FIFO replaced": lambda t: t.remove("producer-0", at=messages(3), replace_it=True),
    "FIFO replaced inside a put": lambda t: t.remove("producer-0", at=message(3), replace_it=True),
    "foreign bytes inside a message": lambda t: t.foreign("producer-0", at=message(7, byte=9)),
    "all killed at once": lambda t: t.kill_all(at=write(7)),
    "all killed at once by the clock": lambda t: t.kill_all(at=elapsed(0)),
    "a pipe that stays full": lambda t: t.full(at=messages(3), seconds=1).kill(
        "producer-0", at=blocked(), replace=True
    ),
    "one page of room": lambda t: t.shrink(),
    "SIGKILL while blocked in put": lambda t: (
        t.shrink().pause("consumer-0", at=read(2), seconds=1).kill("producer-0", at=blocked(), replace=True)
    ),
}
THINGS = (
    "fifo",
    "bytes",
    "torn",
    "file",
    "directory",
    "socket",
    "symlink",
    "dangling",
    "no permission",
    "no parent",
    "name too long",
)


def test_right_queue_survives(at_once):
    trials = [plan(Trial(seed=3, messages=60, name=name)) for name, plan in HANDED_OVER.items()]
    for verdict in at_once(Trial.run, trials):
        assert verdict.valid, verdict
        assert verdict.struck, verdict


def inode(path):
    return path.stat().st_ino if path.exists() else None


@pytest.mark.parametrize("replace_it", [False, True])
def test_fifo_is_taken_away_only_while_nobody_new_comes(tmp_path, replace_it):
    scene = Scene(os.getpid(), tmp_path / "queue.fifo", tmp_path)
    os.mkfifo(scene.fifo)
    mine = inode(scene.fifo)
    remove = Remove("producer-0", messages(1), replace_it)
    assert "not everybody" in remove.too_late(scene)
    remove.strike(scene)
    assert inode(scene.fifo) == mine
    remove.prepare(scene)
    assert remove.too_late(scene) is None
    for _ in range(2):  # a second one does no more
        remove.strike(scene)
        assert inode(scene.fifo) != mine
        assert scene.fifo.exists() is replace_it
    remove.lift(scene)
    assert inode(scene.fifo) == mine
    assert "newcomer" in remove.too_late(scene)
    remove.strike(scene)
    assert inode(scene.fifo) == mine


@pytest.mark.parametrize("history", [False, True])
def test_right_queue_uses_or_refuses_what_it_finds(at_once, history):
    queue = SimplePipeQueueAdapter(history=history)
    verdicts = at_once(lambda thing: Trial(queue, seed=3, messages=20).stale(thing).run(), THINGS)
    for thing, verdict in zip(THINGS, verdicts, strict=True):
        assert verdict.valid, verdict
        refused = [event.error for event in verdict.history.events if event.f == "refused"]
        assert bool(refused) == (not history or thing not in ("fifo", "bytes", "torn")), verdict


def test_socket_is_put_in_place_however_long_the_path_is(tmp_path, monkeypatch):
    """An address of a socket has 107 bytes at most; a path has many more."""
    place = tmp_path / ("d" * 120)
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    verdict = Trial(seed=3, messages=5).stale("socket").run()
    assert verdict.valid, verdict


class Naive(Adapter):
    """What everybody writes first: a line of JSON for each message, with os.write and os.read on a FIFO."""

    guarantees = Guarantees(types=("str", "int", "list"), foreign_bytes=True)

    def fifo(self, directory):
        return directory / "naive.fifo"

    def make(self, directory):
        self.path = self.fifo(directory)
        if not self.path.exists():
            os.mkfifo(self.path)
        self.held = os.open(self.path, os.O_RDWR)

    most = 4096

    def open(self, role):
        self.buffer = b""
        return os.open(self.path, os.O_RDWR)

    def put(self, end, message):
        os.write(end, json.dumps(message).encode() + b"\n")

    def get(self, end):
        while b"\n" not in self.buffer:
            self.buffer += os.read(end, self.most)
        line, self.buffer = self.buffer.split(b"\n", 1)
        return json.loads(line)

    def close(self, end):
        os.close(end)

    def destroy(self):
        os.close(self.held)
        self.path.unlink()


BITES = {
    "foreign": (lambda t: t.foreign("producer-0", at=messages(3)), {"crashed"}),
    "short": (lambda t: t.short("producer-0", at=write(3), size=3), {"crashed", "lost"}),
    "stale bytes": (lambda t: t.stale("bytes"), {"crashed"}),
    "foreign bytes inside a message": (lambda t: t.foreign("producer-0", at=write(3, byte=4)), {"crashed"}),
    "stale torn message": (lambda t: t.stale("torn"), {"crashed"}),
    "stale file": (lambda t: t.stale("file"), {"corrupted"}),
}


@pytest.mark.parametrize(("plan", "kinds"), BITES.values(), ids=BITES)
def test_naive_queue_is_bitten(plan, kinds):
    trial = Trial(Naive(), seed=3, messages=40, large_every=0, patience_s=0.5)
    verdict = plan(trial).run()
    assert verdict.status == "invalid", verdict
    assert kinds & {finding.kind for finding in verdict.findings}, verdict


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (lambda t: t.short("consumer-0", at=read(5), size=3), "packet mode takes a whole packet"),
        (lambda t: t.pause("producer-0", at=write(5, byte=3)), "all or nothing: nothing can come in between"),
        (lambda t: t.kill("producer-0", at=call("lock", 99)), "the gate saw it make"),
        (lambda t: t.kill("producer-0", at=message(3, call=99)), "no such place in its message 3"),
        (lambda t: t.kill("consumer-0", at=elapsed(60)), "the peer had ended by then"),
        (lambda t: t.error("producer-0", at=every(500, "write"), errno="EIO"), "the gate saw it make 44 writes"),
    ],
)
def test_fault_that_never_strikes_says_why(plan, reason):
    verdict = plan(Trial(seed=3, messages=40)).run()
    assert verdict.status == "unknown", verdict
    assert reason in str(verdict)


def test_fault_that_cannot_reach_a_queue_is_refused():
    with pytest.raises(PlanError, match="has no FIFO that a stranger could open"):
        Trial("multiprocessing.Queue").foreign("producer-0", at=messages(1)).run()


def test_one_byte_reads():
    verdict = Trial(Naive(), seed=3, messages=5, large_every=0).short("consumer-0", at=every(1, "read")).run()
    assert verdict.valid, verdict


def test_long_message_in_very_many_short_reads():
    trial = Trial(seed=4, messages=8, large_every=1, patience_s=1.5)
    verdict = trial.short("consumer-0", at=every(1, "read"), size=8).run()
    assert verdict.valid, verdict


@pytest.mark.parametrize("thing", ["no permission", "name too long"])
def test_what_a_queue_cannot_refuse_is_a_finding(thing):
    class Hasty(Naive):
        most = 1  # it takes no line of the next consumer's

        def make(self, directory):
            try:
                super().make(directory)
            except OSError as error:
                raise RuntimeError("the FIFO is there by now") from error

    verdict = Trial(Hasty(), seed=3, messages=5, large_every=0).stale(thing).run()
    assert [finding.kind for finding in verdict.findings] == ["crashed"], verdict


class Late(Naive):
    """Keeps what was put, and writes it when it is closed."""

    def put(self, end, message):
        self.buffer += json.dumps(message).encode() + b"\n"

    def close(self, end):
        if self.buffer:
            os.write(end, self.buffer)
        super().close(end)


class Refuses(Naive):
    def put(self, end, message):
        raise ValueError("not today")


def test_queue_that_leaves_no_message_in_its_fifo_has_none_to_tear():
    verdict = Trial(Late(), seed=3, messages=5, large_every=0).stale("torn").run()
    assert "nothing of a message that was put stayed in the FIFO" in verdict.not_applicable, verdict


def test_queue_that_refuses_every_message_is_judged_and_has_none_to_tear():
    verdict = Trial(Refuses(), seed=3, messages=5, large_every=0, patience_s=0.5).stale("torn").run()
    assert "crashed" in {finding.kind for finding in verdict.findings}, verdict
    assert any("a put alone fails: ValueError: not today" in doubt for doubt in verdict.doubts), verdict


def test_message_torn_by_a_stranger_excuses_itself_alone():
    verdict = Trial(seed=3, messages=30, large_every=0).foreign("producer-0", at=message(7, byte=9)).run()
    assert verdict.valid, verdict
    assert verdict.counts["maybe taken"] == 1


def test_peer_that_is_ending_is_not_struck(tmp_path):
    notes = log.Recorder(str(tmp_path / "notes"), 1 << 16)
    outside = Outside([Kill("producer-0", elapsed(0))], notes, lambda pid: Scene(pid, None, tmp_path))
    with subprocess.Popen(["true"]) as peer:
        os.waitid(os.P_PID, peer.pid, os.WEXITED | os.WNOWAIT)
        outside.started(peer.pid, "producer-0", log.Recorder(str(tmp_path / "events"), 1 << 16))
        outside.begin()
        outside.act()
    (note,) = (json.loads(record.text) for record in log.read_records(str(tmp_path / "notes")))
    assert (note["f"], note["why"]) == ("missed", "the peer had ended by then")


def test_all_are_killed():
    verdict = Trial(seed=3, producers=2, consumers=2, messages=3000).kill_all(at=write(7)).run()
    assert verdict.valid, verdict
    killed = {event.process for event in verdict.history.events if event.f == "exit" and "signal" in event.value}
    assert killed == {"producer-0", "producer-1", "consumer-0", "consumer-1"}


def test_peer_that_waits_for_its_own_end_is_refused():
    with pytest.raises(PlanError, match="another peer is allowed there"):
        Trial(seed=3).kill("producer-0", at=ended("producer-0"))


def test_pause_is_as_long_as_it_says():
    verdict = Trial(seed=3, messages=20).pause("producer-0", at=messages(5), seconds=0.5).run()
    times = [event.time_ns for event in verdict.history.events if event.process == "producer-0"]
    assert max(later - earlier for earlier, later in itertools.pairwise(times)) > 0.45e9


def test_pause_goes_on_whatever_else_befalls_the_peer():
    trial = Trial(seed=3, messages=30).delay("producer-0", at=every(1), seconds=0.01)
    verdict = trial.pause("producer-0", at=elapsed(0.05), seconds=0.5).foreign("producer-0", at=elapsed(0.2)).run()
    assert len(verdict.struck) == 3
    own = [event for event in verdict.history.events if event.process == "producer-0" and event.f != "strike"]
    assert max(later.time_ns - earlier.time_ns for earlier, later in itertools.pairwise(own)) > 0.45e9


def test_standing_still_for_longer_than_the_patience_is_not_stuck(at_once):
    def verdict(stand_still):
        trial = Trial(seed=3, messages=20, patience_s=0.5)
        for at in (messages(5), messages(5), messages(6)):  # two at one place wait one after the other
            stand_still(trial, "producer-0", at=at, seconds=0.7)
        return trial.run()

    for found in at_once(verdict, [Trial.pause, Trial.delay]):
        assert found.valid, found


def test_repeating_trigger_strikes_at_the_same_places():
    def failed(seed):
        verdict = Trial(seed=seed, messages=60).error("producer-0", at=rate(0.3, "write"), errno="EIO").run()
        return [event.value for event in verdict.history.events if event.type == "fail"]

    first, again, other = failed(1), failed(1), failed(2)
    assert first
    assert first == again
    assert first != other


def test_put_that_failed_has_put_nothing():
    verdict = Trial(seed=3, messages=30).error("producer-0", at=every(5, "write"), errno="ENOSPC").run()
    assert verdict.valid, verdict
    assert verdict.counts["put"] == verdict.counts["received"] < 30


def test_a_draw_needs_no_descriptor():
    trial = Trial(messages=4, large_every=2, seed=1).limit("producer-0", at=messages(1), descriptors=1)
    verdict = trial.error("producer-0", at=rate(1e-9, "close"), errno="EIO").run()
    assert not verdict.findings, verdict
    assert verdict.struck  # the limit


def test_faults_of_one_error_are_lifted_together():
    trial = Trial(messages=6, large_every=1, seed=1).error("consumer-0", at=call("open", 4), errno="EMFILE")
    verdict = trial.limit("consumer-0", at=messages(4)).run()
    assert verdict.valid, verdict


AT_ONE_PLACE = {
    "delay, kill": (Delay("producer-0", every(1, "write"), 0.0001), Kill("producer-0", write(5))),
    "slow reader, kill": (Delay("consumer-0", every(1, "read"), 0.0001), Kill("consumer-0", read(3))),
    "delay, error": (Delay("producer-0", every(1, "write"), 0.0001), Error("producer-0", every(3, "write"), "EIO")),
    "pause, error": (Pause("producer-0", write(4), 0.01), Error("producer-0", write(4), "EIO")),
    "short, kill": (Short("consumer-0", every(1, "read")), Kill("consumer-0", read(5))),
    "error, kill": (Error("producer-0", every(1, "write"), "EIO"), Kill("producer-0", write(4))),
    "two errors, short": (
        Error("producer-0", write(4), "EIO"),
        Error("producer-0", write(4), "ENOSPC"),
        Short("producer-0", write(4)),
    ),
    "error, kill after": (Error("producer-0", write(4), "EIO"), Kill("producer-0", write(4, after=True))),
    "two bytes, after": (
        Delay("producer-0", write(1, byte=7), 0.0001),
        Pause("producer-0", write(1, byte=3), 0.01),
        Kill("producer-0", write(1, after=True)),
    ),
    "short, kill at its byte": (Short("producer-0", write(1), 7), Kill("producer-0", write(1, byte=7))),
    "between messages": (Kill("producer-0", messages(3)), Delay("producer-0", messages(3), 0.0001)),
    "strangers": (
        Remove("producer-0", messages(3)),
        Limit("producer-0", messages(3)),
        Foreign("producer-0", messages(3)),
    ),
    "before opening": (Kill("producer-0", start(), replace=True), Delay("producer-0", start(), 0.0001)),
    "by the clock": (Kill("consumer-0", elapsed(0)), Pause("consumer-0", elapsed(0), 0.01)),
}


def test_all_that_is_planned_at_one_place_strikes_whatever_its_order(at_once):
    plans = [faults[::step] for faults in AT_ONE_PLACE.values() for step in (1, -1)]
    trials = [Trial(messages=10, seed=1, large_every=1).add(*faults) for faults in plans]
    for faults, verdict in zip(plans, at_once(Trial.run, trials), strict=True):
        assert verdict.valid, verdict
        assert len(verdict.struck) == len(faults), verdict


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        (
            (Kill("producer-0", write(1)), Pause("producer-0", write(1, byte=3))),
            "for 0.2 s: it never struck: at its place came first: SIGKILL to producer-0 before write 1",
        ),
        (
            (Short("producer-0", write(1), 9), Short("producer-0", write(1), 7)),
            "that write ended before, by another fault: producer-0 cut short before write 1, to 7 bytes",
        ),
        (
            (Error("producer-0", write(19), "EIO"), Error("producer-0", write(19), "ENOSPC")),
            "18 writes (by os.write, or a socket's methods); at its place came first: EIO for producer-0 before",
        ),
    ],
)
def test_what_cannot_strike_beside_another_says_so(faults, reason):
    verdict = Trial(messages=10, seed=1, large_every=1).add(*faults).run()
    assert verdict.status == "unknown", verdict
    assert any(reason in doubt for doubt in verdict.doubts), verdict


class PutsInAGroup(SimplePipeQueueAdapter):
    """What a put raises comes in a group, as of a TaskGroup, with what else went wrong."""

    def __init__(self, *others):
        super().__init__()
        self.others = others

    def put(self, end, message):
        errors = list(self.others)
        try:
            super().put(end, message)
        except OSError as error:
            errors.append(error)
        if len(errors) > len(self.others):
            group = ExceptionGroup("in a TaskGroup", errors)
            group.add_note("a note")
            raise group


@pytest.mark.parametrize(("others", "kinds"), [((), []), ((KeyError("mine"),), ["crashed"])])
def test_group_of_errors_is_excused_if_each_came_of_a_fault(others, kinds):
    trial = Trial(PutsInAGroup(*others), messages=20, seed=1).error("producer-0", at=write(5), errno="EIO")
    verdict = trial.run()
    assert [finding.kind for finding in verdict.findings] == kinds, verdict
    if kinds:
        headline = "producer-0 ended by exit status 70: ExceptionGroup: in a TaskGroup (2 sub-exceptions)"
        assert verdict.findings[0].sentence == headline


class KeepsADatabase(SimplePipeQueueAdapter):
    """Looks into a database before each put; what that says is said, or another error raised from it."""

    def __init__(self, error=None):
        super().__init__()
        self.error = error

    def put(self, end, message):
        try:
            with contextlib.closing(sqlite3.connect("file:/dev/null?mode=ro", uri=True)) as database:
                database.execute("select 1 from sqlite_master")
        except sqlite3.OperationalError:
            if self.error is None:
                raise
            raise self.error  # noqa: B904 -- that it says nothing of what it came of is what is tested
        super().put(end, message)


@pytest.mark.parametrize(
    ("error", "kinds"),
    [(None, []), (AttributeError("of None"), ["crashed"]), (OSError(errno.EPERM, "not that"), ["crashed"])],
)
def test_error_that_c_code_raises_for_want_of_descriptors_is_excused(error, kinds):
    verdict = Trial(KeepsADatabase(error), messages=20, seed=1).limit("producer-0", at=messages(3)).run()
    assert [finding.kind for finding in verdict.findings] == kinds, verdict
    assert kinds or verdict.counts["put"] == 19


def test_limit_takes_the_place_of_an_earlier_one():
    trial = Trial(messages=4, large_every=0, seed=1).limit("consumer-0", at=messages(1))
    verdict = trial.limit("consumer-0", at=messages(2), descriptors=2).run()
    assert verdict.valid, verdict
    assert len(verdict.struck) == 2


class Records(Adapter):
    """A pair of sockets that keep messages apart."""

    guarantees = Guarantees(killed_consumer_may_cost=None)
    kind = socket.SOCK_SEQPACKET

    def make(self, directory):
        self.pair = socket.socketpair(socket.AF_UNIX, self.kind)
        for end in self.pair:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)

    def put(self, end, message):
        self.pair[0].sendall(pickle.dumps(message))

    def get(self, end):
        return pickle.loads(self.pair[1].recv(1 << 20))

    def destroy(self):
        for end in self.pair:
            end.close()


class Datagrams(Records):
    kind = socket.SOCK_DGRAM

    def put(self, end, message):
        os.write(self.pair[0].fileno(), pickle.dumps(message))

    def get(self, end):
        return pickle.loads(os.read(self.pair[1].fileno(), 1 << 20))


@pytest.mark.parametrize("queue", [Records, Datagrams])
def test_sockets_that_keep_messages_apart_are_not_blamed_for_one_that_is_cut(queue):
    def trial():
        return Trial(queue(), messages=20, large_every=0)

    for cut in (
        trial().kill("producer-0", at=write(5, byte=3)),
        trial().short("producer-0", at=write(5), size=4),
        trial().short("consumer-0", at=read(5), size=4),
    ):
        verdict = cut.run()
        assert verdict.not_applicable or verdict.valid, verdict
    found = Trial(queue(), messages=2, large_every=0).crash_points("producer")
    assert found.valid, found
    assert not any(point.at.byte for point in found.points)


class TwoDescriptors(JsonLinesAdapter):
    """One that closes its FIFO, and then what it has beside it."""

    def open(self, role):
        self.beside = os.open(os.devnull, os.O_RDONLY)
        return super().open(role)

    def close(self, end):
        super().close(end)
        os.close(self.beside)


@pytest.mark.parametrize("number", [1, 2])
def test_close_that_failed_is_not_tried_again(number):
    """What a close(2) was to close is closed all the same, as on Linux: whoever tries again gets EBADF, or worse."""
    trial = Trial(TwoDescriptors(), messages=5, large_every=0)
    verdict = trial.error("producer-0", at=call("close", number), errno="EIO").run()
    assert verdict.valid, verdict
