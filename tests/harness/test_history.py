"""Histories: the same through a file, refused with the line's number, and written so that SIGKILL costs nothing."""

import json
import signal
import subprocess
import sys

import pytest
from monkeywrench.harness import Event, Guarantees, History, HistoryError, Plan, Trial, judge
from monkeywrench.harness import _eventlog as log
from monkeywrench.harness._events import Events
from monkeywrench.harness.faults import Shrink


@pytest.fixture(scope="module")
def history():
    return Trial(producers=2, messages=20, seed=3).run().history


def test_history_round_trips_and_gets_the_same_verdict(history, tmp_path):
    history.save(tmp_path / "history.jsonl")
    again = History.load(tmp_path / "history.jsonl")
    assert again == history
    assert judge(again).explain() == judge(history).explain()


def test_history_that_cannot_be_written_leaves_what_was_there(history, tmp_path, small_files):
    path = tmp_path / "history.jsonl"
    path.write_text("an earlier one")
    with pytest.raises(OSError, match="File too large"):
        history.save(path)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("history.jsonl", "an earlier one")]


def test_history_is_in_the_order_of_time(history):
    times = [event.time_ns for event in history.events]
    assert times == sorted(times)
    assert [event.index for event in history.events] == list(range(len(times)))


def _lines(history):
    return list(history.lines())


PLACE = {"file": "f", "line": 1, "function": "g"}


@pytest.mark.parametrize(
    ("f", "value", "message"),
    [
        ("where", None, "value=None: an object is expected of where"),
        ("refused", 3, "value=3: an object is expected of refused"),
        ("deadline", {}, "seconds=None: seconds from 0 is expected in the value of deadline"),
        ("stuck", {"seconds": "x"}, "seconds='x': seconds from 0"),
        (
            "stuck",
            {"seconds": 1, "stack": "x"},
            "stack='x': a list of objects with file, line and function is expected",
        ),
        ("stuck", {"seconds": 1, "stack": [1]}, "stack=[1]: a list of objects"),
        ("where", {"stack": [{**PLACE, "file": 1}]}, "a list of objects with file, line and function"),
        ("strike", {"fault": True}, "fault=True: a whole number is expected"),
        ("strike", {"fault": 0, "call": 5}, "call=5: an object with n, name and done is expected"),
        ("strike", {"fault": 0, "inside": "put x"}, "an operation such as 'put 7' is expected"),
        ("exit", {"signal": 9}, "signal=9: a text is expected"),
        ("dequeue", [0, 0], "value=[0, 0]: none is expected of info dequeue"),
        ("missed", {"fault": 0, "why": 3}, "why=3: a text is expected"),
        ("grown", {"opened": "a", "now": 1}, "opened='a': a whole number is expected"),
        ("output", {"text": None}, "text=None: a text is expected"),
        ("call", {"kind": "read", "n": 1}, "size=None: a whole number is expected"),
    ],
)
def test_value_of_the_wrong_shape_is_refused(f, value, message):
    plan = Plan(queue="q", seed=1, faults=(Shrink(),))
    lines = [
        *History(plan, Guarantees(), []).lines(),
        json.dumps({"index": 0, "time_ns": 1, "process": "p", "type": "info", "f": f, "value": value}),
    ]
    with pytest.raises(HistoryError) as caught:
        History.parse(lines)
    assert str(caught.value).startswith("the history, line 2: ")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("line", "text", "message"),
    [
        (1, "", "line 1: "),
        (1, "{}", "line 1: not a history"),
        (1, '{"history": 2}', "line 1: a history of format 2"),
        (1, '{"history": 1, "plan": {}}', "line 1: not a plan"),
        (4, "{", "line 4: "),
        (4, "[]", "line 4: an object is expected"),
        (
            4,
            '{"index": 1, "time_ns": 1, "process": "p", "type": "okay", "f": "x"}',
            "type='okay': allowed are invoke, ok, fail, info",
        ),
        (4, '{"index": "x"}', "line 4: index='x': an event has one, of type int"),
        (
            4,
            '{"index": 1, "time_ns": 1, "process": "p", "type": "ok", "f": "enqueue", "valu": 1}',
            "line 4: unknown in an event: valu",
        ),
        (
            4,
            '{"index": 1, "time_ns": 1, "process": "p", "type": "ok", "f": "enqueue", "value": 1}',
            "[producer, number]",
        ),
        (4, '{"index": 1, "time_ns": 1, "process": "p", "type": "ok", "f": "dequeue"}', "[producer, number]"),
        (4, '{"index": 1, "time_ns": 1, "process": "p", "type": "info", "f": "leak"}', "an object is expected"),
        (4, '{"index": 1, "time_ns": 1, "process": "p", "type": "info", "f": "exit"}', "an object is expected"),
        (
            4,
            '{"index": 1, "time_ns": 1, "process": "p", "type": "info", "f": "strike", "value": {"fault": 0}}',
            "fault 0: the plan has 0",
        ),
        (4, "\ufffd", "line 4: "),
        (1, "[" * 100_000, "line 1: lists and objects in it are nested more than 100 levels deep"),
        (4, "9" * 5000, "line 4: a whole number in it has more than 4300 digits"),
    ],
)
def test_text_that_is_no_history_is_refused_with_its_line(history, line, text, message):
    lines = _lines(history)
    lines[line - 1] = text
    with pytest.raises(HistoryError) as caught:
        History.parse(lines, source="h.jsonl")
    assert str(caught.value).startswith("h.jsonl, ")
    assert message in str(caught.value)


