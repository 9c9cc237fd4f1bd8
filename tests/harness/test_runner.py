"""Whole trials: real processes, real kills, true verdicts."""

import dataclasses
import gc
import itertools
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import shared_memory
from os import write as write_by_itself
from pathlib import Path
from typing import NamedTuple

import pytest
from monkeywrench.harness import (
    Adapter,
    Guarantees,
    HarnessError,
    Plan,
    PlanError,
    Trial,
    elapsed,
    every,
    message,
    messages,
    read,
    run,
    runner,
    start,
    write,
)
from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter
from monkeywrench.harness.plan import HEAL_CONSUMER, HEAL_PRODUCER, HEAL_PRODUCERS

PIPES = "pipes.SimplePipeQueue"
STANDARD = "multiprocessing.Queue"


def events(verdict, process, f):
    return [event for event in verdict.history.events if event.process == process and event.f == f]


@pytest.mark.parametrize("queue", [PIPES, STANDARD])
def test_trial_without_faults_is_valid(queue):
    verdict = Trial(queue, producers=3, consumers=2, messages=50).run()
    assert verdict.valid, verdict
    assert verdict.counts["received"] == 150


@pytest.mark.parametrize("n", [1, 7, 30])
def test_producer_killed_after_n_messages_has_put_exactly_those(n):
    verdict = Trial(messages=30).kill("producer-0", at=messages(n)).run()
    assert verdict.valid, verdict
    assert [event.value for event in events(verdict, "producer-0", "enqueue") if event.type == "ok"] == [
        [0, number] for number in range(n)
    ]
    assert events(verdict, "producer-0", "exit")[0].value == {"signal": "SIGKILL"}


@pytest.mark.parametrize("byte", [0, 1, 9])
def test_producer_killed_at_byte_k_of_its_nth_write_costs_nobody_else(byte):
    trial = Trial(producers=3, messages=40, large_every=0)
    verdict = trial.kill("producer-0", at=write(17, byte=byte)).run()
    assert verdict.valid, verdict
    assert sum(event.type == "ok" for event in events(verdict, "producer-0", "enqueue")) == 16
    assert verdict.counts["received"] == 16 + 80


def test_producer_killed_after_a_write_is_recovered():
    verdict = Trial(messages=40, large_every=0).kill("producer-0", at=write(17, after=True)).run()
    assert verdict.valid, verdict
    assert verdict.counts["recovered"] == 1


def test_consumer_killed_after_a_read_may_have_taken_one():
    verdict = Trial(messages=40, large_every=0).kill("consumer-0", at=read(17, after=True)).run()
    assert verdict.valid, verdict
    assert verdict.counts["maybe taken"] == 1
    assert verdict.counts["received"] == 39


def test_consumer_killed_between_two_gets_takes_nothing():
    verdict = Trial(messages=40).kill("consumer-0", at=messages(17)).run()
    assert verdict.valid, verdict
    assert verdict.counts["received"] == 40


def test_killed_peers_are_replaced_and_the_rest_is_done():
    trial = Trial(producers=2, consumers=1, messages=40, large_every=0)
    trial.kill("producer-0", at=messages(10), replace=True).kill("producer-0.1", at=messages(10), replace=True)
    trial.kill("consumer-0", at=messages(15), replace=True)
    verdict = trial.run()
    assert verdict.valid, verdict
    started = [event.process for event in verdict.history.events if event.f == "start"]
    assert {"producer-0.1", "producer-0.2", "consumer-0.1"} <= set(started)
    assert verdict.counts["put"] == verdict.counts["received"] == 80


def test_kill_by_the_clock_tells_where_it_found_its_peer():
    trial = Trial(producers=1, messages=100_000, large_every=3, deadline_s=60)
    verdict = trial.kill("producer-0", at=elapsed(0.05)).run()
    assert verdict.valid, verdict
    (strike,) = events(verdict, "producer-0", "strike")
    assert strike.value["fault"] == 0
    assert "SIGKILL to producer-0 after 50.0 ms" in verdict.struck[0]
    assert 0 < verdict.counts["put"] < 100_000


