"""Reports: what they say is what happened, in formats that others read; and they are whole, or not there."""

import dataclasses
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from html import unescape
from pathlib import Path

import click
import pytest
from monkeywrench.harness import Event, Guarantees, History, Plan, judge, runner
from monkeywrench.harness.faults import Kill
from monkeywrench.harness.triggers import messages, read
from monkeywrench.scenarios._result import Result
from monkeywrench.scenarios.report import ReportError, _files, directory_names, prepare, write_junit, write_report

STANDARD = "multiprocessing.Queue"


def result_of(plan, verdict=None, scenario="s", **fields):
    return Result(scenario, plan, verdict, fields.get("not_applicable"), 0.25, "monkeywrench run s --seed 1")


@pytest.fixture(scope="module")
def results():
    """A real trial of each kind: valid, invalid, unknown; one that is not applicable, one that failed."""
    own = {"queue": "pipes.SimplePipeQueue", "seed": 1, "producers": 2, "messages": 30}
    kill = Kill("producer-0", messages(10))
    never = Kill("consumer-0", read(500))
    wedge = Kill("consumer-0", read(5))
    plans = (
        Plan(**own, name="a: valid", faults=(kill,)),
        Plan(**own | {"queue": STANDARD, "patience_s": 0.5}, name="a: wedged", faults=(wedge,)),
        Plan(**own, name="b: <never> & \x07 struck", faults=(never,)),
    )
    ran = [result_of(plan, runner.run(plan), plan.name[0]) for plan in plans]
    assert [each.verdict.status for each in ran] == ["valid", "invalid", "unknown"]
    skipped = result_of(plans[0], scenario="b", not_applicable="the gate sees nothing of it")
    return [*ran, skipped, result_of(plans[0], scenario="b")]


@pytest.fixture(scope="module")
def report(results, tmp_path_factory):
    directory = tmp_path_factory.mktemp("report") / "new" / "report"
    write_report(directory, results)
    return directory


def tree(directory):
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_report_has_its_files_and_no_others(report, results):
    own = {f"{name}/{file}" for name in directory_names(results[:3]) for file in ("plan.json", "history.jsonl")}
    assert tree(report).keys() == {"report.html", "trace.json", "junit.xml", *own}


def test_kept_history_is_judged_the_same(report, results):
    for name, result in zip(directory_names(results), results, strict=True):
        if result.verdict is None:
            continue
        again = judge(History.load(report / name / "history.jsonl"))
        assert again.findings == result.verdict.findings
        assert (again.status, again.counts, again.struck) == (
            result.verdict.status,
            result.verdict.counts,
            result.verdict.struck,
        )
        assert Plan.loads((report / name / "plan.json").read_text()) == result.plan


def test_trials_of_one_name_have_directories_of_their_own(results):
    assert directory_names([results[0], results[0], results[1], results[0]]) == [
        "a-valid",
        "a-valid-2",
        "a-wedged",
        "a-valid-3",
    ]


# --- trace.json: the trace-event format ---------------------------------------------------------------------------


