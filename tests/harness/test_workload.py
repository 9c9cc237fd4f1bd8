"""The workload: every byte follows from the seed, and a defect in value or type does not pass."""

import json
import pickle
import re

import ormsgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from monkeywrench.harness.guarantees import KEPT_TYPES
from monkeywrench.harness.workload import LARGE, Workload, same
from monkeywrench.pipes import SimplePipeQueue

PIPE_BUF = 4096
JSON_TYPES = ("NoneType", "bool", "dict", "float", "int", "list", "str")

seeds = st.integers(0, 2**63 - 1)
# Equal where they are not the same, and the same where they are not equal.
alike = st.sampled_from([0, 1, False, True, 0.0, -0.0, 1.0, float("nan"), 0j, complex(-0.0, 0)])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2) | st.floats() | st.text(max_size=2) | st.binary(max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.integers(0, 3) | st.booleans() | st.text(max_size=1), inner, max_size=3)
        | st.sets(st.integers(0, 3) | st.booleans() | st.floats(0, 2), max_size=3)
        | st.frozensets(alike | st.tuples(alike) | st.frozensets(alike, max_size=2), max_size=2)
        | st.dictionaries(alike | st.tuples(alike, alike), inner, max_size=2)
    ),
    max_leaves=6,
)


@given(seeds, st.integers(0, 9), st.integers(0, 1000), st.integers(0, 3))
def test_message_follows_from_the_seed(seed, producer, number, large_every):
    one = Workload(seed, large_every=large_every)
    other = Workload(seed, large_every=large_every)
    assert other.explain(one.message(producer, number)) == (producer, number, None)


def test_seeds_differ():
    assert [Workload(1).message(0, n) for n in range(20)] != [Workload(2).message(0, n) for n in range(20)]


def test_messages_cross_both_sides_of_pipe_buf_and_have_every_type(fifo_path):
    workload = Workload(1, large_every=10)
    payloads = [workload.message(0, number)[2] for number in range(400)]
    assert {type(payload).__name__ for payload in payloads} == set(KEPT_TYPES)
    with SimplePipeQueue(fifo_path, history=False) as queue:
        for number in range(30):
            queue.put(workload.message(0, number))
            unread = queue.unread
            assert (workload.is_large(number)) == (len(repr(workload.message(0, number))) > 4096)
            assert unread <= 4096
            queue.get()


@given(seeds, st.integers(0, 3), st.sampled_from((0, 2, 3, 4, 5, 10)))
def test_hundred_messages_have_all_that_queues_get_wrong(seed, producer, large_every):
    workload = Workload(seed, large_every=large_every)
    # Where every second message is large, there are half as many others.
    payloads = [workload.message(producer, number)[2] for number in range(200 if large_every == 2 else 100)]
    kept = {(type(payload), repr(payload)) for payload in payloads}
    for expected in (None, False, 0, -1, -(2**63), 2**63 - 1, 0.0, -0.0, 0j, "", b"", (), [], {}, set(), frozenset()):
        assert (type(expected), repr(expected)) in kept
    assert any(type(payload) is float and payload < 0 for payload in payloads)
    texts = [payload for payload in payloads if type(payload) is str]
    assert any("\0" in text for text in texts)
    assert any({"\n", "'", '"', "\\"} <= set(text) for text in texts)
    assert any("\xff" < letter < "\U00010000" for text in texts for letter in text)
    assert any(letter > "\uffff" for text in texts for letter in text)
    assert any(128 < len(text) < PIPE_BUF for text in texts)
    assert any(type(payload) is bytes and b"\0" in payload for payload in payloads)
    assert any(type(payload) is bytes and 128 < len(payload) < PIPE_BUF for payload in payloads)


@given(seeds)
def test_twenty_messages_of_two_producers_have_most_of_it(seed):
    workload = Workload(seed, large_every=0)
    everything = {repr(workload.message(0, number)[2]) for number in range(1, 101, 2)}
    everything &= {repr(workload.message(1, number)[2]) for number in range(1, 101, 2)}
    assert len(everything) > 20
    twenty = {repr(workload.message(producer, number)[2]) for producer in (0, 1) for number in range(20)}
    assert len(everything & twenty) > len(everything) / 2


