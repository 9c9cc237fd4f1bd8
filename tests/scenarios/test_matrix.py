"""Who survives what: the table, its marks, and what is behind each cell."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from monkeywrench.harness import Finding, History, Plan, Verdict, blocked, elapsed, messages, read, write
from monkeywrench.harness.adapters import ADAPTERS
from monkeywrench.harness.faults import Delay, Kill, Pause
from monkeywrench.harness.guarantees import Guarantees
from monkeywrench.scenarios._builtin import SCENARIOS
from monkeywrench.scenarios._cells import Cell, timing_of
from monkeywrench.scenarios._queues import short_names
from monkeywrench.scenarios._result import Result
from monkeywrench.scenarios._table import markdown_of, show
from rich.console import Console

pytestmark = pytest.mark.once

DEFAULT, STANDARD = "pipes.SimplePipeQueue", "multiprocessing.Queue"
CRASHES = """
from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter
class Crashes(SimplePipeQueueAdapter):
    def make(self, directory):
        raise OSError("not today")
"""
WAITS = """
import pathlib, time
from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter
HERE = pathlib.Path(__file__).with_name("waits")
class Waits(SimplePipeQueueAdapter):
    def get(self, end):
        HERE.touch()
        time.sleep(60)
"""


@pytest.mark.parametrize(
    ("faults", "peers", "marked"),
    [
        ((), {}, False),
        ((Kill("producer-0", write(3)),), {}, False),
        ((Kill("consumer-0", read(3)),), {}, False),
        ((Kill("producer-0", elapsed(0.1)),), {}, True),
        ((Kill("consumer-0", blocked()),), {}, True),
        ((Pause("producer-0", messages(3)),), {}, True),
        ((Delay("consumer-0", messages(3)),), {}, True),
        ((Kill("producer-0", write(3)),), {"producers": 2}, True),
        ((Kill("producer-0", write(3)),), {"consumers": 2}, True),
    ],
)
def test_rule_marks_what_rests_on_timing(faults, peers, marked):
    plan = Plan(queue=DEFAULT, seed=1, faults=faults, **peers)
    assert (timing_of([plan], Guarantees()) is not None) == marked


def test_rule_marks_producers_of_a_queue_with_threads_of_its_own():
    plan = Plan(queue=STANDARD, seed=1, faults=(Kill("producer-0", messages(3)),))
    assert "a thread of the queue's own" in timing_of([plan], Guarantees(killed_producer_may_cost=None))
    assert timing_of([plan], Guarantees()) is None


def test_rule_marks_a_queue_to_which_it_matters_who_is_faster():
    plan = Plan(queue=STANDARD, seed=1)
    assert "when its consumer is faster" in timing_of([plan], Guarantees(any_pace=False))


def matrix(wrench, *args):
    names = ("killed-consumer", "short-transfer", "stale-fifo")
    queues = ("--queue", DEFAULT, "--queue", STANDARD)
    return wrench("matrix", *names, *queues, "--seed", 1, "--patience", 1, *args, COLUMNS="120")


def test_table_says_who_survives_and_how_to_see_it_again(wrench):
    done = matrix(wrench)
    assert done.returncode == 1, done.stderr
    for row in (
        r" +pipes\. +multiprocessing\.",
        r"scenario +SimplePipeQueue +Queue",
        r"killed-consumer +survived ~ +stuck ~",
        r"short-transfer +survived +survived ~",
        r"stale-fifo +survived +n/a",
    ):
        assert re.search(rf"^{row}\s*$", done.stdout, re.MULTILINE), done.stdout
    assert "multiprocessing.Queue has no FIFO that a stranger could open" in done.stdout
    replay = shlex.split(re.search(r"^  monkeywrench (run killed-consumer .*)$", done.stdout, re.MULTILINE)[1])
    again = wrench(*replay)
    assert again.returncode == 1
    assert "stuck" in again.stdout


def test_json_and_markdown_and_report_have_every_cell_and_its_evidence(wrench, tmp_path):
    done = matrix(wrench, "--json", "--report", "report")
    document = json.loads(done.stdout)
    cells = {(cell["scenario"], cell["queue"]): cell for cell in document["cells"]}
    assert len(cells) == 6
    assert cells["stale-fifo", STANDARD]["text"] == "n/a"
    assert cells["short-transfer", DEFAULT]["rests_on_timing"] is None
    assert cells["killed-consumer", STANDARD]["text"] == "stuck ~"
    wedged = cells["killed-consumer", STANDARD]["trials"][0]
    assert wedged["findings"][0]["kind"] == "stuck"
    text = (tmp_path / "report" / "matrix.md").read_text()
    assert "| killed-consumer | survived \\~ | stuck \\~ |" in text
    page = (tmp_path / "report" / "matrix.html").read_text()
    assert page.count("<td") == 6
    assert "monkeywrench run killed-consumer --queue multiprocessing.Queue" in page
    links = re.findall('<th><a href="(.*?)">(.*?)</a></th>', page)
    assert [name for _, name in links] == [DEFAULT, STANDARD]
    assert all((tmp_path / "report" / link).read_text().startswith("<!doctype html>") for link, _ in links)
    kept = tmp_path / "report" / STANDARD / "killed-consumer-the-only-one-before-a-read" / "plan.json"
    assert Plan.loads(kept.read_text()).queue == STANDARD


def test_markdown_goes_to_standard_output_alone(wrench):
    done = wrench("matrix", "short-transfer", "--queue", DEFAULT, "--markdown")
    assert done.returncode == 0
    assert done.stdout.startswith(
        "| scenario | pipes.<br>SimplePipeQueue |\n|---|---|\n| short-transfer | survived |\n"
    )


def test_adapter_that_fails_is_a_cell_and_no_end_of_the_matrix(wrench, tmp_path):
    (tmp_path / "crashes.py").write_text(CRASHES)
    done = wrench("matrix", "short-transfer", "--queue", "crashes.py:Crashes", "--queue", DEFAULT, COLUMNS="120")
    assert done.returncode == 4
    assert re.search(r"^short-transfer +harness failed +survived\s*$", done.stdout, re.MULTILINE), done.stdout
    assert "not today" in done.stdout


def missing_cells(queues):
    return [
        Cell(scenario=scenario, queue=queue, missing="it is not installed")
        for queue in queues
        for scenario in ("killed-producer", "short-transfer")
    ]


@pytest.mark.parametrize(("width", "tables"), [(300, 1), (120, 2), (80, 3)])
def test_table_that_is_too_wide_becomes_several(capsys, width, tables):
    show(Console(width=width, file=sys.stdout), missing_cells(ADAPTERS), list(ADAPTERS))
    lines = capsys.readouterr().out.split("\n~ rests")[0].splitlines()
    headings = [line.split() for line in lines if line.startswith("scenario ")]
    assert len(headings) == tables, lines
    assert [name for each in headings for name in each[1:]] == [name.split(".")[-1] for name in ADAPTERS]
    assert max(map(len, lines)) <= width


def test_table_in_a_narrow_terminal_becomes_a_block_a_queue(capsys):
    queues = [DEFAULT, STANDARD, "mine.py:Queue"]
    show(Console(width=40, file=sys.stdout), missing_cells(queues), queues)
    told = "\n".join(line.rstrip() for line in capsys.readouterr().out.splitlines())
    assert told.startswith(f"{DEFAULT}\n  killed-producer  n/a\n  short-transfer   n/a\n{STANDARD}\n"), told


def test_readme_has_a_row_for_every_scenario_and_a_column_for_every_queue():
    scenarios = [name for name, scenario in SCENARIOS.items() if not scenario.long_lived]
    cells = [Cell(scenario=scenario, queue=queue, missing="?") for queue in ADAPTERS for scenario in scenarios]
    today = markdown_of(cells, list(ADAPTERS), 1).split("\n\n", 2)[:2]
    text = (Path(__file__).parents[2] / "README.md").read_text()
    for table in today:
        heading, *rows = table.splitlines()
        assert f"\n{heading}\n" in text, f"not in the README, which has an older table: {heading}"
        there = text[text.index(heading) :].split("\n\n")[0].splitlines()
        assert [row.split(" | ")[0] for row in there[1:]] == [row.split(" | ")[0] for row in rows]


@pytest.mark.parametrize("name", ["matrix.md", "matrix.json", "matrix.html", f"{DEFAULT}/report.html"])
def test_file_of_somebody_else_is_refused_before_anything_runs_and_left(wrench, tmp_path, name):
    path = tmp_path / "report" / name
    path.parent.mkdir(parents=True)
    path.write_text("somebody's own\n")
    done = wrench("matrix", "short-transfer", "--queue", DEFAULT, "--report", "report")
    assert done.returncode == 2
    assert f"{path.name} is there already, and is no {path.name} of an earlier report" in done.stderr, done.stderr
    assert path.read_text() == "somebody's own\n"
    assert [each for each in path.parent.iterdir() if each != path] == []


def test_report_takes_the_place_of_an_earlier_one(wrench, tmp_path):
    for scenario, other in (("short-transfer", "removed-fifo"), ("removed-fifo", "short-transfer")):
        done = wrench("matrix", scenario, "--queue", DEFAULT, "--report", "report")
        assert done.returncode == 0, done.stderr
        (table,) = re.findall(r"^\| (\S+) \| survived \|$", (tmp_path / "report/matrix.md").read_text(), re.MULTILINE)
        assert table == scenario
        assert list((tmp_path / "report" / DEFAULT).glob(f"{scenario}-*"))
        assert not list((tmp_path / "report" / DEFAULT).glob(f"{other}-*"))


def test_queues_of_one_name_have_two():
    assert short_names([STANDARD, "/a/b.py:Queue"]) == {STANDARD: STANDARD, "/a/b.py:Queue": "Queue"}
    queues = ["/a/b.py:Queue", "/a/c.py:Queue", "d.e:Queue", "/f/c.py:Queue"]
    assert list(short_names(queues).values()) == ["b.py:Queue", "/a/c.py:Queue", "d.e:Queue", "/f/c.py:Queue"]


def test_queues_of_one_name_have_a_report_each(wrench, tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.py").write_text(CRASHES.replace('raise OSError("not today")', "super().make(directory)"))
    queues = ("--queue", "one.py:Crashes", "--queue", "two.py:Crashes")
    done = wrench("matrix", "killed-politely", *queues, "--report", "report", "--markdown")
    assert done.stdout.startswith("| scenario | one.py:Crashes | two.py:Crashes |\n")
    pages = sorted(path.parent.name for path in (tmp_path / "report").glob("*/report.html"))
    assert pages == ["one.py-Crashes", "two.py-Crashes"]


@pytest.mark.parametrize(
    ("form", "signal_number", "status"), [("--json", signal.SIGINT, 130), ("--markdown", signal.SIGTERM, 143)]
)
def test_stopped_matrix_says_what_was_not_run_and_leaves_nothing(tmp_path, form, signal_number, status):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    (tmp_path / "mine.py").write_text(WAITS)
    args = [sys.executable, "-m", "monkeywrench.scenarios", "matrix", "short-transfer", "removed-fifo"]
    args += ["--queue", "mine.py:Waits", "--jobs", "1", "--patience", "60", form]
    env = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(args, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=env) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "waits").exists():
            assert time.monotonic() < deadline, "waited in vain for the first trial"
            time.sleep(0.01)
        assert list(temporary.iterdir())
        process.send_signal(signal_number)
        told = process.stdout.read()
        assert process.wait(60) == status
    assert list(temporary.iterdir()) == []
    if form == "--json":
        assert [(cell["status"], cell["text"]) for cell in json.loads(told)["cells"]] == [("not run", "not run")] * 2
    else:
        assert "| short-transfer | not run |\n| removed-fifo | not run |" in told
        assert "```" not in told  # nothing is behind such a cell


def test_cell_that_was_not_run_whole_has_not_survived():
    plan = Plan(queue=DEFAULT, seed=1, name="a trial")

    def cell(status, not_run, findings=()):
        verdict = Verdict(status, findings, (), {}, (), History(plan, Guarantees(), ()))
        result = Result("a scenario", plan, verdict, None, 0.1, "a command")
        return Cell(scenario="a scenario", queue=DEFAULT, results=(result,), not_run=not_run)

    assert cell("valid", 0).text == "survived"
    assert (cell("valid", 2).status, cell("valid", 2).text) == ("not run", "not run: 2 of 3")
    assert cell("invalid", 2, (Finding("lost", "it is gone"),)).text == "lost"


def test_soak_is_left_out_and_alone_is_nothing_to_compare(wrench):
    done = wrench("matrix", "soak", "--queue", DEFAULT)
    assert done.returncode == 2
    assert "nothing to compare" in done.stderr