def check_trace(document):
    """Assert what the trace-event format asks of each phase that is used here; return events by phase."""
    assert isinstance(document["traceEvents"], list)
    assert document["displayTimeUnit"] in ("ms", "ns")
    needed = {"X": ("ts", "dur"), "i": ("ts", "s"), "M": ("args",), "s": ("ts", "id"), "f": ("ts", "id", "bp")}
    phases = {phase: [] for phase in needed}
    for event in document["traceEvents"]:
        assert event["ph"] in needed, event
        for key in ("name", "pid", "tid", *needed[event["ph"]]):
            assert key in event, (key, event)
        assert isinstance(event["name"], str)
        assert type(event["pid"]) is int
        assert type(event["tid"]) is int
        for key in ("ts", "dur"):
            assert event.get(key, 0) >= 0, event
        phases[event["ph"]].append(event)
    assert {event["name"] for event in phases["M"]} <= {
        "process_name",
        "thread_name",
        "process_sort_index",
        "thread_sort_index",
    }
    assert {event["s"] for event in phases["i"]} <= {"g", "p", "t"}
    named = {(event["pid"], event["tid"]) for event in phases["M"] if event["name"] == "thread_name"}
    spans = {}
    for event in phases["X"]:
        assert (event["pid"], event["tid"]) in named, event
        spans.setdefault((event["pid"], event["tid"]), []).append((event["ts"], event["ts"] + event["dur"]))
    for own in spans.values():  # one thread does one thing at a time, or they would nest
        own.sort()
        assert all(before[1] <= after[0] + 0.002 for before, after in itertools.pairwise(own))
    tails = {event["id"] for event in phases["s"]}
    assert len(tails) == len(phases["s"])
    assert {event["id"] for event in phases["f"]} <= tails
    for event in (*phases["s"], *phases["f"]):  # an arrow binds to what lasts at its moment
        own = spans[event["pid"], event["tid"]]
        assert any(begin - 0.002 <= event["ts"] <= end + 0.002 for begin, end in own), event
    return phases


def test_trace_is_of_its_format_and_has_every_event(report, results):
    phases = check_trace(json.loads((report / "trace.json").read_text()))
    ran = [result for result in results if result.verdict is not None]
    for pid, result in enumerate(ran, start=1):
        seen = set()
        for event in (*phases["X"], *phases["i"]):
            if event["pid"] == pid:
                seen |= {event["args"][key] for key in ("invoke", "index") if key in event["args"]}
        assert seen == {event.index for event in result.verdict.history.events}
    unfinished = [event for event in phases["X"] if event["args"]["outcome"] == "never returned"]
    assert unfinished
    events = [event for result in ran for event in result.verdict.history.events]
    assert len(phases["s"]) == sum((event.f, event.type) == ("enqueue", "invoke") for event in events)
    assert len(phases["f"]) == sum((event.f, event.type) == ("dequeue", "ok") for event in events)
    names = {event["args"]["name"] for event in phases["M"] if event["name"] == "thread_name"}
    assert {"producer-0", "consumer-0", "heal-consumer-0"} <= names


def test_trace_check_sees_what_is_wrong(report):
    good = json.loads((report / "trace.json").read_text())
    breaks = {
        "no duration": lambda event: event.pop("dur", None),
        "a thread nobody named": lambda event: event.update(tid=99),
        "a phase that is none": lambda event: event.update(ph="Q"),
        "before the begin": lambda event: event.update(ts=-1),
    }
    for broken in breaks.values():
        bad = json.loads(json.dumps(good))
        broken(next(event for event in bad["traceEvents"] if event["ph"] == "X"))
        with pytest.raises((AssertionError, KeyError)):
            check_trace(bad)


def test_trials_follow_one_another_in_the_trace(report):
    phases = check_trace(json.loads((report / "trace.json").read_text()))
    spans = {}
    for event in phases["X"]:
        low, high = spans.get(event["pid"], (event["ts"], 0))
        spans[event["pid"]] = (min(low, event["ts"]), max(high, event["ts"] + event["dur"]))
    ordered = [spans[pid] for pid in sorted(spans)]
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ordered))


# --- junit.xml ----------------------------------------------------------------------------------------------------

# The common schema: which attributes an element must have and may have, and which children, in this order.
SCHEMA = {
    "testsuites": ({"name", "tests", "failures", "errors", "skipped", "time"}, set(), ["testsuite"]),
    "testsuite": ({"name", "tests", "failures", "errors", "skipped", "time"}, set(), ["testcase"]),
    "testcase": (
        {"name", "classname", "time"},
        set(),
        ["skipped", "error", "failure", "system-out", "system-err"],
    ),
    "skipped": ({"message"}, {"type"}, []),
    "error": ({"message", "type"}, set(), []),
    "failure": ({"message", "type"}, set(), []),
    "system-out": (set(), set(), []),
}


