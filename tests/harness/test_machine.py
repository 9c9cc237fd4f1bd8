"""The state machine: the right queue passes, broken ones are found by short programs, and nothing is left."""

import contextlib
import os
import sys
import tempfile

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test
from monkeywrench.harness import Guarantees, PlanError
from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter
from monkeywrench.harness.machine import Model, QueueMachine

from ..attacks.killed_runs import alive

# No phase that explains: it runs many more.
PHASES = (Phase.generate, Phase.shrink)
BOUNDS = settings(
    max_examples=15, stateful_step_count=15, deadline=None, database=None, derandomize=True, phases=PHASES
)


class HoldsBack(SimplePipeQueueAdapter):
    """A consumer takes one message more than it returns; killed, it takes that with it."""

    def open(self, role):
        self.ahead = []
        return super().open(role)

    def get(self, end):
        got = self.ahead.pop() if self.ahead else super().get(end)
        if not self.ahead and not end.empty():
            self.ahead = [end.get_nowait()]
        return got

    def close(self, end):
        for message in self.ahead:
            end.put(message)
        super().close(end)


class PutsLongTwice(SimplePipeQueueAdapter):
    """A long message is written again."""

    def put(self, end, message):
        super().put(end, message)
        if isinstance(message[2], bytes) and len(message[2]) > 4096:
            super().put(end, message)


class LeaksWhenReopened(SimplePipeQueueAdapter):
    """What an earlier opening left stays open."""

    def open(self, role):
        if hasattr(self, "was"):
            os.open(os.devnull, os.O_RDONLY)
        self.was = True
        return super().open(role)


class LocksForGood(SimplePipeQueueAdapter):
    """A lock file which outlives its holder."""

    def put(self, end, message):
        lock = self._path.with_suffix(".lock")
        while True:
            try:
                os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                continue
            break
        super().put(end, message)
        lock.unlink()


class EndsBySignal40(SimplePipeQueueAdapter):
    """A process that puts ends by a signal which has no name."""

    def put(self, end, message):
        os.kill(os.getpid(), 40)


class ClosesItsOutput(SimplePipeQueueAdapter):
    """Right, but for what a program may do: its output is closed, and no stream at all."""

    def open(self, role):
        sys.stdout.close()
        sys.stderr = None
        return super().open(role)


def machine_of(queue):
    class Machine(QueueMachine):
        adapter = queue
        payloads = st.none() | st.integers(0, 9) | st.builds(bytes, st.just(6000))
        patience_s = 3.0

    return Machine


def test_right_queue_passes():
    class Machine(QueueMachine):
        adapter = SimplePipeQueueAdapter
        patience_s = 30.0

    run_state_machine_as_test(Machine, settings=BOUNDS)


def test_machine_without_an_adapter_is_refused():
    class Misspelt(QueueMachine):
        adaptor = SimplePipeQueueAdapter

    with pytest.raises(PlanError, match=r"Misspelt\.adapter=None: an adapter is allowed, its class, or the name"):
        Misspelt()


@pytest.mark.once
def test_broken_queue_is_found_by_a_short_program():
    with pytest.raises(AssertionError, match="leaked: ") as found:
        run_state_machine_as_test(
            machine_of(LeaksWhenReopened), settings=settings(BOUNDS, max_examples=100, stateful_step_count=7)
        )
    program = "\n".join(found.value.__notes__).partition("state = ")[2].splitlines()[1:]
    steps = [line for line in program if "state." in line and "teardown" not in line]
    assert 3 <= len(steps) <= 4, program
    assert any("state.reopen_" in line for line in steps), program


def holds_back(machine, producer, consumer):
    machine.put(producer, 1)
    machine.put(producer, 2)
    machine.get(consumer)
    machine.kill_consumer(consumer)


def puts_long_twice(machine, producer, consumer):
    machine.put(producer, bytes(6000))
    machine.get(consumer)


@pytest.mark.parametrize(
    ("queue", "program", "finding"),
    [
        (HoldsBack, holds_back, "lost: message 1 of producer-0, whose put returned, was never received"),
        (PutsLongTwice, puts_long_twice, "duplicated: consumer-1 got message 0 of producer-0 once more"),
    ],
)
def test_program_finds_what_is_broken(queue, program, finding):
    for made, found in ((queue(), finding), (SimplePipeQueueAdapter(), None)):
        with contextlib.nullcontext() if found is None else pytest.raises(AssertionError, match=found):
            run_program(machine_of(made), program)


