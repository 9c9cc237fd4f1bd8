"""The codec: what goes in comes out, with its types, or is refused with its place."""

from __future__ import annotations

import contextlib
import datetime
import enum
import math
import struct
import subprocess
import sys
import textwrap
import threading
import tracemalloc
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from monkeywrench.pipes import MessageTooDeepError, MessageTooLargeError
from monkeywrench.pipes import _codec as codec
from monkeywrench.pipes._errors import UndecodableError

# Deferred, since otherwise each one's repr contains those of all the others.
leaves = st.deferred(
    lambda: (
        st.none()
        | st.booleans()
        | st.integers()
        | st.integers(min_value=-(2**200), max_value=2**200)
        | st.floats()
        | st.complex_numbers()
        | st.binary()
        | st.text(st.characters(exclude_categories=()))  # lone surrogates too
    )
)
hashables = st.deferred(lambda: leaves | st.tuples(hashables, hashables) | st.frozensets(hashables, max_size=2))
messages = st.deferred(
    lambda: (
        leaves
        | st.lists(messages, max_size=4)
        | st.builds(tuple, st.lists(messages, max_size=4))
        | st.dictionaries(st.text(), messages, max_size=3)
        | st.dictionaries(hashables, messages, max_size=3)
        | st.sets(hashables, max_size=3)
        | st.frozensets(hashables, max_size=3)
    )
)


def shape(value: Any) -> Any:
    """Return what is equal for two values of equal content, types at every depth, and order."""
    kind = type(value)
    if kind is float:
        return ("float", "nan" if math.isnan(value) else struct.pack(">d", value))
    if kind is complex:
        return ("complex", shape(value.real), shape(value.imag))
    if kind in (list, tuple):
        return (kind.__name__, [shape(item) for item in value])
    if kind in (set, frozenset):
        return (kind.__name__, sorted((shape(item) for item in value), key=repr))
    if kind is dict:
        return ("dict", [(shape(key), shape(item)) for key, item in value.items()])
    return (kind.__name__, value)


def in_a_process(code: str) -> None:
    """Run what could crash the interpreter."""
    code = "from monkeywrench.pipes import MessageTooLargeError, _codec as codec\n" + textwrap.dedent(code)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@contextlib.contextmanager
