"""Every broken queue is caught by the finding written beside it; the right one is never accused."""

import dataclasses
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest
from monkeywrench.harness import Trial, run

SEED = 7
LONGEST_SENTENCE = 300


def _load() -> ModuleType:
    # Under --import-mode=importlib test modules cannot import each other.
    path = Path(__file__).with_name("broken_queues.py")
    spec = importlib.util.spec_from_file_location("broken_queues", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["broken_queues"] = module
    spec.loader.exec_module(module)
    return module


broken_queues = _load()
FINDINGS = sorted({broken.finding for broken in broken_queues.BROKEN})


def _of_the_right_queue(broken):
    """Return the plan that shows what is broken, for a queue that is not."""
    return dataclasses.replace(broken.plan(SEED), queue="module:object", name="right", patience_s=5.0)


def test_collection_is_large_and_each_docstring_is_one_line():
    assert len(broken_queues.BROKEN) >= 32
    assert all("\n" not in broken.queue.__doc__ for broken in broken_queues.BROKEN)


@pytest.mark.parametrize("finding", FINDINGS)
def test_broken_queues_are_caught_by_their_finding(at_once, finding):
    caught = [broken for broken in broken_queues.BROKEN if broken.finding == finding]
    verdicts = at_once(lambda broken: run(broken.plan(SEED), adapter=broken.queue()), caught)
    for broken, verdict in zip(caught, verdicts, strict=True):
        _check(broken, verdict)


def _check(broken, verdict):
    found = {finding.kind for finding in verdict.findings}
    assert verdict.status == "invalid", verdict
    assert broken.finding in found, verdict
    assert found <= {broken.finding, *broken.also}, verdict
    sentences = [finding.sentence for finding in verdict.findings if finding.kind == broken.finding]
    assert any(re.search(broken.says, sentence) for sentence in sentences), verdict
    # Short, and about somebody who is there.
    peers = {*verdict.history.producers, *verdict.history.consumers, "somebody", "maker", "nemesis"}
    for sentence in sentences:
        assert len(sentence) <= LONGEST_SENTENCE, sentence
        assert any(peer in sentence for peer in peers) or str(broken.faults[0]) in sentence, sentence


@pytest.mark.parametrize("right", broken_queues.RIGHT, ids=lambda right: right.__name__)
def test_right_queue_is_not_accused_under_the_same_plans(at_once, right):
    # Several are found by the same plan. And Slots promises nothing about foreign bytes.
    plans = {
        _of_the_right_queue(broken).dumps(): _of_the_right_queue(broken)
        for broken in broken_queues.BROKEN
        if right is not broken_queues.Slots or all(fault.posix for fault in broken.faults)
    }
    assert len(plans) > 20
    for verdict in at_once(lambda plan: run(plan, adapter=right()), plans.values()):
        assert not verdict.findings, verdict
        # A fault may be placed where this queue never comes by: no finding then, and nothing proved either.
        assert all("it never struck" in doubt for doubt in verdict.doubts), verdict


@pytest.mark.parametrize("peers", [(1, 1), (3, 1), (1, 3), (3, 3)], ids="{0[0]}-{0[1]}".format)
@pytest.mark.parametrize("large_every", [0, 1, 10])
def test_right_queue_is_not_accused(peers, large_every):
    producers, consumers = peers
    trial = Trial(
        broken_queues.RightQueue(),
        producers=producers,
        consumers=consumers,
        messages=50,
        large_every=large_every,
    )
    verdict = trial.run()
    assert verdict.valid, verdict
    assert verdict.counts["received"] == verdict.counts["put"] == 50 * producers