def test_queue_may_close_its_output():
    run_program(machine_of(ClosesItsOutput()), puts_long_twice)


def test_end_by_a_signal_without_a_name_is_found():
    with pytest.raises(AssertionError, match="crashed: producer-0 ended in its put, by signal 40"):
        run_program(machine_of(EndsBySignal40()), puts_long_twice)


def run_program(kind, program):
    """Run a program as Hypothesis does, but one that is written down."""
    machine = kind()
    try:
        producer, consumer = machine.first_producer(), machine.first_consumer()
        program(machine, producer, consumer)
    finally:
        machine.teardown()


def test_stuck_step_says_where_and_leaves_nothing(monkeypatch, tmp_path):
    place = tmp_path / ("a long name of a directory of temporary files " * 3)
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    machine = machine_of(LocksForGood())()
    pids = [machine._stage.pid]
    descriptors = len(os.listdir("/proc/self/fd"))
    try:
        first, second = machine.first_producer(), machine.open_producer()
        pids += [first.pid, second.pid]
        machine.pause_consumer(machine.first_consumer())
        machine.kill_in_put(first, 1, 3)
        type(machine).patience_s = 0.5
        # It goes round and round: which of its calls it is in, nobody knows.
        with pytest.raises(
            AssertionError, match=r"stuck: producer-1 in its put, for 0.5 s\n(.*\n)*.*test_machine"
        ) as stuck:
            machine.put(second, 2)
    except BaseException as error:
        machine.teardown()
        raise AssertionError("it should be stuck") from error
    try:
        raise stuck.value
    except AssertionError:
        machine.teardown()
    assert not [pid for pid in pids if alive(pid)]
    assert not list(place.iterdir())
    assert len(os.listdir("/proc/self/fd")) < descriptors


def test_rules_of_ones_own():
    class Mine(QueueMachine):
        adapter = SimplePipeQueueAdapter
        patience_s = 30.0

        @precondition(lambda self: self.has_space(3))
        @rule(peer=QueueMachine.producers, n=st.integers(2, 3))
        def burst(self, peer, n):
            for number in range(n):
                self.tell_put(peer, number)
            ran.append(n)

    ran = []
    run_state_machine_as_test(Mine, settings=settings(BOUNDS, max_examples=10))
    assert ran


MODEL = {
    "whole": ("puts 0 0 a; ok 0 0; got 0 0 a; rest", None),
    "lost": ("puts 0 0 a; ok 0 0; rest", "lost"),
    "lost before another": ("puts 0 0 a; ok 0 0; puts 0 1 b; ok 0 1; got 0 1 b", "lost"),
    "put that never ended": ("puts 0 0 a; rest", None),
    "taken": ("puts 0 0 a; ok 0 0; killed; rest", None),
    "one taken, two lost": ("puts 0 0 a; ok 0 0; puts 0 1 b; ok 0 1; killed; rest", "lost"),
    "killed where nothing was": ("killed; puts 0 0 a; ok 0 0; rest", "lost"),
    "duplicated": ("puts 0 0 a; ok 0 0; got 0 0 a; got 0 0 a", "duplicated"),
    "reordered": ("puts 0 0 a; puts 0 1 b; got 0 1 b; got 0 0 a", "reordered"),
    "corrupted": ("puts 0 0 a; got 0 0 b", "corrupted"),
    "unexpected": ("got 0 0 a", "unexpected"),
}


@pytest.mark.parametrize(("script", "finding"), MODEL.values(), ids=MODEL)
def test_model(script, finding):
    model, found = Model(Guarantees()), None
    for line in script.split("; "):
        match line.split():
            case ["puts", producer, number, value]:
                model.begins(int(producer), int(number), value)
            case ["ok", producer, number]:
                model.put(int(producer), int(number))
            case ["got", producer, number, value]:
                found = model.got("consumer-0", (int(producer), int(number), value)) or found
            case ["killed"]:
                model.killed_in_get()
            case ["rest"]:
                found = model.rest() or found
    assert (found or "None").partition(":")[0] == str(finding)
