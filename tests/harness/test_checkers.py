"""Checkers on hand-written histories: empty, sane, and one for each defect."""

import dataclasses

import pytest
from monkeywrench.harness import Event, Guarantees, History, Plan, judge, messages
from monkeywrench.harness.checkers import CHECKERS
from monkeywrench.harness.faults import Foreign, Kill
from monkeywrench.harness.plan import HEAL_CONSUMER, HEAL_PRODUCER

PLAN = Plan(queue="a queue", producers=2, consumers=2, messages=10, seed=1)
KILLED_CONSUMER = dataclasses.replace(PLAN, faults=(Kill("consumer-0", messages(1)),))
KILLED_PRODUCER = dataclasses.replace(PLAN, faults=(Kill("producer-0", messages(1)),))


class Story:
    """A history written line by line; every line takes a nanosecond."""

    def __init__(self, plan=PLAN, **guarantees):
        self.plan, self.guarantees, self.events = plan, Guarantees(**guarantees), []

    def add(self, process, type_, f, value=None, error=None):
        self.events.append(Event(len(self.events), len(self.events), process, type_, f, value, error))
        return self

    def put(self, producer, number, end="ok"):
        name = (*self.plan.producer_names, HEAL_PRODUCER)[producer]
        self.add(name, "invoke", "enqueue", [producer, number])
        return self.add(name, end, "enqueue", [producer, number]) if end else self

    def get(self, consumer, producer, number, error=None):
        return self.begin_get(consumer).end_get(consumer, producer, number, error)

    def begin_get(self, consumer):
        return self.add(consumer, "invoke", "dequeue")

    def end_get(self, consumer, producer, number, error=None):
        return self.add(consumer, "ok", "dequeue", [producer, number], error)

    def strike(self, fault=0, **value):
        peer = self.plan.faults[fault].peer
        return self.add(peer, "info", "strike", {"fault": fault, "inside": None, "stack": [], **value})

    def healed(self):
        return self.put(2, 0).get(HEAL_CONSUMER, 2, 0)

    def verdict(self):
        return judge(History(self.plan, self.guarantees, self.events))

    def kinds(self):
        return [finding.kind for finding in self.verdict().findings]


def test_empty_history_is_unknown():
    verdict = Story().verdict()
    assert verdict.status == "unknown"
    assert verdict.doubts == ("no message was received", "the heal did not take place")


def test_sane_history_is_valid():
    verdict = Story().put(0, 0).put(1, 0).get("consumer-0", 0, 0).get("consumer-1", 1, 0).healed().verdict()
    assert verdict.valid
    assert verdict.counts == {"put": 2, "received": 2, "recovered": 0, "maybe taken": 0, "unread": 0}


def test_fault_that_never_struck_is_unknown():
    verdict = Story(KILLED_CONSUMER).put(0, 0).get("consumer-0", 0, 0).healed().verdict()
    assert verdict.status == "unknown"
    assert verdict.doubts == ("SIGKILL to consumer-0 after message 1: it never struck",)


def test_fault_that_missed_says_why():
    story = Story(KILLED_CONSUMER).put(0, 0).get("consumer-0", 0, 0).healed()
    story.add("consumer-0", "info", "missed", {"fault": 0, "why": "that write had 5 bytes only"})
    assert story.verdict().doubts[0].endswith("it never struck: that write had 5 bytes only")
    assert story.verdict().not_applicable is None


def test_trial_whose_fault_was_impossible_is_not_for_this_queue():
    def verdict(story):
        story.add("consumer-0", "info", "missed", {"fault": 0, "why": "it cannot be cut", "impossible": True})
        return story.verdict()

    sane = verdict(Story(KILLED_CONSUMER).put(0, 0).get("consumer-0", 0, 0).healed())
    assert sane.status == "unknown"
    assert sane.not_applicable == "SIGKILL to consumer-0 after message 1: it never struck: it cannot be cut"
    doubted = verdict(Story(KILLED_CONSUMER).put(0, 0).get("consumer-0", 0, 0))
    assert (doubted.status, doubted.not_applicable) == ("unknown", None)
    lost = verdict(Story(KILLED_CONSUMER).put(0, 0).put(0, 1).get("consumer-0", 0, 1).healed())
    assert (lost.status, lost.not_applicable) == ("invalid", None)


def test_checker_that_crashes_is_unknown_and_named():
    def careless(_ledger):
        raise ZeroDivisionError

    story = Story().put(0, 0).get("consumer-0", 0, 0).healed()
    verdict = judge(History(story.plan, story.guarantees, story.events), checkers=[careless])
    assert verdict.status == "unknown"
    assert "the checker careless crashed" in verdict.doubts[0]
    assert "ZeroDivisionError" in verdict.doubts[0]