def check_junit(element):
    must, may, children = SCHEMA[element.tag]
    assert must <= set(element.attrib) <= must | may, element.attrib
    places = [children.index(child.tag) for child in element]
    assert places == sorted(places), [child.tag for child in element]
    if element.tag == "testcase":
        assert max(Counter(places).values(), default=1) == 1
        assert sum(child.tag in ("skipped", "error", "failure") for child in element) <= 1
    if "tests" in element.attrib:
        cases = list(element.iter("testcase"))
        assert int(element.get("tests")) == len(cases)
        for counted, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(element.get(counted)) == sum(case.find(tag) is not None for case in cases), counted
        assert float(element.get("time")) == pytest.approx(sum(float(case.get("time")) for case in cases), abs=0.01)
    for child in element:
        check_junit(child)


def test_junit_is_of_the_common_schema(report, results):
    root = ET.fromstring((report / "junit.xml").read_bytes())
    check_junit(root)
    assert [suite.get("name") for suite in root] == ["a", "b"]
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert cases["a: wedged"].find("failure").get("message") == (
        f"{results[1].verdict.summary()}: {results[1].verdict.findings[0].sentence}"
    )
    assert results[1].verdict.explain() == cases["a: wedged"].find("failure").text
    unknown = cases["b: <never> & \ufffd struck"]
    assert "it never struck" in unknown.find("error").get("message")
    last = list(root.iter("testcase"))[-2:]
    assert last[0].find("skipped").get("message") == "the gate sees nothing of it"
    assert last[1].find("error").get("type") == "harness"
    assert "monkeywrench run s --seed 1" in cases["a: wedged"].find("system-out").text


@pytest.mark.parametrize(
    ("what", "instead"),
    [
        ('failures="1"', 'failures="7"'),
        ("<system-out>", "<system-out/><system-out>"),
        ("classname=", "klass="),
        ("</testcase>", "<skipped message=''/></testcase>"),
    ],
)
def test_junit_check_sees_what_is_wrong(report, what, instead):
    text = (report / "junit.xml").read_text()
    assert what in text
    with pytest.raises(AssertionError):
        check_junit(ET.fromstring(text.replace(what, instead, 1).encode()))


def test_junit_alone_replaces_what_was_there(tmp_path, results, report):
    path = tmp_path / "any.xml"
    path.write_text("old")
    write_junit(path, results)
    assert path.read_bytes() == (report / "junit.xml").read_bytes()
    with pytest.raises(ReportError, match=r"no/such\.xml cannot be written: No such file or directory"):
        write_junit(tmp_path / "no" / "such.xml", results)
    assert tree(tmp_path).keys() == {"any.xml"}


def test_junit_of_nothing_is_a_document(tmp_path):
    write_junit(tmp_path / "j.xml", [])
    check_junit(ET.fromstring((tmp_path / "j.xml").read_bytes()))


# --- report.html, as text -----------------------------------------------------------------------------------------


def test_page_asks_for_nothing_and_says_every_finding(report, results):
    text = (report / "report.html").read_text()
    assert not re.search(r"""(src|href|url)\s*[=(]\s*["']?(https?:)?//""", text.partition("<script>")[0])
    said = unescape(text)
    for result in results[:3]:
        for finding in result.verdict.findings:
            assert finding.sentence in said
            assert all(line in said for line in finding.details)
        for doubt in result.verdict.doubts:
            assert doubt in said
    assert "b: &lt;never&gt; &amp;" in text
    assert text.count("<article ") == text.count("</article>") == 5


def test_message_cannot_end_the_script_that_it_is_in(tmp_path):
    plan = Plan(queue="pipes.SimplePipeQueue", seed=1, messages=1, name="</script><script>alert(1)</script>")
    evil = {"unknown": "</script><script>alert(2)</script>"}
    events = [
        Event(0, 0, "consumer-0", "invoke", "dequeue"),
        Event(1, 5, "consumer-0", "ok", "dequeue", evil),
        Event(2, 9, "consumer-0", "info", "leak", {"kind": "file", "what": "</script>"}),
    ]
    verdict = judge(History(plan, Guarantees(), events))
    assert verdict.findings
    write_report(tmp_path / "r", [result_of(plan, verdict)])
    text = (tmp_path / "r" / "report.html").read_text()
    assert len(re.findall(r"<script[ >]", text)) == len(re.findall("</script>", text)) == 7
    check_trace(json.loads((tmp_path / "r" / "trace.json").read_text()))


