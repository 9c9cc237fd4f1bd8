"""Every broken queue is caught by the finding written beside it; the right one is never accused."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from monkeywrench.harness import Trial


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


@pytest.mark.parametrize("queue", broken_queues.BROKEN, ids=lambda queue: queue.__name__)
def test_broken_queue_is_caught_by_its_finding(queue):
    verdict = Trial(queue(), producers=2, consumers=1, messages=40, seed=7, patience_s=1.5).run()
    wanted, *allowed = broken_queues.BROKEN[queue]
    kinds = {finding.kind for finding in verdict.findings}
    assert verdict.status == "invalid", verdict
    assert wanted in kinds, verdict
    assert kinds <= {wanted, *allowed}, verdict


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
