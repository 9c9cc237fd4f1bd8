"""What the ancestor imports once for all trials: what they need, and nothing that only stands beside it."""

import sys

import pytest
from monkeywrench.harness import _travel, spawn
from monkeywrench.harness._imports import imports, modules_of
from monkeywrench.harness.adapters import load
from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter

PIPES = "monkeywrench.harness.adapters.pipes"


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


def is_imported(name):
    return name in sys.modules


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


def test_what_one_peer_needs_is_there_for_the_next():
    with spawn(with_pytest) as peer:
        peer.result()
    with spawn(is_imported, "pytest") as peer:
        assert peer.result()
