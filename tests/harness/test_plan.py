"""Plans: the same through a file, and refused with a reason where they cannot be."""

import dataclasses
import json
import sys
import types
import weakref

import pytest
from hypothesis import given
from monkeywrench.harness import (
    Plan,
    PlanError,
    Trial,
    call,
    elapsed,
    every,
    message,
    messages,
    rate,
    read,
    strategies,
    write,
)
from monkeywrench.harness.adapters.naive import JsonLinesAdapter
from monkeywrench.harness.faults import (
    FAULTS,
    Census,
    Delay,
    Error,
    Foreign,
    Kill,
    Limit,
    Noop,
    Pause,
    Remove,
    Short,
    Shrink,
    Stale,
)
from monkeywrench.harness.triggers import Blocked, Call, Elapsed, Ended, Every, Message, Messages, Rate, Start

PLAN = Plan(queue="q", producers=2, consumers=1, messages=10, seed=1)
ALL_FAULTS = (
    Kill("producer-0", messages(1), "SIGTERM", replace=True),
    Pause("consumer-0", read(1), 0.5),
    Delay("consumer-0", messages(1), 0.5),
    Short("producer-0", write(2), 7),
    Error("producer-0", write(2), "ENOSPC"),
    Limit("producer-0", messages(2), 3),
    Foreign("producer-0", messages(2), 3, 4),
    Remove("producer-0", messages(2), replace_it=True),
    Stale("socket"),
    Shrink(8192),
    Noop("producer-0", messages(2)),
    Census("consumer-0"),
)


@given(strategies.plans(most_producers=4, most_consumers=4, most_faults=8))
def test_plan_round_trips_through_its_file(plan):
    assert Plan.loads(plan.dumps()) == plan


@pytest.mark.parametrize(
    "trigger",
    [
        Start(),
        Messages(3),
        Message(2, byte=4000),
        Message(2, call=3),
        Call("open", 3, after=True),
        Every(2, "read"),
        Rate(0.5),
        Elapsed(1.5),
        Blocked(),
        Ended("consumer-0"),
    ],
    ids=str,
)
def test_every_trigger_round_trips_through_a_plan(trigger):
    plan = dataclasses.replace(PLAN, faults=(Noop("producer-0", trigger),))
    assert Plan.loads(plan.dumps()) == plan


def test_every_trigger_and_fault_is_in_a_round_trip():
    drawn = {type(fault) for fault in ALL_FAULTS}
    assert drawn == set(FAULTS.values())


def test_peer_that_is_none_has_no_replacement_to_offer():
    with pytest.raises(PlanError, match=r"its peers are producer-0, producer-1, consumer-0$"):
        PLAN.with_faults(Kill("producer-9", messages(1), replace=True))