def test_report_of_nothing_is_a_report(tmp_path):
    write_report(tmp_path / "r", [])
    assert "0 trials: none" in (tmp_path / "r" / "report.html").read_text()
    assert check_trace(json.loads((tmp_path / "r" / "trace.json").read_text()))["X"] == []


def test_trial_whose_events_were_let_go_says_where_they_are(tmp_path, results):
    verdict = results[0].verdict
    bare = History(verdict.history.plan, verdict.history.guarantees, [])
    result = dataclasses.replace(results[0], verdict=dataclasses.replace(verdict, history=bare))
    write_report(tmp_path / "r", [result], keep_trials=False)
    text = (tmp_path / "r" / "report.html").read_text()
    assert "event by event, is in history.jsonl; it is not drawn here" in text
    assert 'class="charts"' not in text
    assert check_trace(json.loads((tmp_path / "r" / "trace.json").read_text()))["X"] == []


# --- whole, or not there ------------------------------------------------------------------------------------------


def test_earlier_report_is_replaced_and_others_stay(tmp_path, results):
    (tmp_path / "notes.txt").write_text("mine")
    write_report(tmp_path, results[:1])
    first = tree(tmp_path)
    assert "a-valid/history.jsonl" in first
    write_report(tmp_path, results[1:2])
    second = tree(tmp_path)
    assert second["notes.txt"] == b"mine"
    assert second["report.html"] != first["report.html"]
    assert b"a: valid" not in second["report.html"]
    assert not (tmp_path / "a-valid").exists()


def test_trials_of_an_earlier_report_are_removed_and_nothing_else(tmp_path, results):
    write_report(tmp_path, [results[0], results[2]])
    mine, struck = directory_names([results[0], results[2]])
    for name in ("unlisted", mine):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "notes.txt").write_text("mine")
    (tmp_path / struck / "plan.json").write_text("mine")
    write_report(tmp_path, results[1:2])
    left = tree(tmp_path).keys() - {"report.html", "trace.json", "junit.xml"}
    wedged = {f"{directory_names(results[1:2])[0]}/{file}" for file in ("plan.json", "history.jsonl")}
    assert left - wedged == {
        "unlisted/notes.txt",
        f"{mine}/notes.txt",
        f"{struck}/plan.json",
        f"{struck}/history.jsonl",
    }


@pytest.mark.parametrize("listed", ["..", "../victim", "/tmp/victim", "", 3, "link"])
def test_report_that_lists_what_is_not_below_it_removes_nothing(tmp_path, results, listed):
    directory, victim = tmp_path / "r", tmp_path / "victim"
    write_report(victim, results[:1])
    write_report(directory, results[:1], keep_trials=False)
    (directory / "link").symlink_to(victim / "a-valid")
    trace = directory / "trace.json"
    trace.write_text(trace.read_text().replace('"trials": ["a-valid"]', f'"trials": {json.dumps([listed])}', 1))
    before = tree(victim)
    write_report(directory, results[1:2], keep_trials=False)
    assert tree(victim) == before
    assert (directory / "link").is_symlink()


@pytest.mark.parametrize(
    "name", ["report.html", "trace.json", "junit.xml", "a-valid/plan.json", "a-valid/history.jsonl"]
)
def test_file_of_somebody_else_is_refused_and_left(tmp_path, results, name):
    (tmp_path / "a-valid").mkdir()
    (tmp_path / name).write_text("mine")
    with pytest.raises(ReportError, match=r"is there already, and is no .* of an earlier report: it was left as it is"):
        write_report(tmp_path, results[:1])
    left = tree(tmp_path)
    assert left[name] == b"mine"
    assert not {"report.html", "trace.json", "junit.xml"} & left.keys() - {name}
    if "/" not in name:
        with pytest.raises(ReportError):
            prepare(tmp_path)


