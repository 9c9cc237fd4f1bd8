"""Scenarios: what they draw, what they refuse, and where they come from."""

import itertools
import random
import re
import sys
import textwrap

import pytest
from monkeywrench.harness import PlanError
from monkeywrench.harness.faults import Delay, Kill
from monkeywrench.harness.triggers import messages
from monkeywrench.scenarios import SCENARIOS, Case, Range, Scenario
from monkeywrench.scenarios._catalogue import all_scenarios, choose

QUEUE = "pipes.SimplePipeQueue"
PYTHON = """
from monkeywrench.harness.faults import Kill
from monkeywrench.harness.triggers import messages
from monkeywrench.scenarios import Case, Range, Scenario, SCENARIOS

def cases(draw, sizes):
    yield Case("early", {"faults": (Kill("producer-0", messages(draw.randint(2, sizes.messages - 1))),)})

MINE = Scenario(name="mine", sentence="A producer dies.", cases=cases, expects="Nothing.", messages=Range(20, 5, 50))
OTHER = Scenario(name="other", sentence="Nobody dies.", cases=lambda _draw, _sizes: [Case("calm", {})], expects="All.")
BUILTIN = SCENARIOS["torn-write"]
"""
TOML = """
sentence = "A slow consumer, and a producer whose place another takes."
producers = {default = 2, least = 2, most = 5}
messages = 20

[[case]]
name = "both"
large_every = 0
[[case.fault]]
fault = "kill"
peer = "producer-0"
at = "write(draw(2, messages), byte=3)"
replace = true
[[case.fault]]
fault = "delay"
peer = "consumer-0"
at = "every(1, 'read')"
seconds = 0.001

[[case]]
name = "nobody"
"""


def plans(scenario, seed=1, **overrides):
    return list(itertools.islice(scenario.plans(QUEUE, seed, overrides), 12))


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda scenario: scenario.name)
def test_same_seed_draws_the_same_plans_and_another_seed_others(scenario):
    assert plans(scenario) == plans(scenario)
    assert plans(scenario) != plans(scenario, seed=2)


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda scenario: scenario.name)
@pytest.mark.parametrize("seed", range(5))
def test_plans_are_possible_at_both_ends_of_every_range(scenario, seed):
    for name, parameter in scenario.parameters.items():
        for value in (parameter.least, min(parameter.most, 100)):
            for plan in plans(scenario, seed, **{name: value}):
                assert plan.name.startswith(f"{scenario.name}: ")


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=lambda scenario: scenario.name)
def test_scenario_says_what_it_is(scenario):
    assert scenario.sentence.endswith(".")
    assert scenario.expects.endswith(".")
    assert scenario.budget(scenario.sizes()) >= 1


def test_choices_come_from_the_generator_alone():
    for scenario in SCENARIOS.values():
        state = random.getstate()
        plans(scenario)
        assert random.getstate() == state


def test_out_of_range_is_refused_with_the_range():
    with pytest.raises(PlanError, match="producers=1: torn-write takes 2 to 1000"):
        SCENARIOS["torn-write"].sizes({"producers": 1})
    with pytest.raises(PlanError, match="consumers=2: killed-politely takes 1 alone"):
        SCENARIOS["killed-politely"].sizes({"consumers": 2})


@pytest.mark.parametrize(
    ("cases", "message"),
    [
        (lambda _draw, _sizes: [Case("x", {"faults": (Kill("nobody", messages(1)),)})], "mine: x: no peer 'nobody'"),
        (lambda _draw, _sizes: [Case("x", {"nonsense": 1})], "nonsense"),
        (lambda _draw, _sizes: [], "has no cases"),
        (lambda _draw, _sizes: 1 / 0, "scenario 'mine' failed: ZeroDivisionError: .*test_catalogue.py:[0-9]+ in"),
        (lambda _draw, _sizes: [3], r"scenario 'mine': its cases yield 3: Case\(name, "),
        (lambda _draw, _sizes: [Case("x", 3)], r"yield Case\(name='x', fields=3\): Case\(name, "),
        (lambda _draw, _sizes: None, "scenario 'mine': its cases return None: they are to yield"),
        (lambda _draw, _sizes: [Kill("producer-0", messages(0))], "scenario 'mine': n=0: a whole number from 1"),
    ],
)
def test_scenario_that_is_wrong_says_where(cases, message):
    scenario = Scenario(name="mine", sentence="s.", expects="e.", cases=cases)
    with pytest.raises(PlanError, match=message):
        plans(scenario)


