"""Plans: the same through a file, and refused with a reason where they cannot be."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from monkeywrench.harness import Plan, PlanError, Trial, elapsed, messages, read, write
from monkeywrench.harness.faults import Kill, Noop

PLAN = Plan(queue="q", producers=2, consumers=1, messages=10, seed=1)

triggers = st.one_of(
    st.builds(messages, st.integers(1, 10)),
    st.builds(write, st.integers(1, 1000), st.none() | st.integers(0, 5000)),
    st.builds(lambda n: read(n, after=True), st.integers(1, 1000)),
    st.builds(elapsed, st.floats(0, 100)),
)
faults = st.one_of(
    st.builds(Kill, st.sampled_from(PLAN.peers), triggers, st.booleans()),
    st.builds(Noop, st.sampled_from(PLAN.peers), triggers),
)


@given(st.lists(faults, max_size=4, unique_by=lambda fault: fault.peer), st.integers(0, 2**63 - 1))
def test_plan_round_trips_through_its_file(faults, seed):
    plan = dataclasses.replace(PLAN, faults=tuple(faults), seed=seed)
    assert Plan.loads(plan.dumps()) == plan


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"producers": 0}, "producers=0: a whole number from 1 to 1000"),
        ({"messages": 1.5}, "messages=1.5: a whole number"),
        ({"seed": -1}, "seed=-1: a whole number from 0"),
        ({"seed": True}, "seed=True: a whole number"),
        ({"patience_s": 0}, "patience_s=0: seconds from 0.1"),
        ({"queue": ""}, "queue='': a name is allowed"),
        (
            {"faults": (Kill("producer-2", messages(1)),)},
            "no peer 'producer-2' in this plan; its peers are producer-0, ",
        ),
        ({"faults": (Kill("heal-producer-0", messages(1)),)}, "no peer 'heal-producer-0'"),
        ({"faults": (Kill("producer-0.1", messages(1)),)}, "no peer 'producer-0.1'"),
        ({"faults": (Kill("producer-0", messages(11)),)}, "producer-0 sees at most 10 messages"),
        ({"faults": (Kill("consumer-0", messages(21)),)}, "consumer-0 sees at most 20 messages"),
        ({"faults": (Kill("producer-0", messages(1)), Kill("producer-0", write(2)))}, "it dies once"),
    ],
)
def test_plan_that_cannot_be_is_refused(change, message):
    with pytest.raises(PlanError) as caught:
        dataclasses.replace(PLAN, **change)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: messages(0), "n=0: a whole number from 1"),
        (lambda: write(0), "n=0"),
        (lambda: Kill("producer-0", 3), r"at=3: allowed are messages\(n\), read\(n\)"),
        (lambda: elapsed(-1), "seconds=-1: seconds from 0"),
        (lambda: Kill("producer-0", messages(1), replace=1), "replace=1: true or false"),
        (lambda: write(1, byte=-1), "byte=-1: a whole number from 0"),
        (lambda: write(1, byte=1, after=True), "not both"),
    ],
)
def test_trigger_that_cannot_be_is_refused(make, message):
    with pytest.raises(PlanError, match=message):
        make()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the plan, line 1: not JSON"),
        ("[]", "the plan: not a plan"),
        ('{"plan": 99}', "a plan of format 99: this version reads format 1"),
        (json.dumps({**PLAN.to_json(), "mesages": 3}), "unknown in a plan: mesages; it takes "),
        (json.dumps({"plan": 1, "seed": 1}), "not a whole plan"),
        (json.dumps({**PLAN.to_json(), "faults": 3}), "faults=3: a list is expected"),
        (json.dumps({**PLAN.to_json(), "faults": [{"fault": "kil"}]}), "its 'fault' is one of kill, noop"),
        (
            json.dumps({**PLAN.to_json(), "faults": [{"fault": "kill", "at": {"trigger": "x"}}]}),
            "not a trigger",
        ),
        (
            json.dumps({**PLAN.to_json(), "faults": [{"fault": "kill", "at": {"trigger": "messages", "m": 1}}]}),
            "it takes n",
        ),
        (
            json.dumps(
                {
                    **PLAN.to_json(),
                    "faults": [{"fault": "kill", "who": 1, "at": {"trigger": "messages", "n": 1}}],
                }
            ),
            "it takes peer, at, replace",
        ),
    ],
)
def test_text_that_is_no_plan_is_refused(text, message):
    with pytest.raises(PlanError) as caught:
        Plan.loads(text)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("queue", "message"),
    [
        ("multiprocesing.Queue", "did you mean 'multiprocessing.Queue'?"),
        ("no.such.module:Queue", "cannot be loaded: ModuleNotFoundError"),
        ("json:NoSuchThing", "json has no 'NoSuchThing'"),
        ("json:JSONDecoder", "JSONDecoder is no monkeywrench.harness.Adapter"),
        ("adapter.py", "which object of that file? Say adapter.py:NAME"),
        (42, "queue=42: an adapter is allowed, or the name of one"),
        ("json:dumps", "cannot be loaded: TypeError: dumps() missing"),
        ("math:pi", "is no monkeywrench.harness.Adapter"),
        ("/no/such/file.py:Queue", "cannot be loaded: FileNotFoundError"),
    ],
)
def test_queue_that_is_none_is_refused(queue, message):
    with pytest.raises(PlanError) as caught:
        Trial(queue)
    assert message in str(caught.value)


def test_trial_draws_a_seed_unless_told():
    assert Trial(seed=5).plan.seed == 5
    assert len({Trial().plan.seed for _ in range(4)}) > 1
