"""The ledger, which keeps a few bytes a message, says what a plain one says that keeps everything."""

import copy
import dataclasses
import os
import pickle
import subprocess
import sys
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from monkeywrench.harness import Event, Guarantees, History, HistoryError, Plan, judge, messages
from monkeywrench.harness import _spool as spool
from monkeywrench.harness._events import Events
from monkeywrench.harness.faults import Kill
from monkeywrench.harness.ledger import Ledger
from monkeywrench.harness.plan import HEAL_CONSUMER, HEAL_PRODUCER

PLAN = Plan(
    queue="a queue",
    producers=2,
    consumers=2,
    messages=4,
    seed=1,
    faults=(Kill("consumer-0", messages(1)), Kill("producer-0", messages(1))),
)
HEAL = 2
PEERS = ["producer-0", "producer-1", HEAL_PRODUCER, "consumer-0", "consumer-1", HEAL_CONSUMER]
# Some that the plan cannot have, and some that no record has room for.
NUMBERS = st.sampled_from([0, 1, 2, 3, 4, 5, 5000, 70_000, 1 << 32, 1 << 70, -1])
MESSAGES = st.tuples(st.sampled_from([0, 1, HEAL, 3, 9, 70_000]), NUMBERS).map(list)


def event(process, kind, f, value=None, error=None):
    return st.tuples(
        *(each if isinstance(each, st.SearchStrategy) else st.just(each) for each in (process, kind, f, value, error))
    )


ERRORS = st.sampled_from([None, "put 1, got 2", "?", ""])
ANYBODY = st.sampled_from(PEERS)
STEPS = st.one_of(
    event(ANYBODY, st.sampled_from(["invoke", "ok"]), "enqueue", MESSAGES),
    event(ANYBODY, "fail", "enqueue", MESSAGES, ERRORS),
    event(ANYBODY, "invoke", "dequeue"),
    event(ANYBODY, "ok", "dequeue", MESSAGES, ERRORS),
    event(ANYBODY, "ok", "dequeue", st.fixed_dictionaries({"unknown": st.text(max_size=3)})),
    event(ANYBODY, "fail", "dequeue", None, st.sampled_from(["OSError()", None])),
    event(ANYBODY, "info", "exit", st.sampled_from([{"code": 0}, {"signal": "SIGKILL"}])),
    event(st.sampled_from(["consumer-0", "producer-0"]), "info", "strike", st.just({"fault": 0, "inside": None})),
)


@st.composite
def histories(draw):
    time = 0
    found = []
    for index, step in enumerate(draw(st.lists(STEPS, max_size=40))):
        if step[2] == "strike":
            step = (*step[:3], {"fault": int(step[0] == "producer-0"), "inside": None}, None)
        time += draw(st.integers(0, 2))
        found.append(Event(index, time, *step))
    guarantees = Guarantees(killed_producer_may_cost=draw(st.sampled_from([0, 1, None])))
    return History(PLAN, guarantees, found), found


class Plain:
    """What is to be said of a history, as one would say it who had memory for everything."""

    def __init__(self, events):
        self.puts, self.received, self.inside_put, self.inside_get = {}, defaultdict(list), {}, {}
        self.unknown, self.corrupted = [], []
        tried = {}  # a get that failed may keep what it took for the next one
        for event in events:
            if event.f == "enqueue":
                self.puts[tuple(event.value)] = event.type
                self.inside_put.pop(event.process, None)
                if event.type == "invoke":
                    self.inside_put[event.process] = event
            elif event.f == "dequeue" and event.type == "invoke":
                self.inside_get[event.process] = event
            elif event.f == "dequeue":
                began = self.inside_get.pop(event.process, None)
                if event.type == "fail":
                    if began is not None:
                        tried.setdefault(event.process, began)
                    continue
                began = tried.pop(event.process, began) or event
                if event.type == "ok" and isinstance(event.value, dict):
                    self.unknown.append(event)
                elif event.type == "ok":
                    self.corrupted += [event] if event.error else []
                    self.received[tuple(event.value)].append((event.process, began.time_ns, event.time_ns, event))
        self.missing = sorted(
            each for each, put in self.puts.items() if put == "ok" and each[0] != HEAL and each not in self.received
        )
        self.healed = any(
            get[0] == HEAL_CONSUMER for each, gets in self.received.items() if each[0] == HEAL for get in gets
        )

    def reordered(self):
        """Return the producers of whom any two messages came in the wrong order."""
        firsts = [(*each, gets[0]) for each, gets in self.received.items() if each in self.puts]
        return {
            one
            for one, number, get in firsts
            for other, later, overtaker in firsts
            if one == other and number < later and overtaker[2] < get[1]
        }


