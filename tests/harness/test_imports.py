"""What the ancestor imports once for all trials: what they need, and nothing that only stands beside it."""

import importlib
import json.decoder
import os
import sys
from pathlib import Path

import pytest
from monkeywrench.harness import _client, _travel, spawn
from monkeywrench.harness._imports import imports, modules_of
from monkeywrench.harness.adapters import importable, load
from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter
from monkeywrench.harness.machine import QueueMachine

from ..attacks.killed_runs import alive

PIPES = "monkeywrench.harness.adapters.pipes"


@pytest.fixture(autouse=True)
def not_found(monkeypatch):
    """A fresh interpreter does not find this module, as ``python -m pytest`` would have it do."""
    root = str(Path(__file__).parents[2])
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", root)])


class Mine(SimplePipeQueueAdapter):
    def get(self, end):
        return super().get(end)


class Asserts(Mine):
    def get(self, end):
        assert end
        return super().get(end)


def with_pytest():
    return pytest.raises


def with_a_path():
    return "/tmp/pytest-of-somebody/monkeywrench"


def is_imported(*parts):
    # In parts: a text that is sent, and a module's name, is taken for what needs that module.
    return "".join(parts) in sys.modules


def is_alive(pid):
    return alive(pid)


def test_named_queue_needs_its_own_modules():
    assert PIPES in imports(modules_of(load("pipes.SimplePipeQueue")))
    assert not any("pytest" in name for name in imports(modules_of(load("pipes.SimplePipeQueue"))))


def test_sent_adapter_needs_what_it_uses():
    assert {PIPES, "cloudpickle.cloudpickle"} <= set(_travel.parcel(Mine()).imports)


def test_sent_by_its_name_needs_no_cloudpickle():
    names = _travel.parcel(SimplePipeQueueAdapter()).imports
    assert PIPES in names
    assert not any("pickle" in name for name in names)


@pytest.mark.parametrize("thing", [Mine(), with_a_path, is_imported], ids=["adapter", "path", "function"])
def test_pytest_beside_it_is_not_needed(thing):
    assert not any("pytest" in name for name in _travel.parcel(thing).imports)


@pytest.mark.parametrize(("thing", "name"), [(Asserts(), "_pytest.assertion.rewrite"), (with_pytest, "pytest")])
def test_pytest_that_it_uses_is_needed(thing, name):
    assert name in _travel.parcel(thing).imports


@pytest.fixture
def fresh_ancestor():
    """An ancestor that has imported nothing for anybody."""
    _client.close()
    yield
    _client.close()


@pytest.mark.usefixtures("fresh_ancestor")
def test_what_one_peer_needs_is_there_for_the_next():
    with spawn(is_imported, "py", "test") as peer:
        assert not peer.result()
    with spawn(with_pytest) as peer:
        peer.result()
    with spawn(is_imported, "py", "test") as peer:
        assert peer.result()


@pytest.fixture
def helper(tmp_path, monkeypatch):
    """A module that peers find as well, with what needs pytest."""
    (tmp_path / "helping_module.py").write_text(
        "import pytest\n"
        "from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter\n"
        "class Helping(SimplePipeQueueAdapter): ...\n"
        "def tag(): return pytest.raises\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("helping_module")
    del sys.modules["helping_module"]


def test_what_a_used_module_imports_is_needed(helper):
    tag = helper.tag
    assert "pytest" in _travel.parcel(lambda: tag()).imports


@pytest.mark.usefixtures("fresh_ancestor")
def test_what_the_queue_of_a_machine_needs_is_there_for_the_next(helper):
    class Machine(QueueMachine):
        adapter = helper.Helping()

    Machine().teardown()
    with spawn(is_imported, "py", "test") as peer:
        assert peer.result()


def test_module_may_have_anything_in_it(monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "odd", eval("lambda: 0", {}), raising=False)
    assert imports({__name__})
    with spawn(is_alive, os.getpid()) as peer:
        assert peer.result()


def test_what_is_used_of_another_test_module_travels_too():
    assert is_alive.__globals__["alive"] is alive
    with spawn(is_alive, os.getpid()) as peer:
        assert peer.result()


def test_finder_of_the_old_kind_is_passed_over(monkeypatch):
    monkeypatch.setattr(sys, "meta_path", [object(), *sys.meta_path])
    assert importable(json.decoder)
