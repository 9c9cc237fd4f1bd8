"""What keeps growing, and what only looks like it."""

import dataclasses
import random

import pytest
from monkeywrench.scenarios._soak import _LOST_SHARE
from monkeywrench.scenarios._trend import Series


def series(values, *, slack=1.0, share=0.0, falling=False):
    points = tuple((float(second), float(value)) for second, value in enumerate(values))
    return Series(name="memory", unit="KiB", points=points, slack=slack, share=share, falling=falling)


def test_empty_and_short_series_tell_nothing():
    assert series([]).keeps_going() is None
    assert "not to be had" in series([]).summary()
    assert series([1, 2, 3, 4]).keeps_going() is None
    assert "too short to tell a trend" in series([1, 2, 3, 4]).summary()
    assert series([7]).keeps_going() is None
    rising = series(range(100))
    assert rising.keeps_going() is not None
    assert dataclasses.replace(rising, shortest_s=100.0).keeps_going() is None


def test_leak_is_seen_through_noise_and_spikes():
    draw = random.Random(1)
    leak = [1000 + second * 2 + draw.uniform(-5, 5) + (500 if second % 17 == 0 else 0) for second in range(200)]
    told = series(leak).keeps_going()
    assert told.startswith("memory, growing all the time: 1,")
    assert told.endswith(" KiB, in 199 s")
    assert "from 99" in series(leak).summary() or "from 1,0" in series(leak).summary()


@pytest.mark.parametrize(
    "values",
    [
        [100] * 200,  # flat
        [min(second * 20, 1000) for second in range(200)],  # warm-up, then a plateau
        [min(second * 20, 3000) for second in range(200)],  # a plateau that is reached late
        [second % 40 for second in range(200)],  # a sawtooth
        [100 + second / 400 for second in range(200)],  # less than what is allowed
    ],
    ids=["flat", "warm-up", "late plateau", "sawtooth", "slack"],
)
def test_what_does_not_keep_growing_is_no_leak(values):
    assert series(values).keeps_going() is None


def test_noise_is_hardly_ever_taken_for_a_leak():
    draw = random.Random(2)
    taken = sum(series([draw.gauss(1000, 50) for _ in range(200)]).keeps_going() is not None for _ in range(300))
    assert taken <= 3


def test_falling_is_the_other_way_round():
    slowing = [1000 - second * 4 for second in range(200)]
    assert series(slowing, share=0.5, falling=True).keeps_going().startswith("memory, falling all the time: ")
    assert series(slowing, share=0.9, falling=True).keeps_going() is None
    assert series(slowing[::-1], share=0.5, falling=True).keeps_going() is None


def test_what_takes_longer_with_all_that_it_has_done_falls_long_after_the_warm_up():
    slowing = [1000 / (1 + second) ** 0.5 for second in range(200)]
    assert series(slowing, share=_LOST_SHARE, falling=True).keeps_going() is not None