def test_directory_that_cannot_be_is_refused_before_anything_runs(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ReportError, match=r"file/r cannot be written: Not a directory"):
        prepare(tmp_path / "file" / "r")
    with pytest.raises(ReportError, match=r"/proc/no cannot be written: No such file or directory"):
        prepare(Path("/proc/no"))


def test_prepare_leaves_an_empty_directory(tmp_path):
    prepare(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
    assert issubclass(ReportError, click.ClickException)  # so that the command line says it, and ends with its status
    assert ReportError.exit_code == 4


def test_disk_that_refuses_leaves_nothing_half_written(tmp_path, results, request):
    write_report(tmp_path, results[2:3], keep_trials=False)
    before = tree(tmp_path)
    request.getfixturevalue("small_files")
    with pytest.raises(ReportError, match=r"(report\.html|trace\.json) cannot be written: File too large"):
        write_report(tmp_path, results, keep_trials=False)
    assert tree(tmp_path) == before


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own that has room for 64 KiB; only root can have one."""
    mount = tmp_path / "mount"
    mount.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", mount], capture_output=True, text=True, timeout=60
    )
    if done.returncode != 0:
        pytest.skip(f"no file system of one's own here: {done.stderr.strip()}")
    yield mount
    subprocess.run(["umount", mount], check=True, timeout=60)


def test_full_disk_leaves_nothing_half_written(small_disk, results):
    with pytest.raises(ReportError, match="cannot be written: No space left on device"):
        write_report(small_disk / "r", results)
    assert {path.name for path in (small_disk / "r").rglob("*") if path.is_file()} <= {"plan.json", "history.jsonl"}


def test_run_whose_report_finds_the_disk_full_tells_its_verdicts(wrench, small_disk):
    done = wrench("run", "short-transfer", "--seed", 1, "--messages", 200, "--report", small_disk / "r")
    assert done.returncode == 4, done
    assert "cannot be written: No space left on device" in done.stderr
    assert re.search(r"^1 trial: 1 valid|^[23] trials: [23] valid", done.stdout, re.MULTILINE), done.stdout
    for kept in (small_disk / "r").rglob("history.jsonl"):
        assert History.load(kept).events
    assert not list((small_disk / "r").rglob("*.part"))


def test_killed_writer_leaves_the_earlier_report_whole(tmp_path, results):
    write_report(tmp_path, results[:1])
    before = tree(tmp_path)
    code = (
        "import dataclasses, os, signal, sys\nfrom pathlib import Path\n"
        "from monkeywrench.harness import History, judge\n"
        "from monkeywrench.scenarios._result import Result\n"
        "from monkeywrench.scenarios import report\n"
        "class Fatal:\n"
        "    def __init__(self, history):\n        self.history = history\n"
        "    def __getattr__(self, name):\n        return getattr(self.history, name)\n"
        "    @property\n    def events(self):\n"
        "        for event in self.history.events:\n            yield event\n"
        "            if event.index == 50:\n                os.kill(os.getpid(), signal.SIGKILL)\n"
        "history = History.load(Path(sys.argv[1]) / 'a-valid' / 'history.jsonl')\n"
        "verdict = dataclasses.replace(judge(history), history=Fatal(history))\n"
        "result = Result('s', history.plan, verdict, None, 1.0, 'x')\n"
        "report.write_report(Path(sys.argv[1]), [result], keep_trials=False)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], timeout=60, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    after = tree(tmp_path)
    assert {name: after[name] for name in before} == before
    write_report(tmp_path, results[:1])  # and what it left is in nobody's way
    assert os.path.getsize(tmp_path / "report.html") > 0


def test_what_is_no_text_is_written_all_the_same(tmp_path):
    """As a queue's error may say it: of a file name that no encoding knows."""
    with _files.whole(tmp_path / "report.html", own=False) as file:
        file.write("caf\udce9")
    assert (tmp_path / "report.html").read_text() == r"caf\udce9"