@pytest.mark.parametrize("fault", ALL_FAULTS, ids=str)
def test_every_fault_round_trips_through_a_plan(fault):
    plan = dataclasses.replace(PLAN, faults=(fault,))
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
        ({"name": "\ud800"}, "name='\\ud800': a name is allowed"),
        ({"faults": (Kill("producer-x.y", messages(1), replace=True),)}, "no peer 'producer-x.y'"),
        (
            {"faults": (Kill("producer-2", messages(1)),)},
            "no peer 'producer-2' in this plan; its peers are producer-0, ",
        ),
        ({"faults": (Kill("heal-producer-0", messages(1)),)}, "no peer 'heal-producer-0'"),
        ({"faults": (Kill("producer-0.1", messages(1)),)}, "no peer 'producer-0.1'"),
        ({"faults": (Kill("producer-0", messages(11)),)}, "producer-0 sees at most 10 messages"),
        ({"faults": (Kill("consumer-0", messages(21)),)}, "consumer-0 sees at most 20 messages"),
        ({"faults": (Kill("producer-0", messages(1)), Kill("producer-0", write(2)))}, "it dies once"),
        ({"faults": (Stale("fifo"), Stale("file"))}, "a plan has one stale at most"),
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
        (lambda: messages(None), "n=None: a whole number from 1"),
        (lambda: every(None, "read"), "n=None: a whole number from 1"),
        (lambda: Kill("producer-0", 3), r"at=3: allowed are start\(\), messages\(n\), message\(n\), read\(n\)"),
        (lambda: elapsed(-1), "seconds=-1: seconds from 0"),
        (lambda: Kill("producer-0", messages(1), replace=1), "replace=1: true or false"),
        (lambda: write(1, byte=-1), "byte=-1: a whole number from 0"),
        (lambda: write(1, byte=1, after=True), "not both"),
        (lambda: call("flock", 1), "kind='flock': allowed are read, write, open"),
        (lambda: message(1, byte=1, call=1), "a place is one or the other"),
        (lambda: message(1, call=0), "call=0: a whole number from 1"),
        (lambda: every(0), "n=0"),
        (lambda: rate(0), "probability=0: a number over 0"),
        (lambda: rate(1.5), "probability=1.5"),
        (lambda: Kill("producer-0", messages(1), "SIGHUP"), "signal='SIGHUP': allowed are SIGKILL, SIGTERM, SIGINT"),
        (lambda: Error("producer-0", write(1), "EFOO"), "errno='EFOO': allowed are EINTR"),
        (lambda: Error("producer-0", messages(1)), r"say which: read\(n\), write"),
        (lambda: Error("producer-0", write(1, byte=3)), "transfers nothing"),
        (lambda: Short("producer-0", call("open", 1)), "only reads and writes"),
        (lambda: Short("producer-0", write(1, byte=3)), "size= says where"),
        (lambda: Delay("producer-0", elapsed(1)), "strikes inside the peer"),
        (lambda: Pause("producer-0", messages(1), -1), "seconds=-1: seconds from 0"),
        (lambda: Limit("producer-0", messages(1), -1), "descriptors=-1: a whole number from 0"),
        (lambda: Foreign("producer-0", messages(1), 0), "size=0: a whole number from 1"),
        (lambda: Stale("fofi"), "thing='fofi': allowed are fifo, bytes"),
        (lambda: Shrink(0), "size=0"),
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
        (
            json.dumps({**PLAN.to_json(), "mesages": 3}),
            "unknown in a plan: mesages (did you mean 'messages'?); it takes ",
        ),
        (json.dumps({"plan": 1, "seed": 1}), "not a whole plan"),
        (json.dumps({**PLAN.to_json(), "faults": 3}), "faults=3: a list is expected"),
        (json.dumps({**PLAN.to_json(), "faults": [{"fault": "kil"}]}), "its 'fault' is one of kill, "),
        ("[" * 100_000, "the plan: lists and objects in it are nested more than 100 levels deep"),
        ("[" * 101 + "]" * 101, "the plan: lists and objects in it are nested more than 100 levels deep"),
        ("[" * 100 + "]" * 100, "the plan: not a plan"),
        ('{"plan": 1, "seed": ' + "9" * 5000 + "}", "the plan: a whole number in it has more than 4300 digits"),
        (json.dumps({**PLAN.to_json(), "faults": [{"fault": ["x"]}]}), "its 'fault' is one of kill, "),
        (
            json.dumps({**PLAN.to_json(), "faults": [{"fault": "kill", "at": {"trigger": ["x"]}}]}),
            "its 'trigger' is one of start, ",
        ),
        (
            json.dumps(
                {
                    **PLAN.to_json(),
                    "faults": [{"fault": "kill", "peer": ["x"], "at": {"trigger": "start"}, "replace": True}],
                }
            ),
            "no peer ['x'] in this plan",
        ),
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
            "it takes peer, at, signal, replace",
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
        ("monkeywrench.harness.adapters.naive:JsonLineAdapter", "did you mean 'JsonLinesAdapter'?"),
        ("monkeywrench.harness.adapters.naive:Mine", "has no 'Mine'; its adapters: JsonLinesAdapter"),
        ("json:JSONDecoder", "JSONDecoder is no monkeywrench.harness.Adapter"),
        ("adapter.py", "which object of that file? Say adapter.py:NAME"),
        (42, "queue=42: an adapter is allowed, its class, or the name of one"),
        ("json:dumps", "cannot be loaded: TypeError: dumps() missing"),
        ("math:pi", "is no monkeywrench.harness.Adapter"),
        ("/no/such/file.py:Queue", "cannot be loaded: FileNotFoundError"),
    ],
)
def test_queue_that_is_none_is_refused(queue, message):
    with pytest.raises(PlanError) as caught:
        Trial(queue)
    assert message in str(caught.value)


def test_module_is_asked_for_its_adapters_whatever_else_is_in_it(monkeypatch):
    module = types.ModuleType("odd_module")
    module.dead = weakref.proxy(set())  # which raises whatever it is asked
    module.Lines = JsonLinesAdapter
    monkeypatch.setitem(sys.modules, "odd_module", module)
    with pytest.raises(PlanError, match=r"odd_module has no 'Line'; did you mean 'Lines'\?"):
        Trial("odd_module:Line")


@pytest.mark.parametrize("method", ["kill", "pause", "delay", "short", "limit", "foreign", "remove"])
def test_trigger_may_go_without_its_name(method):
    one, other = Trial(seed=1), Trial(seed=1)
    getattr(one, method)("producer-0", read(3))
    getattr(other, method)("producer-0", at=read(3))
    assert one.plan == other.plan


def test_trial_draws_a_seed_unless_told():
    assert Trial(seed=5).plan.seed == 5
    assert len({Trial().plan.seed for _ in range(4)}) > 1
