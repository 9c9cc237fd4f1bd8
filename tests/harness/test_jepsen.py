"""Jepsen's shape of a history, and what its total-queue checker is published to say of two of them."""

import dataclasses
import json
import re
from collections import Counter
from fractions import Fraction

import pytest
from monkeywrench.harness import Event, Guarantees, History, Plan, Trial, jepsen, judge, messages
from monkeywrench.harness._events import Events
from monkeywrench.harness.faults import Kill
from monkeywrench.harness.ledger import Ledger
from monkeywrench.harness.plan import HEAL_CONSUMER

PLAN = Plan(queue="a queue", producers=3, consumers=5, messages=10, seed=1)

# The cases "sane" and "pathological" of Jepsen's total-queue-test: who, type, function, value.
SANE = [
    (1, "invoke", "enqueue", 1),
    (2, "invoke", "enqueue", 2),
    (2, "ok", "enqueue", 2),
    (3, "invoke", "dequeue", 1),
    (3, "ok", "dequeue", 1),
    (3, "invoke", "dequeue", 2),
    (3, "ok", "dequeue", 2),
]
PATHOLOGICAL = [
    (1, "invoke", "enqueue", "hung"),
    (2, "invoke", "enqueue", "enqueued"),
    (2, "ok", "enqueue", "enqueued"),
    (3, "invoke", "enqueue", "dup"),
    (3, "ok", "enqueue", "dup"),
    (4, "invoke", "dequeue", None),  # it never returns
    (5, "invoke", "dequeue", None),
    (5, "ok", "dequeue", "wtf"),
    (6, "invoke", "dequeue", None),
    (6, "ok", "dequeue", "dup"),
    (7, "invoke", "dequeue", None),
    (7, "ok", "dequeue", "dup"),
]
# Their values as messages of producers, who put them in the same order.
AS_MESSAGES = {1: [0, 0], 2: [1, 0], "hung": [0, 0], "enqueued": [1, 0], "dup": [2, 0], "wtf": [0, 7]}


def events(vector):
    return [Event(at, at, f"p{who}", kind, f, value) for at, (who, kind, f, value) in enumerate(vector)]


def as_history(vector):
    """The same told of peers: a dequeue knows no value before it returns."""
    names = {1: "producer-0", 2: "producer-1", 3: "producer-2"}
    names |= {who: f"consumer-{who - 3}" for who in range(4, 8)}
    found = []
    for at, (who, kind, f, value) in enumerate(vector):
        name = "consumer-0" if who == 3 and f == "dequeue" else names[who]
        message = None if (kind, f) == ("invoke", "dequeue") else AS_MESSAGES[value]
        found.append(Event(at, at, name, kind, f, message))
    return History(PLAN, Guarantees(), found)


@pytest.mark.parametrize(
    ("vector", "valid", "sets", "fractions"),
    [
        ([], True, {}, {}),
        (SANE, True, {"recovered": [1]}, {"ok": Fraction(1), "recovered": Fraction(1, 2)}),
        (
            PATHOLOGICAL,
            False,
            {"lost": ["enqueued"], "unexpected": ["wtf"], "duplicated": ["dup"]},
            {name: Fraction(1, 3) for name in ("ok", "lost", "unexpected", "duplicated")},
        ),
    ],
    ids=["empty", "sane", "pathological"],
)
def test_total_queue_says_what_jepsen_publishes(vector, valid, sets, fractions):
    found = jepsen.total_queue(events(vector))
    assert found.valid == valid
    for name in ("lost", "unexpected", "duplicated", "recovered"):
        assert getattr(found, name) == Counter(sets.get(name, [])), name
    for name in ("ok", "lost", "unexpected", "duplicated", "recovered"):
        assert found.fraction(getattr(found, name)) == fractions.get(name, 0), name


