"""The suite in other people's projects: real pytest runs of real subclasses, of right queues and of broken ones."""

import inspect
import re

import pytest
from monkeywrench.harness import QueueSuite

SOME = "once_and_in_order or before_a_read or short_reads or failed_write and EIO or removed"

THEIRS = """
from monkeywrench.harness import Guarantees, QueueSuite, messages
from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter

class Theirs(SimplePipeQueueAdapter):
    NEEDED = 1

    def put(self, end, message):
        assert self.NEEDED == 1
        super().put(end, message)
"""

FORGETFUL = """
import os
from monkeywrench.harness import Guarantees, QueueSuite
from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter

class Forgetful(SimplePipeQueueAdapter):
    # It knows what it has put, and forgets it when it dies in the middle: a lock that a death leaves behind.
    def put(self, end, message):
        lock = self._path.with_suffix(".lock")
        while True:
            try:
                os.close(os.open(lock, os.O_CREAT | os.O_EXCL))
                break
            except FileExistsError:
                pass
        super().put(end, message)
        os.unlink(lock)

class TestForgetful(QueueSuite):
    adapter = Forgetful()
    patience_s = 1
    messages = 4
    seed = 5

class OffByOne(SimplePipeQueueAdapter):
    # One size is one too many for it.
    def put(self, end, message):
        if len(message) == 4 and len(message[-1]) == 4096:
            message = (*message[:-1], message[-1][:-1])
        super().put(end, message)

class TestOffByOne(QueueSuite):
    adapter = OffByOne()
    seed = 5
"""

FALSE = """
from monkeywrench.harness import Guarantees, QueueSuite
from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter
from monkeywrench.harness.adapters.naive import JsonLinesAdapter

class FalseIsNothing(SimplePipeQueueAdapter):
    def get(self, end):
        while not (got := super().get(end)):
            pass
        return got

class NoneIsNothing(SimplePipeQueueAdapter):
    def put(self, end, message):
        if message is not None:
            super().put(end, message)

class EmptyIsNone(SimplePipeQueueAdapter):
    def get(self, end):
        return super().get(end) or None

class ComesAgain(SimplePipeQueueAdapter):
    guarantees = Guarantees(duplicates=True)

    def put(self, end, message):
        super().put(end, message)
        super().put(end, message)

class ComesAgainOrNot(ComesAgain):
    def put(self, end, message):
        if message != "":
            super().put(end, message)

class KeepsText(JsonLinesAdapter):
    guarantees = Guarantees(types=("str",), most_consumers=1)

class Unordered(FalseIsNothing):
    guarantees = Guarantees(order="none")

class TestFalseIsNothing(QueueSuite):
    adapter = FalseIsNothing

class TestNoneIsNothing(QueueSuite):
    adapter = NoneIsNothing

class TestEmptyIsNone(QueueSuite):
    adapter = EmptyIsNone

class TestComesAgain(QueueSuite):
    adapter = ComesAgain

class TestComesAgainOrNot(QueueSuite):
    adapter = ComesAgainOrNot

class TestUnordered(QueueSuite):
    adapter = Unordered

class TestJsonLines(QueueSuite):
    adapter = "naive.JsonLines"

class TestText(QueueSuite):
    adapter = KeepsText
"""


@pytest.fixture
def project(pytester, run_pytest):
    def run(source, *args):
        pytester.makepyfile(test_theirs=source)
        plain = ("-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:hypothesispytest")
        return run_pytest(*plain, *args)

    return run


def test_subclass_gets_the_tests_and_the_suite_itself_none(project):
    source = f"{THEIRS}\nclass TheirQueue(QueueSuite):\n    adapter = Theirs()\n    messages = 8\n"
    result = project(source, "--import-mode=importlib", "-k", SOME, "-v", "-rs")
    result.assert_outcomes(passed=4, skipped=1)
    result.stdout.fnmatch_lines(["test_theirs.py::TheirQueue::test_delivers_each_message_once_and_in_order PASSED*"])
    result.stdout.fnmatch_lines(["SKIPPED * every read of consumer-0 in its get is in packet mode, and takes *"])
    assert "::QueueSuite::" not in result.stdout.str()