def test_kill_by_the_clock_that_comes_too_late_is_unknown():
    verdict = Trial(messages=3).kill("producer-0", at=elapsed(3600)).run()
    assert verdict.status == "unknown"
    assert "it never struck" in verdict.doubts[0]


def test_all_killed_is_healed():
    trial = Trial(producers=2, consumers=2, messages=40)
    for index in range(2):
        trial.kill(f"producer-{index}", at=write(5)).kill(f"consumer-{index}", at=read(1))
    verdict = trial.run()
    assert verdict.valid, verdict
    assert {event.process for event in verdict.history.events if event.f == "start"} >= {
        HEAL_PRODUCER,
        HEAL_CONSUMER,
    }


def test_heal_is_not_stuck_though_packets_merge_behind_foreign_bytes():
    # The kernel puts what follows the foreign bytes into one packet with them, for as long as nobody reads.
    trial = Trial(messages=5, large_every=0, patience_s=2).foreign("producer-0", at=messages(1))
    verdict = trial.pause("consumer-0", at=start(), seconds=0).delay("consumer-0", at=read(1), seconds=0.5).run()
    assert verdict.valid, verdict


def test_heal_is_not_stuck_by_last_messages_for_the_killed_in_a_small_pipe():
    trial = Trial(consumers=3, messages=1, large_every=0, patience_s=2).shrink()
    for name in ("consumer-0", "consumer-1", "consumer-2"):
        # Each is there when the heal begins, and takes nothing.
        trial.delay(name, at=message(1), seconds=3600).kill(name, at=elapsed(0.2))
    verdict = trial.run()
    assert verdict.valid, verdict


def test_heal_takes_one_producer_for_all_consumers():
    for _ in range(20):  # on a busy machine, consumers may be so slow that it takes a fresh one
        verdict = Trial(consumers=3, messages=9).kill("producer-0", at=messages(4)).run()
        assert verdict.valid, verdict
        put = [event.process for event in verdict.history.events if event.f == "enqueue" and event.type == "ok"]
        assert len([name for name in put if name.startswith(HEAL_PRODUCERS)]) == 4
        if put.count(HEAL_PRODUCER) == 4:
            return
    pytest.fail("one producer never put all last messages")


class PutsWhenItCloses(SimplePipeQueueAdapter):
    """A queue that hands over what was put when its producer closes it."""

    def open(self, role):
        return super().open(role), []

    def put(self, end, message):
        end[1].append(message)

    def get(self, end):
        return super().get(end[0])

    def close(self, end):
        for late in end[1]:
            super().put(end[0], late)
        super().close(end[0])


def test_heal_is_not_stuck_though_messages_come_only_when_their_producer_closes():
    verdict = Trial(PutsWhenItCloses, consumers=2, messages=3, patience_s=2).delay("producer-0", at=messages(1)).run()
    assert verdict.valid, verdict


def test_peer_that_cannot_tell_how_it_ended_has_crashed():
    verdict = Trial(Untold(), messages=3, patience_s=0.5).run()
    assert "crashed" in {finding.kind for finding in verdict.findings}, verdict


class Untold(SimplePipeQueueAdapter):
    """An error that makes trouble even when it is looked at."""

    def put(self, end, message):
        raise HostileError


class HostileError(Exception):
    @property
    def __cause__(self):
        raise RuntimeError("no cause")


def test_standard_queue_is_wedged_by_a_killed_consumer():
    trial = Trial(STANDARD, producers=2, consumers=2, messages=20, patience_s=0.5).kill("consumer-0", at=read(1))
    verdict = trial.run()
    assert verdict.status == "invalid", verdict
    assert {finding.kind for finding in verdict.findings} == {"stuck"}
    # The other consumer; or, should it have taken everything before, the heal's.
    waiting = next(finding for finding in verdict.findings if "consumer" in finding.peers[0])
    assert re.search(r"consumer-\d waits inside its get \d+; .* since consumer-0 was killed$", waiting.sentence)
    assert any("self._rlock" in line for line in waiting.details), waiting
    assert "SIGKILL to consumer-0 before read 1, inside its get 1 (multiprocessing/connection.py" in verdict.struck[0]