def test_what_a_scenario_is_made_of_is_checked_when_it_is_made():
    settings = {"name": "mine", "sentence": "s.", "expects": "e.", "cases": lambda _draw, _sizes: []}
    with pytest.raises(PlanError, match=r"scenario 'mine': producers=3: a Range is expected"):
        Scenario(**settings | {"producers": 3})
    with pytest.raises(PlanError, match=r"scenario 'mine': cases=\[\]: a function is expected"):
        Scenario(**settings | {"cases": []})


WRONG = """
from monkeywrench.scenarios import Case, Scenario

def three(draw, sizes):
    yield 3

def nothing(draw, sizes):
    yield from ()

def late(draw, sizes):
    yield Case("calm", {})
    if draw.random() != 0.8444218515250481:  # not in the dry run
        raise KeyError("late")

THREE, NOTHING, LATE = (
    Scenario(name=cases.__name__, sentence="s.", cases=cases, expects="e.") for cases in (three, nothing, late)
)
"""


@pytest.mark.parametrize("name", ["THREE", "NOTHING", "LATE"])
def test_scenario_that_is_wrong_is_wrong_usage(wrench, tmp_path, name):
    write(tmp_path / "wrong.py", WRONG)
    args = ("--duration", "5s", "-j", 1) if name == "LATE" else ()
    done = wrench("run", f"wrong.py:{name}", *args)
    assert done.returncode == 2, done.stderr
    assert f"scenario {name.lower()!r}" in done.stderr
    assert "Traceback" not in done.stderr


def test_name_and_range_are_checked():
    with pytest.raises(PlanError, match="a word is allowed"):
        Scenario(name="two words", sentence="s.", expects="e.", cases=lambda _draw, _sizes: [])
    with pytest.raises(PlanError, match="default=1: a number from 2 to 5 is allowed"):
        Range(1, 2, 5)


def write(path, text):
    path.write_text(text)
    return str(path)


def test_python_file_has_its_own_scenarios_and_no_imported_ones(tmp_path):
    path = write(tmp_path / "mine.py", PYTHON)
    assert [each.scenario.name for each in choose([path], [])] == ["mine", "other"]
    for name in ("MINE", "mine"):
        (found,) = choose([f"{path}:{name}"], [])
        assert found.reference == f"{path}:mine"
    assert choose([found.reference], [])[0].scenario is found.scenario
    with pytest.raises(PlanError, match="no scenario is called 'THEIRS' there; there are: mine, other"):
        choose([f"{path}:THEIRS"], [])


@pytest.mark.parametrize(
    ("text", "message"),
    [("x = 1\n", "there is no monkeywrench.scenarios.Scenario"), ("1 / 0\n", "cannot be loaded: ZeroDivisionError")],
)
def test_python_file_without_scenarios_is_refused(tmp_path, text, message):
    path = write(tmp_path / f"file{len(text)}.py", text)
    with pytest.raises(PlanError, match=message):
        choose([path], [])


def test_two_scenarios_of_one_name_are_refused(tmp_path):
    path = write(tmp_path / "again.toml", TOML.replace("sentence", 'name = "torn-write"\nsentence', 1))
    with pytest.raises(PlanError, match="two scenarios are called 'torn-write'"):
        choose(["torn-write", path], all_scenarios()[0])