def test_what_cannot_reach_a_queue_is_skipped_with_the_reason(project):
    source = """
    from monkeywrench.harness import QueueSuite

    class TestTheirs(QueueSuite):
        adapter = "multiprocessing.Queue"
        messages = 8

    class TestOneToOne(QueueSuite):
        adapter = "multiprocessing.Pipe"
    """
    some = "once_and_in_order or stale or foreign or killed_in_open or limit_in"
    result = project(source, "-k", f"TestTheirs and ({some}) or TestOneToOne and pipe_buf", "-rs")
    result.assert_outcomes(passed=3, skipped=16)
    result.stdout.fnmatch_lines_random(
        [
            "SKIPPED * producers=2: multiprocessing.Pipe is made for 1 producer at a time; *",
            "SKIPPED * a regular file in the queue's place: * has no FIFO that a stranger could open*",
            "SKIPPED * the gate sees no call of consumer-0 in its open: multiprocessing.Queue*",
        ]
    )


def test_broken_queue_fails_the_right_tests_with_the_verdict(project):
    forgetful = "once_and_in_order or producer_killed_after_a_write or consumer_killed_before"
    off_by_one = "once_and_in_order or pipe_buf"
    result = project(FORGETFUL, "-k", f"TestForgetful and ({forgetful}) or TestOffByOne and ({off_by_one})")
    result.assert_outcomes(passed=3, failed=2)
    assert sorted(re.findall(r"^FAILED .*::(\w+)", result.stdout.str(), re.MULTILINE)) == [
        "test_delivers_sizes_around_pipe_buf",
        "test_survives_producer_killed_after_a_write",
    ]
    result.stdout.fnmatch_lines(
        [
            "invalid: * (test_survives_producer_killed_after_a_write on *:Forgetful, seed 5)",
            "  stuck: heal-producer-0 *",
            "  fault: SIGKILL to producer-0 after write *",
            "  replay: monkeywrench replay *",
        ]
    )


def test_queue_that_takes_what_is_false_for_nothing_fails_one_test_and_says_what_came(project):
    result = project(FALSE, "-rfs", "-k", "false_or_none or (keeps_types and IsNo)")
    result.assert_outcomes(passed=6, failed=4, skipped=1)
    assert sorted(re.findall(r"^FAILED .*::(\w+)::test_delivers_what_is_false_or_none", result.stdout.str(), re.M)) == [
        "TestComesAgainOrNot",
        "TestEmptyIsNone",
        "TestFalseIsNothing",
        "TestNoneIsNothing",
    ]
    result.stdout.fnmatch_lines_random(
        [
            "  unexpected: consumer-0 got 'nothing, where None was put', which nobody put",
            "  unexpected: consumer-0 got 'None, where False was put', which nobody put",
            "SKIPPED * promises no order: *",
        ]
    )


def test_users_override_single_tests_and_add_their_own_and_are_told_to_set_an_adapter(project):
    source = f"""{THEIRS}
import pytest

class Drops(Theirs):
    def put(self, end, message):
        if message[1] != 2:
            super().put(end, message)

class TestTheirs(QueueSuite):
    adapter = Drops
    messages = 8

    @pytest.mark.xfail(reason="it drops one")
    def test_serves_many_producers(self, monkeywrench):
        super().test_serves_many_producers(monkeywrench)

    test_serves_many_consumers = None

    def test_serves_many_of_theirs(self, monkeywrench):
        trial = self.trial(monkeywrench, producers=2, messages=2)
        self.prove(trial.kill("producer-0", at=messages(1)))

class TestNothing(QueueSuite):
    pass
"""
    result = project(
        source, "-k", "(TestTheirs and (many_producers or many_consumers or of_theirs)) or (TestNothing and idle)"
    )
    result.assert_outcomes(passed=1, xfailed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*PlanError: TestNothing.adapter=None: an adapter is allowed, its class, or the name of one"]
    )


def test_every_test_states_its_property_in_one_sentence():
    tests = {name: test for name, test in inspect.getmembers(QueueSuite, callable) if name.startswith("test_")}
    assert len(tests) > 40
    for name, test in tests.items():
        assert re.fullmatch(r"[A-Z`].*\.", test.__doc__ or ""), name