def test_standard_queue_is_not_blamed_for_what_posix_forbids():
    trial = Trial(STANDARD, messages=20, large_every=0, patience_s=0.5).kill("producer-0", at=write(5, byte=3))
    verdict = trial.run()
    assert verdict.status == "unknown", verdict
    assert "no POSIX system cuts a write so short" in verdict.doubts[0]


def test_fault_that_is_never_reached_is_unknown():
    verdict = Trial(messages=5, large_every=0).kill("producer-0", at=write(1000)).run()
    assert verdict.status == "unknown"
    why = "it never struck: the gate saw it make 5 writes (by os.write, or a socket's methods)"
    assert verdict.doubts == (f"SIGKILL to producer-0 before write 1000: {why}",)
    verdict = Trial(messages=5).kill("consumer-0", at=messages(5)).kill("producer-0", at=messages(2)).run()
    assert verdict.doubts == ("SIGKILL to consumer-0 after message 5: it never struck: it had 3 messages",)


def test_same_plan_strikes_at_the_same_place():
    plan = Trial(producers=2, messages=30, seed=11).kill("producer-1", at=write(20, byte=2)).plan
    places = set()
    for _ in range(5):
        verdict = run(plan)
        assert verdict.valid, verdict
        (strike,) = events(verdict, "producer-1", "strike")
        puts = [event.value[1] for event in events(verdict, "producer-1", "enqueue") if event.type == "ok"]
        places.add((strike.value["inside"], len(puts)))
    assert len(places) == 1


def test_kept_plan_runs_again_and_kept_history_is_judged_the_same(tmp_path):
    trial = Trial(STANDARD, messages=10, patience_s=0.5).kill("consumer-0", at=read(3))
    verdict = runner.keep(trial.run(), tmp_path / "kept")
    assert verdict.replay == f"monkeywrench replay {tmp_path}/kept/plan.json"
    again = run(Plan.loads((tmp_path / "kept" / "plan.json").read_text()))
    assert (again.status, again.struck) == (verdict.status, verdict.struck)
    assert {finding.kind for finding in again.findings} == {"stuck"}


class CannotBeMade(SimplePipeQueueAdapter):
    def make(self, directory):
        raise OSError("no queue today")


class NeedsItsModule(SimplePipeQueueAdapter):
    """What the test module defines is there in the peers, its globals too."""

    def put(self, end, message):
        assert PIPES == "pipes.SimplePipeQueue"
        assert isinstance(self, NeedsItsModule)
        super().put(end, message)


class IsPrepared(SimplePipeQueueAdapter):
    """Where its module is imported, pytest is there already: no trial has to import that."""

    def make(self, directory):
        # What was there when this process was forked is frozen, and not among the objects that come and go.
        assert all(thing is not pytest for thing in gc.get_objects())
        super().make(directory)


class Proxy:
    """What it stands for is not there yet."""

    def __getattribute__(self, name):
        raise RuntimeError("too early")


# An adapter's module may have anything in it.
PROXY = Proxy()


class WritesByItself(SimplePipeQueueAdapter):
    """A call that its module has by a name of its own passes the gate."""

    def put(self, end, message):
        writer = os.open(os.devnull, os.O_WRONLY)
        write_by_itself(writer, b"a line")
        os.close(writer)
        super().put(end, message)


class Envelope(NamedTuple):
    message: object


class NeedsAnother(SimplePipeQueueAdapter):
    """What it sends is of a class of the test module's, pickled by reference."""

    def put(self, end, message):
        super().put(end, pickle.dumps(Envelope(message)))

    def get(self, end):
        envelope = pickle.loads(super().get(end))
        assert isinstance(envelope, Envelope)
        return envelope.message


