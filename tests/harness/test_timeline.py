"""What happened around a finding, from histories written by hand."""

import dataclasses

from monkeywrench.harness import Event, Finding, Guarantees, History, Plan, judge, messages
from monkeywrench.harness.faults import Kill
from monkeywrench.harness.timeline import MOST_LINES, MOST_OUTPUT_LINES, MOST_OUTPUTS, outputs, timeline

KILL = Kill("consumer-0", messages(1))
PLAN = Plan(queue="pipes.SimplePipeQueue", producers=2, messages=100, seed=1, faults=(KILL,))


def verdict(*events, findings=(), plan=PLAN):
    """Return a verdict on events a millisecond apart, ``(process, type, f, value, error)``, with these findings."""
    history = History(plan, Guarantees(), [Event(at, at * 1_000_000, *event) for at, event in enumerate(events)])
    return dataclasses.replace(judge(history, checkers=[]), findings=tuple(findings))


def put(number, producer=0):
    return [
        (f"producer-{producer}", "invoke", "enqueue", [producer, number]),
        (f"producer-{producer}", "ok", "enqueue", [producer, number]),
    ]


def finding(*events, peers=("producer-0",)):
    return Finding("lost", "a message was lost", peers, events)


STRIKE = ("consumer-0", "info", "strike", {"fault": 0, "inside": "get 1"})
KILLED = ("consumer-0", "info", "exit", {"signal": "SIGKILL"})
ENDED = ("producer-0", "info", "exit", {"code": 0})


def test_empty_history_has_no_timeline():
    assert timeline(verdict()) == []
    assert outputs(verdict()) == {}


def test_line_says_when_who_and_what():
    events = [*put(7), ("consumer-0", "invoke", "dequeue"), ("consumer-0", "ok", "dequeue", [0, 7], "differs"), ENDED]
    assert timeline(verdict(*events, findings=[finding(1)])) == [
        "        0.000  producer-0  put of message 7 begins",
        ">       1.000  producer-0  put of message 7 returns",
        "        2.000  consumer-0  get begins",
        "        3.000  consumer-0  get returns message 7 of producer-0: differs",
    ]


def test_strikes_and_ends_are_marked_wherever_they_are():
    events = [STRIKE, KILLED, *(event for number in range(20) for event in put(number)), ENDED]
    assert timeline(verdict(*events, findings=[finding(30, 0)])) == [
        "!       0.000  consumer-0  SIGKILL to consumer-0 after message 1, inside its get 1",
        "!       1.000  consumer-0  ended: SIGKILL",
        "        2.000  producer-0  put of message 0 begins",
        "            …  23 more",
        "       26.000  producer-0  put of message 12 begins",
        "       27.000  producer-0  put of message 12 returns",
        "       28.000  producer-0  put of message 13 begins",
        "       29.000  producer-0  put of message 13 returns",
        ">      30.000  producer-0  put of message 14 begins",
        "       31.000  producer-0  put of message 14 returns",
        "       32.000  producer-0  put of message 15 begins",
    ]


def test_it_is_short_whatever_was_found():
    events = [event for number in range(200) for event in put(number)] + [STRIKE, KILLED] * 40
    lines = timeline(verdict(*events, findings=[finding(*range(0, 400, 7)) for _ in range(9)]))
    shown = [line for line in lines if "…" not in line]
    assert len(shown) == MOST_LINES
    assert sum(line.startswith(">") for line in shown) == 6
    assert sum(line.startswith("!") for line in shown) >= 10


def test_without_a_finding_it_shows_what_came_last():
    lines = timeline(verdict(*(event for number in range(50) for event in put(number))))
    assert lines[-1] == "       99.000  producer-0  put of message 49 returns"
    assert len(lines) == 6


def test_every_kind_of_event_is_told():
    told = timeline(
        verdict(
            ("producer-0", "info", "start", {"pid": 7, "role": "producer"}),
            ("producer-0", "fail", "enqueue", [0, 1], "OSError(28)"),
            ("consumer-0", "fail", "dequeue", None, "OSError(5)"),
            ("consumer-0", "ok", "dequeue", {"unknown": "b'??'"}),
            ("consumer-0", "ok", "dequeue", [77, 1]),
            ("consumer-0", "info", "stuck", {"seconds": 5.04}),
            ("consumer-0", "info", "where", {"seconds": 5.04}),
            ("consumer-0", "info", "leak", {"kind": "descriptor", "what": "7 (pipe)"}),
            ("consumer-0", "info", "missed", {"fault": 0, "why": "it had 0 messages"}),
            ("consumer-0", "info", "output", {"text": "four"}),
            ("consumer-0", "info", "call", {"kind": "read", "n": 3, "inside": "get 2"}),
            ("root", "info", "deadline", {"seconds": 2.4}),
            ("root", "info", "refused", None, "PermissionError: no"),
            ("producer-0", "info", "exit", {"code": 70}, "Traceback"),
            ("consumer-0", "info", "exit", {"signal": "SIGKILL", "by_harness": True}),
            findings=[finding(3), finding(8), finding(11)],
        )
    )
    assert [" ".join(line[15:].split()) for line in told if "…" not in line] == [
        "producer-0 starts, pid 7",
        "producer-0 put of message 1 fails: OSError(28)",
        "consumer-0 get fails: OSError(5)",
        "consumer-0 get returns b'??'",
        "consumer-0 get returns message 1 of an unknown producer 77",
        "consumer-0 is stuck: nobody has moved for 5.0 s",
        "consumer-0 is asked where it is",
        "consumer-0 left behind: descriptor 7 (pipe)",
        "consumer-0 SIGKILL to consumer-0 after message 1: did not strike: it had 0 messages",
        "consumer-0 wrote 4 characters",
        "consumer-0 makes read 3, inside its get 2",
        "root gives up: 2.4 s have passed",
        "root refused PermissionError: no",
        "producer-0 ended: exit status 70",
        "consumer-0 ended by the harness: SIGKILL",
    ]


def output(peer, text):
    return (peer, "info", "output", {"text": text})


def test_output_is_that_of_the_peers_involved():
    events = [output("producer-0", "zero\n"), output("producer-1", "one"), output("consumer-0", "killed"), STRIKE]
    assert outputs(verdict(*events, findings=[finding()])) == {"producer-0": "zero", "consumer-0": "killed"}


def test_output_is_everybodys_if_nobody_is_involved():
    found = outputs(verdict(*(output(f"producer-{index}", "text") for index in range(20))))
    assert list(found) == [f"producer-{index}" for index in range(MOST_OUTPUTS)]


def test_output_is_cut_at_its_beginning():
    text = "\n".join(f"line {number}" for number in range(100)) + "\n"
    (shown,) = outputs(verdict(output("producer-0", text))).values()
    assert shown.splitlines()[0] == f"… {100 - MOST_OUTPUT_LINES} lines before"
    assert shown.splitlines()[-1] == "line 99"
    assert len(shown.splitlines()) == MOST_OUTPUT_LINES + 1