def memory_below(limit: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


@given(messages)
@example([])
@example(())
@example([()])
@example(((),))
@example([[1], (2,)])
@example({1: "a", "1": "b", None: "c", (1, "x"): {2}, b"1": [3]})
@example({True: 0, 2.5: 1})
@example("\ud800")
@example("\ud800\udc00")
@example(["\udfff", {"\ud800": "\ud800"}, ("\ud800",), {"\ud800"}])
@example({(1, frozenset({(2,)})): {frozenset()}})
@example(-(2**63) - 1)
@example(2**64)
@example(b"\xc1mw")
@example(-0.0)
def test_any_message_comes_out_as_it_went_in(message: Any) -> None:
    assert shape(codec.decode(codec.encode(message))) == shape(message)


def test_mixed_nan_and_infinities_come_out() -> None:
    message = (math.nan, math.inf, -math.inf, complex(math.nan, -0.0))
    assert shape(codec.decode(codec.encode(message))) == shape(message)


plain = leaves | st.builds(tuple, st.lists(leaves, max_size=4))


@given(st.lists(plain, max_size=6), st.integers(1, 6))
@example([(), [], (1,)], 6)
@example(["\ud800"], 1)
@example(["x" * 2000, 1], 6)
def test_a_batch_comes_out_as_it_went_in(some: list[Any], most: int) -> None:
    number = codec.short_run(some, 0, most)
    assert number <= min(most, len(some))
    batch = codec.encode_batch(some[:number])
    if batch is None:
        leaves = [leaf for message in some for leaf in (message if type(message) is tuple else [message])]
        with pytest.raises(UnicodeEncodeError):
            "".join(leaf for leaf in leaves if type(leaf) is str).encode()
        return
    assert codec.batch_length(batch) == number
    assert shape(codec.decode_batch(batch)) == shape(some[:number])


@pytest.mark.parametrize("odd", [[1], {}, {1}, (1, [2]), (1, ()), object(), True.__class__, "x" * 1001, (b"x" * 1001,)])
def test_a_batch_ends_before_what_it_cannot_hold(odd: object) -> None:
    assert codec.short_run([1, (2,), odd, 4], 0, 256) == 2
    assert codec.short_run([1, (2,), odd, 4], 3, 256) == 1


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Row(tuple):
    __slots__ = ()


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    HIGH = 1


class Point(NamedTuple):
    x: int
    y: int


strangers = [
    bytearray(b"x"),
    memoryview(b"x"),
    Text("x"),
    Number(1),
    Row(),
    Point(1, 2),
    OrderedDict(),
    Colour.RED,
    Level.HIGH,
    datetime.datetime(2020, 1, 1),
    uuid.UUID(int=1),
    object(),
    range(3),
    Ellipsis,
    len,
    int,
]


@pytest.mark.parametrize("stranger", strangers, ids=lambda value: type(value).__name__)
@pytest.mark.parametrize(
    ("wrap", "place"),
    [
        (lambda x: x, "msg "),
        (lambda x: (0, x), "msg[1] "),
        (lambda x: [x], "msg[0] "),
        (lambda x: [0, 1, {"k": x}], "msg[2]['k'] "),
        (lambda x: {"k": (1, [x])}, "msg['k'][1][0] "),
        (lambda x: {7: x}, "msg[7] "),
    ],
)
def test_another_type_is_refused_with_its_place(stranger: object, wrap: Any, place: str) -> None:
    with pytest.raises(TypeError) as caught:
        codec.encode(wrap(stranger))
    assert str(caught.value).startswith(place)
    assert type(stranger).__qualname__ in str(caught.value)
    assert "allowed are exactly str, bytes" in str(caught.value)


@pytest.mark.parametrize("key", [Text("x"), Level.HIGH, uuid.UUID(int=1), datetime.date(2020, 1, 1), Point(1, 2)])
def test_another_type_as_a_key_is_refused_with_its_place(key: object) -> None:
    with pytest.raises(TypeError, match=r"the key .* of msg\[0\] is of type"):
        codec.encode([{key: 1}])
    with pytest.raises(TypeError, match=r"the key .* of msg\[0\]\[1\] is of type|the key .* of msg"):
        codec.encode([{(1, key): 1}])


def test_another_type_in_a_set_is_refused_with_its_place() -> None:
    with pytest.raises(TypeError, match=r"the member .*Text.*|the member 'x' of msg\['a'\]"):
        codec.encode({"a": {Text("x")}})


def test_a_subclass_is_told_what_to_convert_to() -> None:
    with pytest.raises(TypeError, match="convert it to tuple"):
        codec.encode(Point(1, 2))


def test_a_type_whose_repr_fails_is_refused_like_any_other() -> None:
    class Rude:
        def __repr__(self) -> str:
            raise RuntimeError

        def __hash__(self) -> int:
            return 1

    with pytest.raises(TypeError, match="Rude"):
        codec.encode({Rude(): 1})


def test_a_list_in_itself_is_refused() -> None:
    message: list[Any] = []
    message.append(message)
    with pytest.raises(MessageTooDeepError, match="contains itself"):
        codec.encode(message)
    message.append(object())
    with pytest.raises(TypeError, match=r"msg\[1\]"):
        codec.encode(message)


def test_a_message_that_doubles_at_each_level_is_refused_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MAX_ELEMENTS", 10_000)
    message: list[Any] = []
    for _ in range(codec.MAX_DEPTH - 5):
        message = [message, message]
    with pytest.raises(MessageTooLargeError, match="elements"):
        codec.encode(message)


@pytest.mark.parametrize("item", [[], 0, {}, (), "", {"k": 1}, {1: 1}])
@pytest.mark.parametrize("wrap", [lambda x: [x] * 1000, lambda x: dict.fromkeys(map(str, range(1000)), x)])
def test_a_message_that_holds_the_same_one_a_thousand_times_is_refused_at_once(
    monkeypatch: pytest.MonkeyPatch, item: Any, wrap: Any
) -> None:
    monkeypatch.setattr(codec, "MAX_ELEMENTS", 10_000)
    message = wrap(wrap(item))
    with memory_below(300_000), pytest.raises(MessageTooLargeError, match="elements"):
        codec.encode(message)


@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: (x,), lambda x: {"k": x}, lambda x: {1: x}])
def test_depth_is_allowed_up_to_the_limit(wrap: Any) -> None:
    message: Any = 1
    for _ in range(codec.MAX_DEPTH):
        message = wrap(message)
    assert shape(codec.decode(codec.encode(message))) == shape(message)
    with pytest.raises(MessageTooDeepError, match=f"more than {codec.MAX_DEPTH} levels"):
        codec.encode(wrap(message))