@pytest.mark.parametrize("closed", [(0, 1), (2,), (0, 1, 2)])
def test_process_without_standard_streams_can_run_trials(closed):
    """What it opens next has their numbers, also the socket to its ancestor."""
    code = (
        "import os, sys\n"
        "for number in map(int, sys.argv[1:]):\n"
        "    os.close(number)\n"
        "from monkeywrench.harness import Trial\n"
        "os._exit(0 if Trial(messages=3, seed=1).stale('fifo').run().valid else 1)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, *map(str, closed)], timeout=60).returncode == 0


class ClosesOutputAndFails(SimplePipeQueueAdapter):
    def make(self, directory):
        sys.stderr.close()
        raise LookupError("no such broker")


def test_words_of_an_adapter_are_told_whatever_has_become_of_standard_error():
    with pytest.raises(HarnessError, match=r"make\(\) failed:\n(.*\n)*LookupError: no such broker"):
        Trial(ClosesOutputAndFails(), messages=3).run()


def test_adapter_that_cannot_make_its_queue_is_the_harness_failing_with_its_words():
    with pytest.raises(HarnessError, match="no queue today"):
        Trial(CannotBeMade()).run()


@pytest.fixture(params=["found", "not found"])
def where(request, monkeypatch):
    """Whether a fresh interpreter finds this module."""
    root = str(Path(__file__).parents[2])
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", root)])
    if request.param == "found":
        monkeypatch.syspath_prepend(root)


@pytest.mark.usefixtures("where")
def test_adapter_of_a_test_module_travels():
    verdict = Trial(NeedsItsModule(), messages=5).run()
    assert verdict.valid, verdict


@pytest.mark.parametrize("adapter", [IsPrepared, NeedsAnother])
@pytest.mark.parametrize("where", ["found"], indirect=True)
def test_module_that_peers_find_is_theirs(adapter, where):
    verdict = Trial(adapter(), messages=5).run()
    assert verdict.valid, verdict


@pytest.mark.usefixtures("where")
def test_gate_sees_the_calls_of_a_test_module():
    verdict = Trial(WritesByItself(), messages=5, large_every=0).kill("producer-0", at=write(3)).run()
    assert verdict.valid, verdict
    assert "inside its put 2" in verdict.struck[0]


def test_adapter_of_a_test_module_is_found_again_by_its_reference():
    verdict = run(Trial(NeedsItsModule(), messages=5).plan)
    assert verdict.valid, verdict


def test_root_that_is_killed_is_told_by_the_name_of_the_signal():
    class Falls(SimplePipeQueueAdapter):
        def make(self, directory):
            os.kill(os.getpid(), signal.SIGSEGV)

    with pytest.raises(HarnessError, match=r"the trial root ended by SIGSEGV\. It said nothing\."):
        Trial(Falls(), messages=1).run()


FILLS = """
import contextlib, os
from monkeywrench.harness import HarnessError, Trial
from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter

class Fills(SimplePipeQueueAdapter):
    def get(self, end):
        with contextlib.suppress(OSError), open(f"{os.environ['TMPDIR']}/full", "ab", buffering=0) as file:
            while file.write(bytes(4096)):
                pass
        return super().get(end)

try:
    Trial(Fills(), messages=300, large_every=0).run()
except HarnessError as error:
    print(error)
"""


def test_full_disk_is_no_fault_of_the_queue(tmp_path):
    place, script = tmp_path / "small", tmp_path / "fills.py"
    place.mkdir()
    script.write_text(FILLS)
    # Mounted for these processes alone, and gone with them.
    command = 'mount -t tmpfs -o size=3m tmpfs "$TMPDIR" || exit 77; exec "$0" "$1"'
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", command, sys.executable, script],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "TMPDIR": str(place)},
    )
    if "Operation not permitted" in done.stderr or done.returncode == 77:
        pytest.skip("to mount a file system needs privileges")
    assert f"the trial root ended by SIGBUS; there is no room left in {place}." in done.stdout, (
        done.stdout + done.stderr
    )


def test_what_is_no_plan_is_refused():
    with pytest.raises(PlanError, match=r"plan='plan.json': a Plan is expected; Plan.loads\(text\) reads"):
        run("plan.json")


def test_adapter_is_found_again_by_its_file(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter\n"
        "class Mine(SimplePipeQueueAdapter):\n    pass\n"
    )
    monkeypatch.chdir(tmp_path)
    plan = Trial("mine.py:Mine", messages=5).plan
    assert plan.queue == f"{tmp_path}/mine.py:Mine"
    monkeypatch.chdir("/")
    verdict = run(plan)
    assert verdict.valid, verdict


def test_adapter_defined_in_a_function_travels_too():
    class Local(SimplePipeQueueAdapter):
        pass

    verdict = Trial(Local(), messages=5).run()
    assert verdict.valid, verdict