def test_put_that_returned_and_is_never_received_is_lost():
    story = Story().put(0, 0).put(0, 1).get("consumer-0", 0, 1).healed()
    (finding,) = story.verdict().findings
    assert finding.kind == "lost"
    assert finding.sentence == "1 message whose put returned was never received: message 0 of producer-0"
    assert [story.events[index].value for index in finding.events] == [[0, 0]]


def test_nothing_is_lost_before_the_heal_took_out_what_was_left():
    assert Story().put(0, 0).put(0, 1).get("consumer-0", 0, 0).kinds() == []


def test_consumer_killed_inside_get_may_have_taken_one():
    story = Story(KILLED_CONSUMER).put(0, 0).put(0, 1).put(0, 2).get("consumer-1", 0, 2)
    story.begin_get("consumer-0").strike().healed()
    assert story.kinds() == ["lost"]
    assert "beyond the 1 that killed peers may have taken" in story.verdict().findings[0].sentence
    story.get("consumer-1", 0, 1)
    verdict = story.verdict()
    assert [finding.kind for finding in verdict.findings] == ["reordered"]
    assert verdict.counts["maybe taken"] == 1


def test_consumer_killed_between_gets_takes_nothing():
    story = Story(KILLED_CONSUMER).put(0, 0).put(0, 1).get("consumer-0", 0, 1).strike().healed()
    assert story.kinds() == ["lost"]


@pytest.mark.parametrize(("received", "taken", "expected"), [((3, 4), 2, []), ((2, 4), 1, ["lost"]), ((4,), 3, [])])
def test_consumer_killed_takes_one_run_of_what_was_merged_behind_foreign_bytes(received, taken, expected):
    faults = Kill("consumer-0", messages(1)), Foreign("producer-0", messages(1))
    story = Story(dataclasses.replace(PLAN, faults=faults), foreign_bytes=True)
    for number in range(5):
        story.put(0, number)
    story.strike(1, posix=False).get("consumer-0", 0, 0).strike(0)
    for number in received:
        story.get("consumer-1", 0, number)
    verdict = story.healed().verdict()
    assert [finding.kind for finding in verdict.findings] == expected
    assert verdict.counts["maybe taken"] == taken


@pytest.mark.parametrize(("cost", "expected"), [(0, ["lost"]), (1, ["lost"]), (2, []), (None, [])])
def test_producer_killed_takes_what_its_guarantee_says(cost, expected):
    story = Story(KILLED_PRODUCER, killed_producer_may_cost=cost).put(0, 0).put(0, 1).put(1, 0)
    assert story.get("consumer-0", 1, 0).strike().healed().kinds() == expected


def test_producer_killed_excuses_no_message_of_another():
    story = Story(KILLED_PRODUCER, killed_producer_may_cost=None).put(0, 0).put(1, 0)
    assert story.get("consumer-0", 0, 0).strike().healed().kinds() == ["lost"]


@pytest.mark.parametrize("end", ["fail", "never put"])
def test_received_and_never_put_is_unexpected(end):
    story = Story().put(0, 0)
    if end == "fail":
        story.put(0, 1, end="fail")
    assert story.get("consumer-0", 0, 0).get("consumer-0", 0, 1).healed().kinds() == ["unexpected"]


def test_received_what_is_no_message_is_unexpected():
    story = Story().put(0, 0).get("consumer-0", 0, 0).begin_get("consumer-1")
    story.add("consumer-1", "ok", "dequeue", {"unknown": "'what'"})
    assert story.healed().kinds() == ["unexpected"]


def test_put_that_never_returned_and_is_received_is_recovered():
    verdict = Story().put(0, 0, end=None).get("consumer-0", 0, 0).healed().verdict()
    assert verdict.valid
    assert verdict.counts["recovered"] == 1


def test_received_twice_is_duplicated_unless_guarantees_excuse_it():
    def twice(**guarantees):
        return Story(**guarantees).put(0, 0).get("consumer-0", 0, 0).get("consumer-1", 0, 0).healed()

    assert twice().kinds() == ["duplicated"]
    assert twice(duplicates=True).kinds() == []


def test_one_consumer_gets_them_out_of_order():
    def swapped(**guarantees):
        story = Story(**guarantees).put(0, 0).put(0, 1)
        return story.get("consumer-0", 0, 1).get("consumer-0", 0, 0).healed()

    assert swapped().kinds() == ["reordered"]
    assert swapped(order="none").kinds() == []


def test_two_consumers_beside_each_other_are_in_no_order():
    story = Story().put(0, 0).put(0, 1).begin_get("consumer-0").begin_get("consumer-1")
    assert story.end_get("consumer-1", 0, 1).end_get("consumer-0", 0, 0).healed().kinds() == []