@given(seeds, st.lists(st.sampled_from(KEPT_TYPES), min_size=1, unique=True))
def test_message_is_on_that_side_of_pipe_buf_which_it_should_be_however_it_is_encoded(seed, types):
    encoders = [pickle.dumps, lambda message: repr(message).encode()]
    if set(types) <= set(JSON_TYPES):
        encoders += [ormsgpack.packb, lambda message: json.dumps(message).encode()]
    small, large = Workload(seed, large_every=0, types=types), Workload(seed, large_every=1, types=types)
    for encode in encoders:
        assert max(len(encode(small.message(0, number))) for number in range(70)) < PIPE_BUF
        assert min(len(encode(large.message(0, number))) for number in range(20)) > PIPE_BUF


@given(seeds)
def test_most_messages_are_small_and_of_large_ones_one_in_sixteen_is_larger_than_a_pipe(seed):
    workload = Workload(seed, large_every=1)
    sizes = [len(workload.message(0, number)[2]) for number in range(160)]
    assert sum(size > 65536 for size in sizes) == 10
    assert sum(size in LARGE for size in sizes) == 150
    small = Workload(seed, large_every=0)
    assert sum(len(repr(small.message(0, number))) > 300 for number in range(100)) < 10


def test_sizes_of_those_larger_than_a_pipe_differ():
    workload = Workload(1, large_every=1)
    assert {len(workload.message(0, number)[2]) for number in range(400)} - set(LARGE) == {70_000, 140_000}


@given(seeds, st.integers(0, 50), values)
def test_other_payload_is_a_defect(seed, number, value):
    workload = Workload(seed)
    expected = workload.message(0, number)[2]
    producer, found, defect = workload.explain((0, number, value))
    assert (producer, found) == (0, number)
    assert (defect is None) == same(value, expected)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda text: text[:100] + b"\0" + text[101:], r"put bytes b'.*… \((\d+) bytes\), got bytes .*… \(\1 bytes\)"),
        (lambda text: text[:100], r"put bytes b'.*… \(\d+ bytes\), got bytes .*… \(100 bytes\)"),
    ],
)
def test_defect_of_long_bytes_tells_where_it_begins(make, told):
    workload = Workload(1, large_every=1, types=("bytes", "tuple", "int"))
    producer, number, payload = workload.message(0, 0)
    assert payload[100:101] != b"\0"
    defect = workload.explain((producer, number, make(payload)))[2]
    assert re.fullmatch(f"{told}, which differs from byte 101 on", defect), defect


@given(values)
def test_same_is_reflexive(value):
    assert same(value, value)


@given(values, values)
def test_same_means_the_same_types(one, other):
    def shape(value):
        if isinstance(value, (list, tuple)):
            return type(value), [shape(each) for each in value]
        if isinstance(value, (set, frozenset)):
            return type(value), sorted(repr(shape(each)) for each in value)
        if isinstance(value, dict):
            return dict, sorted((repr(shape(key)), repr(shape(each))) for key, each in value.items())
        return type(value), repr(value)

    assert same(one, other) == (shape(one) == shape(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({("in", 1)}, {("in", True)}),
        ({0.0}, {-0.0}),
        ({0.0: 1}, {-0.0: 1}),
        ({("in", 1): 1, 2: 3}, {2: 3, ("in", True): 1}),
        (frozenset({frozenset({1})}), frozenset({frozenset({True})})),
        ({0j}, {complex(-0.0, 0)}),
        ([{(0.0,)}], [{(-0.0,)}]),
    ],
)
def test_members_and_keys_that_are_equal_and_not_the_same_are_told_apart(one, other):
    assert one == other
    assert not same(one, other)
    assert not same(other, one)


def test_members_and_keys_are_the_same_in_any_order():
    assert same({1, "a", ("in", 2.0)}, {("in", 2.0), "a", 1})
    assert same({1: "a", ("in", 2.0): [{}]}, {("in", 2.0): [{}], 1: "a"})
    assert not same({1: "a", 2: "b"}, {2: "b", 1: "c"})
    assert not same({1, 2}, {1, 3})
    nan = float("nan")
    assert same({nan, 1}, {1, nan})
    assert same({nan: 1, 2: 3}, {2: 3, nan: 1})


def test_what_is_no_message_is_told():
    workload = Workload(1)
    for got in (
        None,
        "text",
        (1, 2),
        (1, "2", 3),
        (True, 0, None),
        (-1, 0, None),
        {1: 2},
        (1 << 70, 0, None),
        (0, 1 << 70, None),
    ):
        assert workload.explain(got) is None
    assert workload.explain(list(workload.message(0, 0)))[2] is not None
    assert Workload(1, types=["str", "list"]).explain(list(Workload(1, types=["str", "list"]).message(0, 0)))[2] is None