def test_adapter_that_cannot_travel_says_what_to_do():
    import threading

    class HoldsALock(SimplePipeQueueAdapter):
        def __init__(self):
            super().__init__()
            self.lock = threading.Lock()

    with pytest.raises(
        PlanError, match=r"HoldsALock cannot travel to the peers: .* is made in the peer \(an adapter's make\(\)"
    ):
        Trial(HoldsALock()).run()


class Unseen(SimplePipeQueueAdapter):
    guarantees = Guarantees(gate=("write",))


def test_fault_at_a_call_that_the_gate_does_not_see_is_refused():
    with pytest.raises(PlanError, match=r"before read 3: .* says that the gate sees its write only; messages\(n\)"):
        Trial(Unseen).kill("consumer-0", at=read(3)).run()
    verdict = Trial(Unseen, messages=5).kill("producer-0", at=write(3)).run()
    assert verdict.valid, verdict


def test_adapter_finds_its_neighbours_from_any_directory(tmp_path, monkeypatch):
    (tmp_path / "neighbour_of_mine.py").write_text(
        "from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter\n"
    )
    (tmp_path / "with_neighbour.py").write_text(
        "from neighbour_of_mine import SimplePipeQueueAdapter\nclass Mine(SimplePipeQueueAdapter):\n    pass\n"
    )
    monkeypatch.setattr(sys, "path", sys.path[:])
    verdict = run(Trial(f"{tmp_path}/with_neighbour.py:Mine", messages=5).plan)
    assert verdict.valid, verdict


def test_plan_of_no_known_queue_is_refused_before_anything_runs():
    with pytest.raises(PlanError, match="no queue is called"):
        run(Plan(queue="nothing", seed=1))


def test_deadline_ends_a_trial_that_still_moves():
    verdict = Trial(messages=1_000_000, deadline_s=0.5).run()
    assert verdict.status == "unknown"
    assert "given up after" in verdict.doubts[0]


def test_output_of_a_crashed_peer_is_in_its_finding():
    class Talks(SimplePipeQueueAdapter):
        def get(self, end):
            raise LookupError("what the queue said")

    verdict = Trial(Talks(), messages=5).run()
    crashed = [finding for finding in verdict.findings if finding.kind == "crashed"]
    assert crashed[0].sentence == "consumer-0 ended by exit status 70: LookupError: what the queue said"
    assert any("in get" in line for line in crashed[0].details)


def test_queue_may_remove_its_directory():
    class Thorough(SimplePipeQueueAdapter):
        def make(self, directory):
            super().make(directory)
            self._directory = directory

        def destroy(self):
            super().destroy()
            self._directory.rmdir()

    verdict = Trial(Thorough(), messages=5, seed=1).run()
    assert verdict.valid, verdict


def test_peers_that_nobody_let_run_are_not_stuck(tmp_path):
    """A machine that stands still for longer than the patience, as the root and the peers see it."""

    class Noted(SimplePipeQueueAdapter):
        def make(self, directory):
            super().make(directory)
            (tmp_path / "root").write_text(str(os.getpid()))

        def get(self, end):
            (tmp_path / "begun").touch()
            time.sleep(0.2)
            return super().get(end)

    def stand_still():
        deadline = time.monotonic() + 60
        while not (tmp_path / "begun").exists():
            assert time.monotonic() < deadline, "waited in vain for the first get"
            time.sleep(0.01)
        group = int((tmp_path / "root").read_text())
        time.sleep(0.2)  # the root has looked since
        os.killpg(group, signal.SIGSTOP)
        time.sleep(1.5)
        os.kill(group, signal.SIGCONT)  # the root, which leads it, is the first to run again
        time.sleep(0.3)
        os.killpg(group, signal.SIGCONT)

    with ThreadPoolExecutor(1) as pool:
        stood = pool.submit(stand_still)
        verdict = Trial(Noted(), messages=3, large_every=0, patience_s=1).run()
        stood.result()
    assert verdict.valid, verdict


class NamesItsFIFOByText(SimplePipeQueueAdapter):
    def fifo(self, directory):
        return f"{directory}/queue.fifo"