@pytest.mark.parametrize("vector", [SANE, PATHOLOGICAL], ids=["sane", "pathological"])
def test_ledger_and_checkers_say_the_same(vector):
    history = as_history(vector)
    found, ledger = jepsen.total_queue(history), Ledger(history)
    assert set(ledger.missing()) == set(found.lost)
    assert set(ledger.recovered()) == set(found.recovered)
    assert set(ledger.never_put()) == set(found.unexpected)
    assert {message: len(more) for message, more in ledger.again.items()} == dict(found.duplicated)
    end = len(vector)
    heal = [
        Event(end, end, "heal-producer-0", "invoke", "enqueue", [3, 0]),
        Event(end + 1, end + 1, "heal-producer-0", "ok", "enqueue", [3, 0]),
        Event(end + 2, end + 2, HEAL_CONSUMER, "ok", "dequeue", [3, 0]),
    ]
    kinds = {finding.kind for finding in judge(History(PLAN, Guarantees(), [*history.events, *heal])).findings}
    assert kinds == {name for name in ("lost", "unexpected", "duplicated") if getattr(found, name)}


def test_failed_put_that_surfaces_is_where_jepsen_is_milder():
    vector = [(1, "invoke", "enqueue", "hung"), (1, "fail", "enqueue", "hung"), (4, "ok", "dequeue", "hung")]
    assert jepsen.total_queue(events(vector)).valid
    assert Ledger(as_history(vector)).never_put() == [(0, 0)]


def test_operation_that_a_process_died_in_is_info():
    plan = dataclasses.replace(PLAN, producers=1, consumers=1, faults=(Kill("producer-0", messages(1)),))
    told = [
        ("producer-0", "invoke", "enqueue", [0, 0]),
        ("producer-0", "info", "strike", {"fault": 0, "beyond_all": None}),
        ("consumer-0", "invoke", "dequeue", None),
        ("producer-0", "info", "exit", {"signal": "SIGKILL"}),
    ]
    history = History(plan, Guarantees(), [Event(at, 10 * at, *each) for at, each in enumerate(told)])
    assert jepsen.dumps(history).splitlines() == [
        "{:index 0, :time 0, :process 0, :type :invoke, :f :enqueue, :value [0 0]}",
        (
            '{:index 1, :time 10, :process :nemesis, :type :info, :f :strike, :value {:process "producer-0", '
            ":fault 0, :beyond-all nil}}"
        ),
        "{:index 2, :time 20, :process 2, :type :invoke, :f :dequeue, :value nil}",
        (
            '{:index 3, :time 30, :process :nemesis, :type :info, :f :exit, :value {:process "producer-0", '
            ':signal "SIGKILL"}}'
        ),
        '{:index 4, :time 30, :process 0, :type :info, :f :enqueue, :value [0 0], :error "the process died"}',
        '{:index 5, :time 30, :process 2, :type :info, :f :dequeue, :value nil, :error "it never ended"}',
    ]
    assert [json.loads(line) for line in jepsen.dumps(history, format="json").splitlines()] == list(
        jepsen.operations(history)
    )


def test_real_history_is_well_formed_for_jepsen():
    verdict = Trial(producers=2, messages=20, seed=3).kill("producer-0", at=messages(7)).run()
    open_by_process = {}
    for index, operation in enumerate(jepsen.operations(verdict.history)):
        assert operation["index"] == index
        process, kind = operation["process"], operation["type"]
        if process == "nemesis":
            continue
        if kind == "invoke":
            assert process not in open_by_process, "a process has one operation at a time"
            open_by_process[process] = operation["f"]
        else:
            assert open_by_process.pop(process) == operation["f"]
    assert not open_by_process
    assert all(re.fullmatch(r"\{:index \d+, .*\}", line) for line in jepsen.lines(verdict.history))
    assert jepsen.total_queue(verdict.history).valid


def test_another_format_is_refused():
    with pytest.raises(ValueError, match="format='xml': one of edn, json"):
        jepsen.dumps(History(PLAN, Guarantees(), Events()), format="xml")