def test_history_that_is_cut_off_between_two_lines_is_refused(history):
    lines = list(history.lines())
    with pytest.raises(HistoryError, match=f"tells of {len(lines) - 1} events, and {len(lines) - 2} are there"):
        History.parse(lines[:-1])
    header = json.loads(lines[0])
    del header["events"]  # whoever writes one by hand need not count
    assert len(History.parse([json.dumps(header), *lines[1:-1]]).events) == len(lines) - 2


def test_empty_file_is_no_history():
    with pytest.raises(HistoryError, match="empty"):
        History.parse([])


def test_guarantees_that_are_none_are_refused(history):
    lines = _lines(history)
    header = json.loads(lines[0])
    header["guarantees"]["order"] = "alphabetic"
    with pytest.raises(HistoryError, match="line 1: not a queue's guarantees"):
        History.parse([json.dumps(header), *lines[1:]])


@pytest.mark.parametrize("time_ns", [-1, 1 << 64, 1 << 200])
def test_time_that_no_clock_shows_is_refused(time_ns):
    events = Events()
    with pytest.raises(HistoryError, match=rf"time_ns={time_ns}: nanoseconds from 0 to {(1 << 64) - 1} are allowed"):
        events.append(Event(0, time_ns, "producer-0", "invoke", "enqueue", [0, 0]))
    assert len(events) == 0


def test_what_a_killed_process_wrote_is_there(tmp_path):
    path = str(tmp_path / "p.events")
    writer = (
        "import os, signal, sys\n"
        "from monkeywrench.harness import _eventlog as log\n"
        "recorder = log.Recorder(sys.argv[1], 1 << 16)\n"
        "for number in range(1000):\n"
        "    recorder.append(log.ENQUEUE_INVOKE, 1, number, b'text')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", writer, path], timeout=60)
    assert done.returncode == -signal.SIGKILL
    records = list(log.read_records(path))
    assert [(record.code, record.producer, record.number, record.text) for record in records] == [
        (log.ENQUEUE_INVOKE, 1, number, "text") for number in range(1000)
    ]


def test_event_that_is_not_whole_is_left_out(tmp_path):
    path = str(tmp_path / "p.events")
    recorder = log.Recorder(path, 1 << 16)
    recorder.append(log.ENQUEUE_OK, 0, 1)
    log.RECORD.pack_into(recorder._map, recorder.whole(), 1, log.ENQUEUE_OK, 0, 0, 2, 0)  # killed before it counted
    assert [record.number for record in log.read_records(path)] == [1]


def test_log_that_is_full_is_an_error_and_loses_nothing(tmp_path):
    recorder = log.Recorder(str(tmp_path / "p.events"), 96)
    recorder.append(log.ENQUEUE_OK, 0, 1)
    recorder.append(log.ENQUEUE_OK, 0, 2)
    with pytest.raises(HistoryError, match="more events than the plan allows for"):
        recorder.append(log.ENQUEUE_OK, 0, 3)
    assert [record.number for record in log.read_records(str(tmp_path / "p.events"))] == [1, 2]


@pytest.mark.parametrize("character", ["x", "é", "€", "\N{PILE OF POO}", "\udcff"])
def test_long_text_is_cut_to_what_there_is_room_for_and_is_text(character):
    cut = log.brief(character * 1000)
    assert log.MOST_TEXT - 4 < len(cut) <= log.MOST_TEXT
    assert set(cut.decode()) == {character.replace("\udcff", "?")}


def test_history_of_nothing_is_unknown():
    assert judge(History(Plan(queue="q", seed=1), Guarantees(), [])).status == "unknown"


def test_the_same_text_again_takes_no_room(tmp_path):
    path = str(tmp_path / "p.events")
    recorder = log.Recorder(path, 1 << 14)
    for number in range(200):
        recorder.append(log.ENQUEUE_FAIL, number=number, text=b"OSError(5, 'Input/output error')" * 5)
    recorder.append(log.ENQUEUE_FAIL, text=b"another")
    *same, another = (record.text for record in log.read_records(path))
    assert (len(same), len(set(same)), another) == (200, 1, "another")


def test_count_is_whole_at_every_instant(tmp_path):
    """Another process that looks at any moment, as after a SIGKILL at any moment, sees a count that is one."""
    path = str(tmp_path / "p.events")
    recorder = log.Recorder(path, 1 << 24)
    reader = (
        "import mmap, sys\n"
        "with open(sys.argv[1], 'r+b') as file:\n"
        "    numbers = memoryview(mmap.mmap(file.fileno(), 48)).cast('Q')\n"
        "print('ready', flush=True)\n"
        "bad = 0\n"
        "while (count := numbers[0]) < 4_000_000:\n"
        "    bad += (count - 48) % 21 != 0\n"
        "print(bad)\n"
    )
    with subprocess.Popen([sys.executable, "-c", reader, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        while recorder.whole() < 4_000_000:
            recorder.append(log.DEQUEUE_INVOKE)
        assert process.stdout.readline() == "0\n"
