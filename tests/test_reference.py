"""The reference page is made from the code, and says what the code says."""

import importlib.util
from pathlib import Path

from monkeywrench.harness.faults import FAULTS
from monkeywrench.harness.triggers import TRIGGERS
from monkeywrench.scenarios import SCENARIOS

MAKER = Path(__file__).parent.parent / "docs" / "make_reference.py"


def maker():
    spec = importlib.util.spec_from_file_location("make_reference", MAKER)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reference_is_current():
    made = maker()
    assert made.PAGE.read_text() == made.reference(), "run: python docs/make_reference.py"


def test_reference_names_all_that_there_is():
    text = maker().reference()
    for name in (*FAULTS, *TRIGGERS, *SCENARIOS, "monkeywrench queue put", "SimplePipeQueue", "--seed"):
        assert f"`{name}" in text, name


def test_reference_that_is_old_is_seen(monkeypatch):
    made = maker()
    scenario = next(iter(SCENARIOS.values()))
    monkeypatch.setitem(SCENARIOS, "new", scenario)
    assert made.PAGE.read_text() != made.reference()