@pytest.mark.parametrize("size", [100, 1000])
def test_elements_are_allowed_up_to_the_limit(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(codec, "_LONG", 0)
    monkeypatch.setattr(codec, "MAX_ELEMENTS", size)
    fits = (*range(size - 1),)
    encoded = codec.encode(fits)
    assert codec.decode(encoded) == fits
    for beyond in [(*range(size),), [None] * size, {str(n): n for n in range(size)}, set(range(size))]:
        with pytest.raises(MessageTooLargeError, match=f"more than {size} elements"):
            codec.encode(beyond)
    # What one side refuses to put, the other refuses to take.
    too_many = b"\xdc" + struct.pack(">H", size) + b"\xc0" * size
    with pytest.raises(UndecodableError):
        codec.decode(too_many)


def test_one_long_string_is_one_element(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "MAX_ELEMENTS", 2)
    message = b"x" * 1_000_000
    assert codec.decode(codec.encode(message)) == message
    assert codec.decode(codec.encode((message,))) == (message,)


def test_bytes_are_allowed_up_to_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "_LONG", 0)
    monkeypatch.setattr(codec, "MAX_ELEMENTS", 10)
    monkeypatch.setattr(codec, "MAX_BYTES", 1000)
    with pytest.raises(MessageTooLargeError, match="over the limit of 1000"):
        codec.encode(b"x" * 1000)
    with pytest.raises(UndecodableError, match="over the limit of 1000"):
        codec.decode(b"\xc5" + struct.pack(">H", 998) + b"x" * 998)
    assert len(codec.decode(codec.encode(b"x" * 997))) == 997


def test_what_would_be_too_long_is_refused_before_it_is_packed() -> None:
    in_a_process("""
        import resource
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        long, text = bytes(200 << 20), "x" * (100 << 20)
        for message in [
            (long,) * 8, (long,) * 20, [long] * 8, {"k": [long] * 8}, [{n: long} for n in range(8)], [(1, (long,))] * 8,
            [{long: 1}] * 8, [{text: 1}] * 11, {n: text for n in range(11)}, frozenset((n, long) for n in range(8)),
        ]:
            try:
                codec.encode(message)
            except MessageTooLargeError as error:
                assert "over the limit" in str(error)
            else:
                raise AssertionError
    """)


# -- what others do meanwhile --------------------------------------------------------------------------------


def test_what_a_handler_raises_while_an_odd_message_is_packed_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = [KeyboardInterrupt()]

    def interrupted(code: int, data: bytes) -> codec.Ext:
        if code == codec._INT and errors:
            raise errors.pop()
        return codec.ormsgpack.Ext(code, data)

    monkeypatch.setattr(codec, "Ext", interrupted)
    message = ("\ud800", [1 << 100])
    with pytest.raises(KeyboardInterrupt):
        codec.encode(message)
    assert codec.decode(codec.encode(message)) == message


def test_what_an_earlier_call_has_left_is_not_raised() -> None:
    codec._noted.error = SystemExit()
    assert codec.decode(codec.encode(("\ud800",))) == ("\ud800",)


def test_a_message_that_another_thread_changes_crashes_nobody() -> None:
    in_a_process("""
        import sys

        def profile(frame, event, arg):
            if event == "call" and frame.f_code is codec._extend.__code__:
                inner.clear()

        def items(): return [(n, "item" * n) for n in range(500)]
        def ints(): return [n << 100 for n in range(500)]
        def pairs(): return {"k%d" % n: (n,) for n in range(500)}
        changed = 0
        for make in (items, ints, pairs):
            for wrap in (
                lambda x: x, lambda x: [x], lambda x: (1, x), lambda x: {"k": x}, lambda x: [(x, 1j)],
                lambda x: {1: x}, lambda x: ["\\ud800", [x]],
            ):
                inner = make()
                message = wrap(inner)
                sys.setprofile(profile)
                encoded = codec.encode(message)
                sys.setprofile(None)
                changed += not inner
                assert codec.decode(encoded) == wrap(make())
        assert changed >= 15, changed
    """)


# -- bytes from anybody --------------------------------------------------------------------------------------


@settings(max_examples=300)
@given(st.binary())
@example(b"")
@example(b"\xc1")
@example(b"\x91")
@example(b"\x81\x01\x02")
@example(b"\xa1\xff")
@example(b"\xdd\xff\xff\xff\xff")
@example(b"\xdf\xff\xff\xff\xff")
@example(b"\xc6\xff\xff\xff\xff")
@example(b"\xd6\xff\x00\x00\x00\x00")
@example(b"\xd4\x01\xc0")
@example(b"\xd5\x02\x91\x90")
@example(b"\xd4\x07\x00")
@example(b"\xd5\x04\x91\xc0")
@example(b"\xd4\x08\xff")
def test_any_bytes_are_a_message_or_undecodable(data: bytes) -> None:
    with contextlib.suppress(UndecodableError):
        codec.decode(data)
    with contextlib.suppress(UndecodableError):
        assert len(codec.decode_batch(data)) == codec.batch_length(data)