def test_two_consumers_one_after_the_other_are_in_order():
    story = Story().put(0, 0).put(0, 1).get("consumer-1", 0, 1).get("consumer-0", 0, 0).healed()
    assert story.kinds() == ["reordered"]


def test_get_that_failed_and_was_tried_again_began_with_its_first_try():
    def tried_again(fails):
        story = Story().put(0, 0).put(0, 1).begin_get("consumer-1")
        if fails:
            story.add("consumer-1", "fail", "dequeue")
        else:
            story.put(1, 0).end_get("consumer-1", 1, 0)
        return story.get("consumer-0", 0, 1).get("consumer-1", 0, 0).healed().kinds()

    assert tried_again(fails=True) == []
    assert tried_again(fails=False) == ["reordered"]


def test_two_consumers_behind_foreign_bytes_are_in_their_own_order_only():
    plan = dataclasses.replace(PLAN, faults=(Foreign("producer-0", messages(1)),))

    def got(second):
        story = Story(plan, foreign_bytes=True).put(0, 0).put(0, 1).strike(posix=False)
        return story.get("consumer-1", 0, 1).get(second, 0, 0).healed().kinds()

    assert got("consumer-0") == []
    assert got("consumer-1") == ["reordered"]


def test_order_binds_no_two_producers():
    assert Story().put(0, 0).put(1, 0).get("consumer-0", 1, 0).get("consumer-0", 0, 0).healed().kinds() == []


def test_changed_value_is_corrupted():
    story = Story().put(0, 0).get("consumer-0", 0, 0, error="put int 1, got bool True").healed()
    (finding,) = story.verdict().findings
    assert finding.kind == "corrupted"
    assert finding.sentence.endswith("changed: put int 1, got bool True")


@pytest.mark.parametrize("value", [{"code": 1}, {"signal": "SIGSEGV"}])
def test_end_that_nobody_planned_is_crashed(value):
    story = Story().put(0, 0).get("consumer-0", 0, 0).healed()
    story.add("consumer-1", "info", "exit", value, "Traceback\nValueError: bad")
    (finding,) = story.verdict().findings
    assert finding.kind == "crashed"
    assert finding.sentence.endswith("ValueError: bad")


@pytest.mark.parametrize("value", [{"code": 0}, {"signal": "SIGKILL", "by_harness": True}])
def test_orderly_end_is_not_crashed(value):
    story = Story().put(0, 0).get("consumer-0", 0, 0).healed()
    assert story.add("consumer-1", "info", "exit", value).kinds() == []


def test_planned_kill_is_not_crashed():
    story = Story(KILLED_CONSUMER).put(0, 0).get("consumer-0", 0, 0).strike()
    assert story.add("consumer-0", "info", "exit", {"signal": "SIGKILL"}).healed().kinds() == []


@pytest.mark.parametrize(
    ("sent", "how"),
    [
        ("SIGTERM", {"signal": "SIGTERM"}),
        ("SIGTERM", {"code": 143, "untold": True}),
        ("SIGTERM", {"code": 70, "interrupted": True}),
        ("SIGINT", {"signal": "SIGINT"}),
        ("SIGINT", {"code": 70, "interrupted": True}),
        ("SIGKILL", {"signal": "SIGKILL", "by_harness": True}),
    ],
)
def test_end_by_a_signal_that_was_sent_is_planned(sent, how):
    verdict = _survivor(sent, how).verdict()
    assert verdict.valid, verdict
    assert verdict.counts["maybe taken"] == 1


@pytest.mark.parametrize(
    ("sent", "how"),
    [
        ("SIGTERM", {"code": 70}),
        ("SIGTERM", {"code": 0, "untold": True}),
        ("SIGTERM", {"signal": "SIGSEGV"}),
        ("SIGINT", {"signal": "SIGTERM"}),
    ],
)
def test_who_survives_a_signal_and_ends_by_something_else_has_crashed(sent, how):
    assert _survivor(sent, how).kinds() == ["crashed", "lost"]


@pytest.mark.parametrize("sent", ["SIGTERM", "SIGINT"])
def test_who_ends_without_a_word_and_has_gone_no_further_has_ended_by_the_signal(sent):
    verdict = _survivor(sent, {"code": 0, "untold": True}, goes_on=False).verdict()
    assert verdict.valid, verdict


@pytest.mark.parametrize("how", [{"code": 0}, {"signal": "SIGKILL", "by_harness": True}])
def test_signal_that_its_peer_survives_proves_nothing_and_excuses_nothing(how):
    verdict = _survivor("SIGTERM", how, taken=False).verdict()
    assert verdict.status == "unknown"
    assert verdict.not_applicable == "SIGTERM to consumer-0 after message 1: it did not end by it"
    assert _survivor("SIGTERM", how).kinds() == ["lost"]