def test_toml_becomes_the_same_plans_as_python(tmp_path):
    (found,) = choose([write(tmp_path / "recipe.toml", TOML)], [])
    scenario = found.scenario
    assert (scenario.name, found.reference) == ("recipe", str(tmp_path / "recipe.toml"))
    assert scenario.budget(scenario.sizes()) == 2
    both, nobody = plans(scenario)[:2]
    kill, delay = both.faults
    assert isinstance(kill, Kill)
    assert 2 <= kill.at.n <= 20
    assert (kill.at.kind, kill.at.byte, kill.replace) == ("write", 3, True)
    assert delay == Delay("consumer-0", delay.at, 0.001)
    assert (both.large_every, both.producers, both.messages) == (0, 2, 20)
    assert nobody.faults == ()
    assert len({plan.faults[0].at.n for plan in plans(scenario)[::2]}) > 1
    assert max(plan.faults[0].at.n for plan in plans(scenario, messages=1000)[::2]) > 20


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "sentence =",
            "sentense =",
            r"unknown in a scenario: sentense \(did you mean 'sentence'\?\); it takes name, sentence",
        ),
        ("large_every = 0", "large = 0", "unknown in case 1: large"),
        (
            "replace = true",
            "replaced = true",
            r"unknown in fault 'kill': replaced \(did you mean 'replace'\?\); it takes peer, at, signal, replace",
        ),
        (
            'fault = "kill"',
            'fault = "kil"',
            "case '.*': fault='kil': did you mean 'kill'\\? one of kill, pause, .*, shrink is allowed",
        ),
        ('fault = "kill"', "", "fault=None: one of kill"),
        ('at = "write(draw(2, messages), byte=3)"', "", "fault 'kill' without at, when it strikes; it takes peer, at"),
        ("messages = 20", "messages = 0", "messages=0: a whole number from 1, or"),
        (
            "write(draw(2, messages), byte=3)",
            "wirte(1)",
            r"case 'both': at='wirte\(1\)': did you mean 'write'\? one of",
        ),
        ("write(draw(2, messages), byte=3)", "write(", r"at='write\(': cannot be read: .*, character 6\."),
        ("write(draw(2, messages), byte=3)", "write(draw(5, 2))", r"the smaller one first"),
        ("write(draw(2, messages), byte=3)", "write(open('x'))", r"a constant, draw\(least, most\)"),
        ("write(draw(2, messages), byte=3)", "write(1, bite=3)", "bite"),
        ("write(draw(2, messages), byte=3)", "write(0)", "n=0: a whole number from 1"),
        ("messages = 20", "messages = '20'", "messages='20': a whole number from 1, or"),
        ("messages = 20", "trials = '1'", "trials='1'"),
        ('name = "nobody"', "", "name=None: case 2 needs a name"),
        ("sentence", "[sentence", "not TOML"),
    ],
)
def test_toml_that_is_wrong_says_where(tmp_path, old, new, message):
    assert old in TOML
    path = write(tmp_path / "recipe.toml", TOML.replace(old, new, 1))
    with pytest.raises(PlanError, match=message) as caught:
        choose([path], [])
    assert str(caught.value).startswith(path)


def test_entry_points_are_found_and_broken_ones_are_told(tmp_path, monkeypatch):
    write(tmp_path / "brought.py", PYTHON + "BOTH = [MINE, OTHER]\nTORN = BUILTIN\n")
    info = tmp_path / "brought-1.dist-info"
    info.mkdir()
    write(info / "METADATA", "Metadata-Version: 2.1\nName: brought\nVersion: 1\n")
    write(
        info / "entry_points.txt",
        textwrap.dedent(
            """
            [monkeywrench.scenarios]
            both = brought:BOTH
            gone = brought:GONE
            torn = brought:TORN
            """
        ),
    )
    monkeypatch.syspath_prepend(tmp_path)
    try:
        found, problems = all_scenarios()
    finally:
        sys.modules.pop("brought", None)
    assert [each.reference for each in found] == [*SCENARIOS, "mine", "other"]
    assert len(problems) == 2
    assert re.match(r"left out: scenario 'gone' \(brought:GONE\): AttributeError", problems[0])
    assert "there is another scenario 'torn-write'" in problems[1]


def test_own_scenarios_are_listed_run_and_replayed_like_the_builtin_ones(wrench, tmp_path):
    write(tmp_path / "mine.py", PYTHON)
    write(tmp_path / "recipe.toml", TOML)
    listed = wrench("list", "mine.py", "recipe.toml").stdout
    assert "A producer dies." in listed
    assert "2 (2 to 5)" in listed
    done = wrench("run", "mine.py:MINE", "recipe.toml", "--seed", 1, "--report", "report", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3 trials: 3 valid" in done.stderr
    assert wrench("replay", "report/recipe-both/plan.json").returncode == 0
    assert wrench("run", "mine.py", "--messages", 51).returncode == 2
