"""What is drawn can be run, prints as it is written, and shrinks to the smallest that fails."""

import os
import random

import monkeywrench.harness
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from monkeywrench.harness import Plan, run, strategies
from monkeywrench.harness.adapters import load
from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter
from monkeywrench.harness.faults import FAULTS, Kill
from monkeywrench.harness.runner import check_reach
from monkeywrench.harness.triggers import TRIGGERS

PUBLIC = {name: getattr(monkeywrench.harness, name) for name in monkeywrench.harness.__all__}
# A census is no fault: a survey takes it.
NO_FAULT = {"census"}
# Those whose place depends on timing are not drawn; a rate is what several faults are as well.
NOT_DRAWN = {"elapsed", "blocked", "ended", "rate"}


@pytest.mark.parametrize("queue", ["pipes.SimplePipeQueue", "multiprocessing.Queue"])
def test_all_that_can_reach_is_drawn_and_is_legal_and_prints_as_it_is_written(queue):
    faults, places = set(), set()

    @settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
    @given(strategies.plans(queue, most_faults=8))
    def check(plan):
        check_reach(plan, load(queue))
        assert eval(repr(plan), dict(PUBLIC)) == plan
        faults.update(fault.name for fault in plan.faults)
        places.update(type(fault.at) for fault in plan.faults)

    check()
    reaching = {name for name, fault in FAULTS.items() if "Pipe" in queue or not fault.needs_fifo}
    assert faults == reaching - NO_FAULT
    assert places == {kind for name, kind in TRIGGERS.items() if name not in NOT_DRAWN}


@pytest.mark.parametrize(
    "text",
    [
        "start()",
        "messages(3)",
        "message(3)",
        "message(3, byte=0)",
        "message(3, call=2)",
        "write(17, byte=9)",
        "read(2, after=True)",
        "call('lock', 1)",
        "call('any', 4, byte=2)",
        "every(2)",
        "every(1, 'read')",
        "rate(0.25)",
        "rate(0.25, 'any')",
        "elapsed(0.5)",
        "blocked()",
        "ended('producer-0')",
    ],
)
def test_trigger_prints_as_it_is_written(text):
    assert repr(eval(text, dict(PUBLIC))) == text


class Forgetful(SimplePipeQueueAdapter):
    """Who opens it after a killed producer forgets the first message that it puts."""

    def __init__(self, heal):
        super().__init__()
        self.heal = heal

    def make(self, directory):
        super().make(directory)
        self.marks = directory

    def open(self, role):
        self.forgets = role == "producer" and any(self.marks.glob("*.mark"))
        self.mark = None
        return super().open(role)

    def put(self, end, message):
        if self.mark is None:
            self.mark = self.marks / f"{os.getpid()}.mark"
            self.mark.touch()
            if self.forgets and message[0] != self.heal:
                return
        super().put(end, message)

    def close(self, end):
        super().close(end)
        if self.mark is not None:
            self.mark.unlink(missing_ok=True)
            self.mark = None

    def destroy(self):
        super().destroy()
        for mark in self.marks.glob("*.mark"):
            mark.unlink()


@pytest.mark.once
def test_failing_plan_shrinks_to_the_smallest():
    seen = []

    def loses(plan):
        large = plan.producers + plan.consumers >= 4 and len(plan.faults) >= 5
        if not (large or seen) or not any(isinstance(fault, Kill) and fault.replace for fault in plan.faults):
            return False
        verdict = run(plan, adapter=Forgetful(plan.producers))
        if all(finding.kind != "lost" for finding in verdict.findings):
            return False
        seen.append(plan)
        return True

    drawn = strategies.plans(Forgetful(0), most_messages=10, most_faults=6)
    bounds = settings(max_examples=4000, database=None, deadline=None, phases=(Phase.generate, Phase.shrink))
    plan = find(drawn, loses, settings=bounds, random=random.Random(8))
    assert seen[0].producers + seen[0].consumers >= 4
    assert len(seen[0].faults) >= 5
    assert (plan.producers, plan.consumers) == (1, 1)
    assert plan.messages <= 2
    assert [type(fault) for fault in plan.faults] == [Kill]


# A module of its own: every trial imports it, and not Hypothesis.
DROPS = """
from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter

class Drops(SimplePipeQueueAdapter):
    def put(self, end, message):
        if message[:2] != (0, 1):  # all of the heal's arrive: nobody is stuck
            super().put(end, message)
"""
FAILING = """
import monkeywrench.harness as harness
from hypothesis import Phase, example, given, settings
from hypothesis.database import DirectoryBasedExampleDatabase
from monkeywrench.harness import *
from drops import Drops

# On a CI server, Hypothesis keeps no database unless it is told to.
kept = {{"database": DirectoryBasedExampleDatabase("examples"), "derandomize": False}}

@settings(deadline=None, max_examples=20, phases=set(Phase) - {{Phase.explain}}, **kept)
{example}
@given(strategies.plans(Drops(), most_producers=1, most_consumers=1, most_messages=3, most_faults=0))
def test_queue(plan):
    print("RAN", plan)
    assert not harness.run(plan, adapter=Drops()).findings
"""


@pytest.mark.once
def test_failing_plan_is_replayed_and_can_be_pasted(pytester, run_pytest):
    pytester.makepyfile(drops=DROPS)
    pytester.makepyfile(FAILING.format(example=""))
    first = run_pytest("-p", "no:randomly")
    first.assert_outcomes(failed=1)
    printed = first.stdout.str()
    lines = printed[printed.index("plan=Plan(") + len("plan=") :].splitlines()
    text = [line.removeprefix("E").strip() for line in lines]
    plan = eval(" ".join(text[: text.index(")")]).rstrip(","), dict(PUBLIC))
    assert isinstance(plan, Plan)
    assert plan.messages == 2
    # Again: the first that runs is the one from the database.
    again = run_pytest("-p", "no:randomly")
    again.assert_outcomes(failed=1)
    runs = [line.partition("RAN ")[2] for line in again.stdout.lines if line.startswith("RAN ")]
    assert eval(runs[0], dict(PUBLIC)) == plan
    pytester.makepyfile(FAILING.format(example=f"@example({plan!r})"))
    pasted = run_pytest("-p", "no:randomly", "-p", "no:cacheprovider")
    pasted.stdout.fnmatch_lines(["*Fa*ing explicit *"])