def test_fifo_that_is_no_path_is_refused():
    with pytest.raises(
        PlanError, match=r"its fifo\(\) returned '\./queue\.fifo': a pathlib\.Path is expected, or None"
    ):
        Trial(NamesItsFIFOByText(), messages=5).run()


class ClosesItsOutput(SimplePipeQueueAdapter):
    def open(self, role):
        sys.stdout.close()
        sys.stderr = None
        return super().open(role)


def test_queue_may_close_its_output():
    verdict = Trial(ClosesItsOutput(), messages=5).run()
    assert verdict.valid, verdict


class SaysMuch(SimplePipeQueueAdapter):
    """Wrong in no way: its errors say much, and each something else."""

    def put(self, end, message):
        try:
            super().put(end, message)
        except OSError as error:
            raise RuntimeError(f"message {message[1]} {'…' * 1000}") from error


def test_operations_may_fail_as_often_as_there_are_messages_whatever_their_errors_say():
    trial = Trial(SaysMuch(), messages=3000, large_every=0, seed=1)
    verdict = trial.error("producer-0", at=every(1, "write"), errno="ENOSPC").run()
    assert verdict.valid, verdict


class NeverStops(SimplePipeQueueAdapter):
    """Every get gives the first message again."""

    first = None

    def get(self, end):
        self.first = self.first or super().get(end)
        return self.first


def test_peer_that_does_more_than_can_be_recorded_has_not_crashed():
    verdict = Trial(NeverStops(), messages=10, large_every=0, seed=1).run()
    assert {finding.kind for finding in verdict.findings} == {"duplicated"}, verdict
    assert "consumer-0 did more than its log has room for: what it did then, nobody knows" in verdict.doubts, verdict


class SaysTooMuch(SimplePipeQueueAdapter):
    """Crashes with a text of many megabytes."""

    def put(self, end, message):
        if message[0] == 0:
            raise ValueError("\N{PILE OF POO}" * 3_000_000)
        super().put(end, message)


def test_error_with_a_long_text_is_told_cut():
    verdict = Trial(SaysTooMuch(), messages=10, seed=1).run()
    (finding,) = verdict.findings
    assert finding.sentence.startswith("producer-0 ended by exit status 70: ValueError: \N{PILE OF POO}"), verdict


class HasHelper(SimplePipeQueueAdapter):
    """Forks a helper when it is opened, which writes a journal of all that is put."""

    def open(self, role):
        reader, self.writer = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.writer)
                journal = os.open(os.devnull, os.O_WRONLY)
                while told := os.read(reader, 100):
                    for _ in told:
                        os.write(journal, b"journal")
            finally:
                os._exit(0)
        os.close(reader)
        return super().open(role)

    def put(self, end, message):
        super().put(end, message)
        os.write(self.writer, b"x")

    def close(self, end):
        os.close(self.writer)
        os.waitpid(self.pid, 0)
        super().close(end)


def test_process_that_a_queue_forks_in_a_peer_is_no_peer():
    calls = Trial(HasHelper(), messages=20, large_every=0, seed=1).calls("producer-0")
    assert not [call for call in calls if call.kind == "read" or call.size == len("journal")]
    assert sum(call.kind == "write" for call in calls) == 40
    verdict = Trial(HasHelper(), messages=20, large_every=0, seed=1).kill("producer-0", at=write(5)).run()
    assert verdict.valid, verdict
    assert verdict.struck[0].startswith("SIGKILL to producer-0 before write 5, inside its put 3"), verdict


class ForksAndComesBack(SimplePipeQueueAdapter):
    """Forks in one of its operations a process that comes back out of it."""

    def __init__(self, operation, error=None, status=0):
        super().__init__()
        self.operation, self.error, self.status = operation, error, status
        self.forked = False

    def fork(self, operation):
        if operation != self.operation or self.forked:
            return False
        self.forked = True
        pid = os.fork()
        if pid:
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == self.status
        elif self.error is not None:
            raise self.error
        return not pid

    def open(self, role):
        return None if self.fork("open") else super().open(role)

    def put(self, end, message):
        return None if self.fork("put") else super().put(end, message)

    def get(self, end):
        return None if self.fork("get") else super().get(end)

    def close(self, end):
        return None if self.fork("close") else super().close(end)