@settings(max_examples=150, deadline=None)
@given(histories())
def test_ledger_agrees_with_a_plain_one(drawn):
    history, told = drawn
    assert list(history.events) == told
    ledger, plain = Ledger(history), Plain(told)
    assert dict(ledger.puts) == plain.puts
    assert len(ledger.puts) == len(plain.puts)
    assert {message: [tuple(get) for get in gets] for message, gets in ledger.received.items()} == plain.received
    assert (ledger.inside_put, ledger.inside_get) == (plain.inside_put, plain.inside_get)
    assert (ledger.unknown, ledger.corrupted) == (plain.unknown, plain.corrupted)
    assert ledger.missing() == plain.missing
    assert ledger.healed == plain.healed
    assert set(ledger.recovered()) == {each for each in plain.received if plain.puts.get(each) == "invoke"}
    assert ledger.never_put() == [each for each in plain.received if plain.puts.get(each) not in ("ok", "invoke")]
    counts = ledger.counts()
    assert counts["put"] == sum(put == "ok" for each, put in plain.puts.items() if each[0] != HEAL)
    assert counts["received"] == sum(len(gets) for each, gets in plain.received.items() if each[0] != HEAL)


@settings(max_examples=150, deadline=None)
@given(histories())
def test_findings_rest_on_the_right_events(drawn):
    history, told = drawn
    plain = Plain(told)
    verdict = judge(history)
    assert not any("crashed" in doubt for doubt in verdict.doubts), verdict.doubts
    by_kind = defaultdict(list)
    for finding in verdict.findings:
        by_kind[finding.kind].append(finding)
    twice = {tuple(get[3].index for get in gets) for gets in plain.received.values() if len(gets) > 1}
    assert {finding.events for finding in by_kind["duplicated"]} == twice
    assert len(by_kind["reordered"]) == len(plain.reordered())
    for finding in by_kind["reordered"]:
        overtaker, late = (told[index] for index in finding.events)
        assert overtaker.value[0] == late.value[0]
        assert overtaker.value[1] > late.value[1]
        assert overtaker.time_ns < late.time_ns
    for finding in by_kind["lost"]:
        assert {tuple(told[index].value) for index in finding.events} == set(plain.missing)
    again = History.parse(history.lines())
    assert again == history
    assert judge(again).explain() == verdict.explain()
    assert pickle.loads(pickle.dumps(history)) == history
    assert copy.deepcopy(history) == history


def test_history_that_is_on_disk_says_the_same_and_leaves_no_descriptor(monkeypatch):
    story = [Event(at, at, "producer-0", ("invoke", "ok")[at % 2], "enqueue", [0, at // 2]) for at in range(3000)]
    story += [
        Event(3000, 3000, "consumer-0", "ok", "dequeue", [0, 7], "changed"),
        story[0]._replace(index=3001, time_ns=3001),
    ]
    in_memory = History(PLAN, Guarantees(), story)
    monkeypatch.setattr(spool, "_MOST_IN_MEMORY", 1000)
    before = os.listdir("/proc/self/fd")
    on_disk = History(PLAN, Guarantees(), story)
    assert len(os.listdir("/proc/self/fd")) > len(before)
    assert on_disk == in_memory
    assert on_disk.events[-1] == story[-1]
    assert on_disk.events[2998:] == story[2998:]
    assert judge(on_disk).explain() == judge(in_memory).explain()
    assert pickle.loads(pickle.dumps(on_disk)) == in_memory
    del on_disk
    assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize(
    ("index", "time_ns"), [(3, 5), (1, 5), (2, 0)], ids=["one is missing", "twice", "before the last"]
)
def test_history_out_of_order_is_refused_with_its_line(index, time_ns):
    story = [Event(0, 0, "producer-0", "invoke", "enqueue", [0, 0]), Event(1, 1, "producer-0", "ok", "enqueue", [0, 0])]
    lines = [*History(PLAN, Guarantees(), story).lines()]
    lines.append(f'{{"index": {index}, "time_ns": {time_ns}, "process": "p", "type": "invoke", "f": "dequeue"}}')
    with pytest.raises(HistoryError, match=r"h, line 4: .*index=2 is expected, and a time of 1 at least"):
        History.parse(lines, source="h")


def test_error_that_is_no_text_is_refused():
    lines = [*History(PLAN, Guarantees(), []).lines()]
    lines.append('{"index": 0, "time_ns": 0, "process": "p", "type": "ok", "f": "dequeue", "error": 5}')
    with pytest.raises(HistoryError, match="line 2: error=5: a text is expected"):
        History.parse(lines)


CHECK = """
import resource, sys
from pathlib import Path
from monkeywrench.harness import History, judge
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
verdict = judge(History.load(Path(sys.argv[1])))
assert verdict.counts["put"] == int(sys.argv[2]), verdict
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_check_of_a_long_history_needs_little_memory(tmp_path):
    """As objects, these events would be 60 MB."""
    path = tmp_path / "history.jsonl"
    plan = dataclasses.replace(PLAN, messages=40_000, faults=())
    story = Events()
    for number in range(40_000):
        for kind in ("invoke", "ok"):
            story.append(Event(0, len(story), "producer-0", kind, "enqueue", [0, number]))
        story.append(Event(0, len(story), "consumer-0", "invoke", "dequeue"))
        story.append(Event(0, len(story), "consumer-0", "ok", "dequeue", [0, number]))
    History(plan, Guarantees(), story).save(path)
    done = subprocess.run(
        [sys.executable, "-c", CHECK, str(path), "40000"], capture_output=True, text=True, check=True, timeout=120
    )
    kilobytes = int(done.stdout) // (1024 if sys.platform == "darwin" else 1)
    assert kilobytes < 25_000