@settings(max_examples=300)
@given(messages, st.data())
def test_a_message_with_changed_bytes_is_a_message_or_undecodable(message: Any, data: st.DataObject) -> None:
    encoded = bytearray(codec.encode(message))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(encoded) - 1))
        encoded[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(UndecodableError):
        codec.decode(bytes(encoded))


def ext(code: int, data: bytes) -> bytes:
    return b"\xc9" + struct.pack(">IB", len(data), code) + data


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("arrays", [0, 1, 50, 1000])
def test_hostile_depth_is_undecodable_and_does_not_crash(code: int, arrays: int) -> None:
    data = b"\xc0"
    for _ in range(300):
        data = ext(code, b"\x91" * (arrays or 1) + data)
    with pytest.raises(UndecodableError):
        codec.decode(data)


@pytest.mark.parametrize("code", [1, 2, 3, 4, 5])
def test_hostile_depth_of_what_is_long_is_undecodable(code: int) -> None:
    data = b"\xc4\x01x" + b"\xc5\xff\xff" + b"x" * 0xFFFF
    for _ in range(300):
        data = ext(code, b"\x92" + data)
        data += b"\xc0"
    with pytest.raises(UndecodableError):
        codec.decode(data)


def in_a_thread(work: Any, *args: Any) -> Any:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work(*args)))
    thread.start()
    thread.join()
    return results[0]


@pytest.mark.parametrize("wrap", [lambda x: [x], lambda x: (x,), lambda x: {"k": x}, lambda x: {1: x}])
@pytest.mark.parametrize("leaf", [1, "x" * 100_000], ids=["short", "long"])
def test_depth_is_allowed_up_to_the_limit_in_any_thread(wrap: Any, leaf: object) -> None:
    message: Any = leaf
    for _ in range(codec.MAX_DEPTH):
        message = wrap(message)
    assert shape(in_a_thread(codec.decode, codec.encode(message))) == shape(message)


def test_many_containers_are_not_deep_in_any_thread() -> None:
    messages = [(n, "x", n << 100) for n in range(200)]
    assert in_a_thread(codec.decode, codec.encode(messages)) == messages
    assert in_a_thread(codec.decode_batch, codec.encode_batch(messages)) == messages
    assert in_a_thread(codec.decode, codec.encode(tuple(messages))) == tuple(messages)


@given(messages)
def test_what_is_put_off_comes_out_as_it_went_in(message: Any) -> None:
    encoded = codec.encode(message)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "_LONG", 0)
        put_off = codec._unpack_long(encoded)
    assert shape(put_off) == shape(codec.unpackb(encoded, ext_hook=codec._revive))


@pytest.mark.parametrize(
    "wrap", [lambda x: (x,), lambda x: frozenset({x}), lambda x: [({"k": x},)], lambda x: {1: x}, lambda x: ((1, x), 2)]
)
def test_what_is_long_and_nested_is_held_a_few_times_only(wrap: Any) -> None:
    message = b"x" * 1_000_000
    for _ in range(30):
        message = wrap(message)
    encoded = codec.encode(message)
    with memory_below(4_000_000):
        decoded = codec.decode(encoded)
    assert decoded == message


def test_a_length_that_lies_takes_no_memory() -> None:
    with memory_below(1_000_000):
        for data in (b"\xdd\x7f\xff\xff\xff", b"\xdf\x7f\xff\xff\xff", ext(1, b"\xdd\x7f\xff\xff\xff")):
            with pytest.raises(UndecodableError):
                codec.decode(data)


@pytest.mark.parametrize("head", [b"\xdd\xff\xff\xff\xff", b"\xdc\xff\xff", b"\x9f"])
def test_a_batch_is_believed_no_more_messages_than_its_bytes_can_hold(head: bytes) -> None:
    assert codec.batch_length(head) == 0
    assert codec.batch_length(head[:1]) == 0
    assert codec.batch_length(head + b"\x00\x00") == 2


def test_elements_are_counted_inside_of_extension_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "_LONG", 0)
    monkeypatch.setattr(codec, "MAX_ELEMENTS", 100)
    for code in (1, 2, 3, 4, 5):
        with pytest.raises(UndecodableError, match="more than 100 elements"):
            codec.decode(ext(code, b"\xdc\x00\xc8" + b"\x01" * 200))


def test_a_long_list_keeps_its_type_and_order() -> None:
    message = [(n, {str(n): [n]}, {n}) for n in range(2000)]
    assert codec.decode(codec.encode(message)) == message