@pytest.mark.parametrize("operation", ["open", "put", "get", "close"])
@pytest.mark.parametrize(("error", "status"), [(None, 0), (ValueError("not mine"), 1), (SystemExit(3), 3)])
def test_process_that_a_queue_forks_does_not_play_the_part_of_its_peer(operation, error, status):
    verdict = Trial(ForksAndComesBack(operation, error, status), messages=20, patience_s=2).run()
    assert verdict.valid, verdict
    assert sum(event.f == "exit" for event in verdict.history.events) == 4, verdict


class LeavesItsThreadsToEnd(SimplePipeQueueAdapter):
    """Does not wait for the last thing that a thread has to do, and a descriptor of it."""

    def close(self, end):
        super().close(end)
        reader, writer = os.pipe()
        os.close(writer)
        with_reader = ThreadPoolExecutor(1)
        with_reader.submit(sum, range(3_000_000)).add_done_callback(lambda _: os.close(reader))
        with_reader.shutdown(wait=False)


class UsesSharedMemory(SimplePipeQueueAdapter):
    def open(self, role):
        self.memory = shared_memory.SharedMemory(create=True, size=64)
        return super().open(role)

    def close(self, end):
        self.memory.close()
        self.memory.unlink()
        super().close(end)


class KeepsAPool(SimplePipeQueueAdapter):
    """Opens all that it may need when it is needed first, and keeps it until it is closed."""

    pool = ()

    def put(self, end, message):
        self.pool = self.pool or [os.open(os.devnull, os.O_WRONLY) for _ in range(20)]
        super().put(end, message)

    def get(self, end):
        self.pool = self.pool or [os.open(os.devnull, os.O_RDONLY) for _ in range(20)]
        return super().get(end)

    def close(self, end):
        for each in self.pool:
            os.close(each)
        super().close(end)


@pytest.mark.parametrize("queue", [LeavesItsThreadsToEnd, UsesSharedMemory, KeepsAPool])
def test_what_ends_by_itself_or_is_kept_once_is_no_leak(queue):
    verdict = Trial(queue(), messages=30).run()
    assert verdict.valid, verdict


class IgnoresTermination(SimplePipeQueueAdapter):
    def open(self, role):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        return super().open(role)


class LeavesWhenTerminated(SimplePipeQueueAdapter):
    def open(self, role):
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
        return super().open(role)


class LeavesAtOnceWhenTerminated(SimplePipeQueueAdapter):
    def open(self, role):
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
        return super().open(role)


@pytest.mark.parametrize("at", [messages(5), write(5), write(5, after=True), elapsed(0)], ids=str)
def test_queue_may_have_a_peer_leave_without_a_word_when_it_is_terminated(at):
    verdict = Trial(LeavesAtOnceWhenTerminated(), messages=5000).kill("producer-0", at=at, signal="SIGTERM").run()
    assert verdict.valid, verdict
    assert verdict.counts["put"] < 5000


def test_kill_that_its_peer_survives_is_unknown():
    verdict = Trial(IgnoresTermination(), messages=20).kill("producer-0", at=messages(5), signal="SIGTERM").run()
    assert verdict.not_applicable == "SIGTERM to producer-0 after message 5: it did not end by it"
    assert verdict.counts["put"] == 20


def test_queue_may_have_a_peer_leave_by_an_exception_of_its_own_when_it_is_terminated():
    verdict = Trial(LeavesWhenTerminated(), messages=20).kill("producer-0", at=messages(5), signal="SIGTERM").run()
    assert verdict.valid, verdict
    assert verdict.counts["put"] == 5