def _survivor(sent, how, taken=True, goes_on=True):
    """Return the story of a consumer that was sent a signal, its end included, and of a message that nobody got."""
    story = Story(dataclasses.replace(PLAN, faults=(Kill("consumer-0", messages(1), sent),)))
    story.put(0, 0).put(0, 1).get("consumer-0", 0, 0)
    if not taken:
        story.get("consumer-1", 0, 1)
    if goes_on:
        story.strike().begin_get("consumer-0")
    else:
        story.begin_get("consumer-0").strike()
    return story.add("consumer-0", "info", "exit", how).healed()


def test_stuck_names_the_killed_and_who_waits_for_what():
    stack = [{"file": "/x/queues.py", "line": 3, "function": "get", "code": "with lock:"}]
    story = Story(KILLED_CONSUMER).put(0, 0).begin_get("consumer-0").strike(inside="get 1", stack=stack)
    story.begin_get("consumer-1").add("consumer-1", "info", "stuck", {"seconds": 5.04, "stack": stack})
    verdict = story.verdict()
    (finding,) = verdict.findings
    assert finding.kind == "stuck"
    assert finding.sentence == (
        "consumer-1 waits inside its get 1; no peer has moved for 5.0 s since consumer-0 was killed"
    )
    assert finding.details == ("at x/queues.py:3 in get: with lock:",)
    assert verdict.struck == (
        "SIGKILL to consumer-0 after message 1, inside its get 1 (x/queues.py:3 in get: with lock:)",
    )


def test_leak_is_leaked():
    story = Story().put(0, 0).get("consumer-0", 0, 0).healed()
    assert story.add("root", "info", "leak", {"kind": "FIFO", "what": "q.fifo"}).kinds() == ["leaked"]


@pytest.mark.parametrize(("now", "kinds"), [(20, []), (21, ["leaked"])])
def test_descriptors_that_grow_with_the_messages_are_leaked(now, kinds):
    story = Story().put(0, 0).get("consumer-0", 0, 0).healed()
    story.add("consumer-0", "info", "grown", {"opened": 4, "now": now})
    assert story.kinds() == kinds
    if kinds:
        assert story.verdict().findings[0].sentence == (
            "consumer-0 had 21 descriptors open before it closed the queue, 17 more than after its first message; "
            "messages: 1"
        )


def test_descriptors_that_do_not_grow_with_many_messages_are_kept():
    story = Story()
    for number in range(10):
        story.put(0, number).get("consumer-0", 0, number)
    for _ in range(200):
        story.begin_get("consumer-0").add("consumer-0", "fail", "dequeue")
    assert story.healed().add("consumer-0", "info", "grown", {"opened": 4, "now": 24}).kinds() == []


def test_path_that_another_trial_uses_as_well_is_leaked():
    story = Story().put(0, 0).get("consumer-0", 0, 0).healed()
    (finding,) = story.add("root", "info", "shared", {"what": "FIFO /tmp/q.fifo"}).verdict().findings
    assert finding.kind == "leaked"
    assert "FIFO /tmp/q.fifo, outside of the trial's directory" in finding.sentence


def test_deadline_is_unknown():
    story = Story().put(0, 0).get("consumer-0", 0, 0).healed()
    assert story.add("root", "info", "deadline", {"seconds": 120.0}).verdict().status == "unknown"


def test_queue_is_blamed_for_foreign_bytes_only_if_it_promised():
    def cut(**guarantees):
        story = Story(KILLED_PRODUCER, **guarantees).put(0, 0).put(1, 0).get("consumer-0", 0, 0)
        return story.strike(posix=False).healed().verdict()

    assert cut(foreign_bytes=True).status == "invalid"
    verdict = cut()
    assert verdict.status == "unknown"
    assert "no POSIX system cuts a write so short" in verdict.doubts[0]
    assert verdict.not_applicable.startswith("SIGKILL to producer-0 ")


def test_foreign_bytes_are_called_so_and_excuse_whatever_came_of_them():
    plan = dataclasses.replace(PLAN, faults=(Foreign("producer-0", messages(1)),))
    story = Story(plan).put(0, 0).put(1, 0).get("consumer-0", 0, 0).strike(posix=False).healed()
    verdict = story.add("root", "info", "deadline", {"seconds": 120.0}).verdict()
    assert verdict.status == "unknown"
    assert "does not promise foreign_bytes; not held against it: lost" in verdict.not_applicable
    assert "120 s, its deadline" in verdict.not_applicable
    assert "POSIX" not in str(verdict)

    def careless(_ledger):
        raise ZeroDivisionError

    crashed = judge(History(story.plan, story.guarantees, story.events), checkers=[*CHECKERS, careless])
    assert (crashed.status, crashed.not_applicable) == ("unknown", None)
