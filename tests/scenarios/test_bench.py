"""The benchmark: that it measures, and tells what it could not; how fast anything is, no test says."""

import json
import subprocess
import sys

import pytest
from monkeywrench.scenarios import _bench, _measure
from monkeywrench.scenarios._contenders import BASELINE, CONTENDERS, Pipe
from monkeywrench.scenarios._measure import BATCH, SHAPES, Shape


@pytest.mark.parametrize("contender", CONTENDERS, ids=lambda contender: contender.name)
def test_contender_does_every_shape(contender):
    series = [_bench._series(contender, shape) for shape in SHAPES]
    shapes = [each.shape for each in series if each.reason is None]
    if not shapes:
        pytest.skip(series[0].reason)
    code = (
        "import dataclasses, sys\n"
        "from monkeywrench.scenarios import _measure\n"
        "shapes = _measure.SHAPES\n"
        "contender, *names = sys.argv[1:]\n"
        "for name in names:\n"
        "    few = 4 if shapes[name].payload_bytes else 400\n"
        "    shapes[name] = dataclasses.replace(shapes[name], messages=few)\n"
        "    _measure.main(contender, name)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, contender.name, *shapes],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == len(shapes)
    assert all(float(figure) > 0 for figure in done.stdout.split())


def test_contender_for_one_of_each_is_not_asked_for_more():
    skipped = {
        shape for shape in SHAPES if _bench._series(Pipe, shape).reason == "it has one producer and one consumer"
    }
    assert skipped == {"4 to 1", "1 to 4"}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_messages_of_a_shape_can_be_shared_out(shape):
    assert shape.messages % (shape.producers * shape.consumers * (BATCH if shape.batch else 1)) == 0


def test_json_has_every_figure_and_what_was_skipped():
    done = subprocess.run(
        [sys.executable, "-m", "monkeywrench.scenarios", "bench", "round trips", "--rounds", "1", "--json"],
        capture_output=True,
        text=True,
        timeout=170,
    )
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["rounds"] == 1
    by_queue = {series["queue"]: series for series in document["series"]}
    assert set(by_queue) == {contender.name for contender in CONTENDERS}
    assert by_queue[BASELINE]["ratio"] == 1
    for series in by_queue.values():
        assert (series["median"] is None) == (series["skipped"] is not None)
        assert series["skipped"] or len(series["messages_per_s"]) == 1


def test_shape_that_is_none_is_refused():
    done = subprocess.run(
        [sys.executable, "-m", "monkeywrench.scenarios", "bench", "smal"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "Did you mean 'small'?" in done.stderr


def test_contender_that_fails_is_told_and_the_others_go_on(monkeypatch):
    series = _bench.Series("no such queue", "small")
    _bench._time(series)
    assert series.rates == []
    assert "it failed in 'small': StopIteration" in series.reason


def test_process_that_fails_fails_the_measurement(monkeypatch):
    class Fails(CONTENDERS[0]):
        name = "fails"

        def make(self):
            raise OSError("no")

    with pytest.raises(OSError, match="no"):
        _measure.measure(Fails(), Shape("", 1))