class Pile(Adapter):
    """A directory with a file for each message, of which the newest is taken first."""

    guarantees = Guarantees(order="none", gate=())

    def make(self, directory):
        self.directory = directory

    def open(self, role):
        return itertools.count()

    def put(self, numbers, message):
        name = self.directory / f"{os.getpid():08}-{next(numbers):08}"
        name.with_suffix(".part").write_bytes(pickle.dumps(message))
        name.with_suffix(".part").rename(name)

    def get(self, numbers):
        while True:
            for path in self.waiting():
                mine = path.with_suffix(f".{os.getpid()}")
                try:
                    path.rename(mine)
                except FileNotFoundError:
                    continue  # somebody else has taken it
                message = mine.read_bytes()
                mine.unlink()
                return pickle.loads(message)
            time.sleep(0.001)  # as such queues do: nothing tells of a new file

    def waiting(self):
        return sorted((path for path in self.directory.iterdir() if not path.suffix), reverse=True)


class Lanes(Pile):
    """The same, where each producer's order holds, and who came later goes first."""

    guarantees = Guarantees(gate=())

    def waiting(self):
        lanes = itertools.groupby(super().waiting(), lambda path: path.name.partition("-")[0])
        return [path for _, lane in lanes for path in reversed(list(lane))]


@pytest.mark.parametrize("queue", [Pile, Lanes])
def test_queue_that_hands_out_the_last_message_before_others_loses_none(queue):
    """A consumer ends at that one; what it has overtaken is there all the same."""
    trial = Trial(queue(), producers=2, messages=30).delay("consumer-0", at=every(1), seconds=0.005)
    verdict = trial.run()
    assert verdict.valid, verdict
    assert verdict.counts["received"] == 60


class Keeps(Pile):
    """The same, where the first message goes out when there is no other."""

    guarantees = Guarantees(order="none", killed_consumer_may_cost=0, gate=())

    def waiting(self):
        found = super().waiting()
        return found[:-1] or found


@pytest.mark.parametrize("replace", [True, False])
def test_what_a_consumer_that_dies_between_two_gets_has_left_is_not_lost(replace):
    trial = Trial(Keeps(), producers=2, consumers=2, messages=20)
    verdict = trial.kill("consumer-0", at=messages(3), replace=replace).run()
    assert verdict.valid, verdict


class OpensInPairs(Adapter):
    """A FIFO whose ends wait for each other, for one consumer at a time; one of its messages may get lost."""

    guarantees = Guarantees(most_consumers=1)

    def __init__(self, loses=None):
        self.loses = loses

    def make(self, directory):
        self.path = directory / "queue.fifo"
        os.mkfifo(self.path)

    def open(self, role):
        return open(self.path, "rb" if role == "consumer" else "wb", buffering=0)

    def put(self, end, message):
        if message[1] != self.loses:
            end.write(pickle.dumps(message).ljust(4096))

    def get(self, end):
        while not (data := end.read(4096)):
            time.sleep(0.001)  # the end of the file, until another producer opens it, of which nothing tells
        return pickle.loads(data)

    def close(self, end):
        end.close()

    def destroy(self):
        self.path.unlink()


def test_newcomer_has_the_queue_open_before_a_last_message_is_put():
    for _ in range(5):
        verdict = Trial(OpensInPairs(), messages=10, large_every=0).run()
        assert verdict.valid, verdict


def test_queue_whose_ends_wait_for_each_other_is_drained_as_well():
    verdict = Trial(OpensInPairs(loses=5), messages=10, large_every=0, patience_s=20).run()
    assert [finding.kind for finding in verdict.findings] == ["lost"], verdict


class OneAtATime(SimplePipeQueueAdapter):
    """A queue with room for one consumer at a time, who says so."""

    guarantees = dataclasses.replace(SimplePipeQueueAdapter.guarantees, most_consumers=1)

    def make(self, directory):
        super().make(directory)
        self.taken = directory / "taken"

    def open(self, role):
        if role == "consumer":
            self.taken.touch(exist_ok=False)
        return role, super().open(role)

    def put(self, end, message):
        super().put(end[1], message)

    def get(self, end):
        return super().get(end[1])

    def close(self, end):
        super().close(end[1])
        if end[0] == "consumer":
            self.taken.unlink()


def test_no_more_consumers_have_the_queue_open_than_it_is_made_for():
    """The heal's comes when the others have gone."""
    verdict = Trial(OneAtATime(), messages=10).run()
    assert verdict.valid, verdict
    trial = Trial(OneAtATime(), messages=10).kill("producer-0", at=messages(5), replace=True)
    verdict = trial.run()
    assert verdict.valid, verdict
