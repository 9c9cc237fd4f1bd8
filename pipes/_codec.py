"""Messages to bytes and back, with the value and the exact types kept.

Laws of this module:

- no input or output: a value goes in and bytes come out, or the other way round;
- what `encode` accepts, `decode` gives back equal and of the same types at every depth; everything else is
  refused at `encode`, with the place where it sits;
- `decode` takes bytes from anybody: it executes nothing, holds no more than the limits allow, and raises
  `UndecodableError` and nothing else. (It may take long: a dict of ints of one hash is as slow as in Python.)

The format is MessagePack. What MessagePack does not know travels in extension types:

====  ==============  ===========================================================================
code  stands for      data
====  ==============  ===========================================================================
1     tuple           MessagePack array of the items
2     set             MessagePack array of the items
3     frozenset       MessagePack array of the items
4     dict            MessagePack array of key, value, key, value ... (for keys other than `str`)
5     list            MessagePack array of the items (for a whole message only, see below)
6     int             two's complement, big-endian (beyond 64 bits)
7     complex         two big-endian doubles
8     str             UTF-8 in which lone surrogates are encoded like other code points
====  ==============  ===========================================================================

A message is most often a tuple. A bare array as the whole message is therefore a *tuple*, and a message that
is a list is extension type 5. Inside a message a bare array is a list, as one expects. A batch is a bare array of
messages, none of which contains a container, but for tuples as whole messages.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Final, NoReturn

import ormsgpack
from ormsgpack import Ext, packb, unpackb

from ._errors import MessageTooDeepError, MessageTooLargeError, UndecodableError, shown

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "MAX_ELEMENTS",
    "batch_length",
    "decode",
    "decode_batch",
    "encode",
    "encode_batch",
    "short_run",
]

MAX_BYTES: Final = 1 << 30
"""The most bytes that one encoded message may have: 1 GiB."""

MAX_ELEMENTS: Final = 1 << 22
"""The most elements that one message may have, each container and each item counted (about 4.2 million).

An element takes one byte when encoded, but up to some hundred bytes in memory: this is what bounds the
memory.
"""

MAX_DEPTH: Final = 100
"""The most levels that containers may be nested in each other."""

_TUPLE, _SET, _FROZENSET, _DICT, _LIST, _INT, _COMPLEX, _STR = range(1, 9)
_COMPLEX_DATA = struct.Struct(">dd")

_LEAVES: Final = frozenset({str, bytes, int, float, complex, bool, type(None)})
_CONTAINERS: Final = frozenset({tuple, list, dict, set, frozenset})
_KNOWN: Final = _LEAVES | _CONTAINERS
_are_leaves = _LEAVES.issuperset
_STRINGS: Final = frozenset({str, bytes})
_SMALL: Final = _LEAVES - _STRINGS
_MUTABLE: Final = frozenset({list, dict})
_SETS: Final = frozenset({set, frozenset})
_FEW: Final = 8
_SHORT: Final = 1000
_LONG: Final = 1 << 16  # from here on a string or a message may take much memory
_are_str = frozenset({str}).issuperset

# Without these, ormsgpack would pack a tuple as a list. Exactness of all other types was checked before.
_NESTED: Final = ormsgpack.OPT_PASSTHROUGH_TUPLE | ormsgpack.OPT_PASSTHROUGH_BIG_INT
_FLAT: Final = ormsgpack.OPT_PASSTHROUGH_BIG_INT


def encode(message: object) -> bytes:
    """Return the bytes of `message`.

    Raises `TypeError` for a type that cannot be kept, naming its place (`msg[2]['k']`); `MessageTooDeepError`
    beyond `MAX_DEPTH` levels; `MessageTooLargeError` beyond `MAX_BYTES` or `MAX_ELEMENTS`. Of a message that another
    thread changes meanwhile, some parts are as before and some as after.
    """
    # A short tuple of leaves is what most messages are: it goes first, with nothing called that need not be.
    if type(message) is tuple and len(message) <= _FEW:
        for item in message:
            kind = type(item)
            if kind is str:
                if len(item) > _LONG:
                    break
            elif kind not in _SMALL and (kind is not bytes or len(item) > _LONG):
                break
        else:
            try:
                encoded = packb(message, _extend, _FLAT)
            except TypeError as error:
                encoded = _encode_refused(message, error)
            if len(encoded) > MAX_ELEMENTS:
                _refuse_large(encoded)
            return encoded
    return _encode(message)


def _encode(message: object) -> bytes:
    try:
        encoded = _pack(message)
    except TypeError as error:
        encoded = _encode_refused(message, error)
    if len(encoded) > MAX_ELEMENTS:
        _refuse_large(encoded)
    return encoded


def _pack(message: Any) -> bytes:
    """Encode what ormsgpack can. Raises `TypeError` for the rest, and for a type that is not known."""
    kind = type(message)
    leaves = (message,) if kind in _LEAVES else message if kind is tuple else None
    if leaves is not None and _are_leaves(kinds := {*map(type, leaves)}):
        _refuse_long(_length(leaves, kinds))
        return packb(message, _extend, _FLAT)
    plain, inner = _check(message)
    if not plain:
        return _encode_odd(message)
    # While the hook runs, another thread may change a list that ormsgpack is in the middle of, which would crash it. So
    # it gets copies, unless it needs no hook: then nothing runs in between.
    if kind not in _SETS and inner <= _MUTABLE:
        try:
            return _pack_with(None, message)
        except TypeError:
            pass  # for an int beyond 64 bits, say
    if inner & _MUTABLE:
        message = _own(message)
    elif kind in _MUTABLE:
        message = message.copy()
    return _pack_with(_extend, message)


def _pack_with(hook: Callable[[Any], Any] | None, message: Any) -> bytes:
    """Pack a container of which ormsgpack can walk every list and dict by itself."""
    if type(message) is tuple:
        return packb(list(message), hook, _NESTED)
    if type(message) is list:
        return packb(Ext(_LIST, packb(message, hook, _NESTED)))
    return packb(message, hook, _NESTED)


def _own(value: Any) -> Any:
    """Return `value` with a copy of every list and dict in it."""
    kind = type(value)
    if kind is dict:
        return {key: item if type(item) in _LEAVES else _own(item) for key, item in value.items()}
    if kind is list:
        return [item if type(item) in _LEAVES else _own(item) for item in value]
    if kind is tuple and not _are_leaves(map(type, value)):
        return tuple([_own(item) for item in value])
    return value  # a set holds nothing that can change


def _encode_refused(message: object, error: TypeError) -> bytes:
    """Encode what `_pack` refused with this error, or raise why it cannot be."""
    _refused_again(partial(_pack, message), error)
    _refuse_unknown(message)
    # All types are known, so it was a string with lone surrogates that ormsgpack refused.
    try:
        return _encode_odd(message)
    except TypeError as again:
        raise _refused_again(partial(_encode_odd, message), again) from None


def decode(data: bytes) -> Any:
    """Return the message whose bytes are `data`.

    Raises `UndecodableError`, and nothing else, for any other bytes. What a signal's handler raises in the middle, and
    that no stack or memory is left to decode with, says nothing about the bytes, and is raised as it is.
    """
    try:
        value = unpackb(data, ext_hook=_revive) if len(data) <= _LONG else _unpack_checked(data)
    except UndecodableError:
        raise
    except Exception as error:
        cause = _refused_again(partial(_unpack_checked, data), error)
        raise UndecodableError(f"not a message: {cause}") from cause
    # Only a bare array is a tuple: a list came as an extension type, whose first byte is another.
    if type(value) is list and data[0] in _ARRAY_HEADS:
        return tuple(value)
    return value


def short_run(messages: list[Any], at: int, most: int) -> int:
    """Return how many messages from `at` on, up to `most`, can be in one batch: short leaves, short tuples of them."""
    stop = min(at + most, len(messages))
    for index in range(at, stop):
        message = messages[index]
        for item in message if type(message) is tuple and len(message) <= _FEW else (message,):
            kind = type(item)
            if kind not in _LEAVES or ((kind is str or kind is bytes) and len(item) > _SHORT):
                return index - at
    return stop - at


def encode_batch(messages: list[Any]) -> bytes | None:
    """Return the bytes of several messages that can be in one batch; None if there is a string with lone surrogates."""
    try:
        return packb(messages, _extend, _FLAT)
    except TypeError as error:
        _refused_again(partial(packb, messages, _extend, _FLAT), error)
        return None


def decode_batch(data: bytes) -> list[Any]:
    """Return the messages of a batch. Raises `UndecodableError`, and nothing else, for any other bytes, as `decode`."""
    try:
        messages = _array(unpackb(data, ext_hook=_revive))
    except UndecodableError:
        raise
    except Exception as error:
        cause = _refused_again(partial(unpackb, data, ext_hook=_revive), error)
        raise UndecodableError(f"not a batch: {cause}") from cause
    return [tuple(message) if type(message) is list else message for message in messages]


def batch_length(data: bytes) -> int:
    """Return how many messages a batch says that it has, or how many its bytes can hold if it says more."""
    if not data or data[0] not in _ARRAY_HEADS:
        return 0
    start, items = _head(data, 0)
    return min(items, max(0, len(data) - start))


# -- encoding ------------------------------------------------------------------------------------------------


def _extend(value: Any) -> Ext:
    """Turn what MessagePack does not know into an extension type. Called by ormsgpack with the value."""
    try:
        kind = type(value)
        if kind is tuple:
            return Ext(_TUPLE, packb(list(value), _extend, _NESTED))
        if kind is set:
            return Ext(_SET, packb(list(value), _extend, _NESTED))
        if kind is frozenset:
            return Ext(_FROZENSET, packb(list(value), _extend, _NESTED))
        if kind is complex:
            return Ext(_COMPLEX, _COMPLEX_DATA.pack(value.real, value.imag))
        if kind is int:
            return Ext(_INT, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))
        raise TypeError(f"cannot encode {kind!r}")
    except BaseException as error:
        _note(error)
        raise


def _check(message: object) -> tuple[bool, set[type]]:
    """Say whether ormsgpack can walk `message` by itself: every key of every dict a `str`. And what is nested in it.

    Raises `TypeError` when a type is unknown (`encode` then finds its place), and the limits' errors.
    Level by level, so that neither a container in itself nor one that holds the same one twice, twice, twice,
    takes long. What a level holds is counted before it is looked at.
    """
    if type(message) not in _KNOWN:
        raise TypeError
    plain = True
    inner: set[type] = set()
    level: list[Any] = [message]
    elements, length = 1, 0
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for container in level:
            elements += len(container)
            if elements > MAX_ELEMENTS:
                raise _too_many()
            items = container
            if type(container) is dict:
                items = container.values()
                for key in container:
                    if type(key) is str:
                        length += len(key)
                    else:
                        plain = False
                        below.append(key)
            if len(items) > _FEW:
                kinds = {*map(type, items)}
                length += _length(items, kinds)
                if not _LEAVES.issuperset(kinds):
                    below += [item for item in items if type(item) not in _LEAVES]
            else:
                for item in items:
                    kind = type(item)
                    if kind is str or kind is bytes:
                        length += len(item)
                    elif kind not in _SMALL:
                        below.append(item)
        if not plain:
            length += _length(below, {*map(type, below)})
            below = [key for key in below if type(key) not in _LEAVES]
        _refuse_long(length)
        if not below:
            return plain, inner
        kinds = {*map(type, below)}
        if not _CONTAINERS.issuperset(kinds):
            raise TypeError
        inner |= kinds
        level = below
    raise MessageTooDeepError(
        f"the message is nested more than {MAX_DEPTH} levels deep, or contains itself; put its parts"
    )


def _length(items: Collection[Any], kinds: set[type]) -> int:
    """Return how many bytes the strings among items of these types have at least, when encoded."""
    if _SMALL.issuperset(kinds):
        return 0
    if _STRINGS.issuperset(kinds):
        return sum(map(len, items))
    return sum([len(item) for item in items if type(item) in _STRINGS])


def _refuse_long(length: int) -> None:
    """Refuse a message whose strings are too long together, before memory is used up to pack it."""
    if length > MAX_BYTES:
        raise _too_long(length)


def _too_many() -> MessageTooLargeError:
    return MessageTooLargeError(
        f"the message has more than {MAX_ELEMENTS} elements; put it in parts, or as one bytes object"
    )


def _too_long(length: int) -> MessageTooLargeError:
    return MessageTooLargeError(
        f"the message is {length} bytes or more when encoded, over the limit of {MAX_BYTES}; put its parts"
    )


def _encode_odd(message: Any) -> bytes:
    """Encode what ormsgpack refuses: dicts with other keys than `str`, strings with lone surrogates. Slow, and rare."""
    if type(message) is tuple:
        return packb([_odd(item) for item in message], _extend, _NESTED)
    if type(message) is list:
        return packb(Ext(_LIST, packb([_odd(item) for item in message], _extend, _NESTED)))
    return packb(_odd(message), _extend, _NESTED)


def _odd(value: Any) -> Any:
    kind = type(value)
    if kind is str:
        try:
            value.encode()
        except UnicodeEncodeError:
            return Ext(_STR, value.encode("utf-8", "surrogatepass"))
        return value
    if kind is list:
        return [_odd(item) for item in value]
    if kind is dict:
        items = [_odd(item) for pair in value.items() for item in pair]
        if all(type(key) is str for key in items[::2]):
            return dict(zip(items[::2], items[1::2], strict=True))
        return Ext(_DICT, packb(items, _extend, _NESTED))
    if kind in _CONTAINERS:
        code = _TUPLE if kind is tuple else _SET if kind is set else _FROZENSET
        return Ext(code, packb([_odd(item) for item in value], _extend, _NESTED))
    return value


# -- errors that ormsgpack keeps to itself -------------------------------------------------------------------

# It raises one of its own where a hook of ours has failed, whatever that raised: that bytes are wrong, or, in the
# middle of it, a signal's handler.
_HOOK_FAILED: Final = ("ext_hook failed", "Type is not msgpack serializable")
_noted = threading.local()


def _note(error: BaseException) -> None:
    """Keep what a hook raises."""
    if not str(error).startswith(_HOOK_FAILED):
        _noted.error = error


def _cause_of(error: Exception) -> BaseException | None:
    """Return why ormsgpack failed with this error; None if nobody knows, for the hook had not even begun."""
    noted = getattr(_noted, "error", None)
    _noted.error = None
    # Where no hook has failed, a note is an old one.
    return noted if str(error).startswith(_HOOK_FAILED) else error


def _refused_again(work: Callable[[], object], error: Exception) -> BaseException:
    """Return why ormsgpack refuses to do this *work*, which has failed with this error: it refuses it again.

    Otherwise raise what was in its way. What a signal's handler raised before the hook had begun is not known any more;
    it is taken for Ctrl-C.
    """
    cause = _cause_of(error)
    if cause is None or _may_be_a_refusal(cause):
        try:
            work()
        except Exception as again:
            cause = _cause_of(again) or RecursionError("no stack is left to encode or decode a message with")
            if _may_be_a_refusal(cause):
                return cause
        else:
            cause = cause or KeyboardInterrupt("a signal's handler raised an error while a message was in work")
    raise cause


def _may_be_a_refusal(cause: BaseException) -> bool:
    """Whether this may be about the message or its bytes."""
    return isinstance(cause, Exception) and not isinstance(cause, (MemoryError, RecursionError))


# -- refusals ------------------------------------------------------------------------------------------------

_ALLOWED = "str, bytes, int, float, complex, bool, None, tuple, list, dict, set, frozenset"


def _refuse_unknown(message: object) -> None:
    """Raise `TypeError` for the first value whose type is not exactly one of the known, naming its place."""
    place = _place_of_unknown(message)
    if place is None:
        return
    where, value = place
    kind = type(value)
    base = next((known for known in kind.__mro__[1:] if known in _KNOWN), None)
    hint = f"; convert it to {base.__name__}, of which it is a subclass" if base is not None else ""
    raise TypeError(
        f"{where} is of type {kind.__module__}.{kind.__qualname__}, which cannot be put; "
        f"allowed are exactly {_ALLOWED}{hint}"
    ) from None  # the codec's own refusal says nothing


def _place_of_unknown(message: object) -> tuple[str, object] | None:
    """Find the shallowest value of an unknown type.

    Looks at each container once, however often it is contained.
    """
    seen: set[int] = set()
    level: list[tuple[str, Any]] = [("msg", message)]
    while level:
        below: list[tuple[str, Any]] = []
        for where, value in level:
            kind = type(value)
            if kind in _LEAVES:
                continue
            if kind not in _CONTAINERS:
                return where, value
            if id(value) in seen:
                continue
            seen.add(id(value))
            if kind is dict:
                below += [(f"the key {shown(key)} of {where}", key) for key in value if type(key) not in _LEAVES]
                below += [(f"{where}[{shown(key)}]", item) for key, item in value.items()]
            elif kind is list or kind is tuple:
                below += [(f"{where}[{index}]", item) for index, item in enumerate(value)]
            else:
                below += [(f"the member {shown(item)} of {where}", item) for item in value]
        level = below
    return None


def _refuse_large(encoded: bytes) -> None:
    if len(encoded) > MAX_BYTES:
        raise _too_long(len(encoded))
    if _elements_beyond(encoded, MAX_ELEMENTS):
        raise _too_many()


# -- decoding ------------------------------------------------------------------------------------------------

_ARRAY_HEADS: Final = frozenset([*range(0x90, 0xA0), 0xDC, 0xDD])
_CONTAINER_HEADS: Final = _ARRAY_HEADS | frozenset([*range(0x80, 0x90), 0xDE, 0xDF])


def _revive_with(unpack: Callable[[bytes], Any]) -> Callable[[int, bytes], Any]:
    """Return a hook for ormsgpack that turns extension types into values, with `unpack` for what is nested in
    them.
    """

    def revive(code: int, data: bytes) -> Any:
        try:
            if code == _TUPLE:
                return tuple(_array(unpack(data)))
            if code == _SET:
                return set(_array(unpack(data)))
            if code == _FROZENSET:
                return frozenset(_array(unpack(data)))
            if code == _DICT:
                return _dict_of(_array(unpack(data)))
            if code == _LIST:
                return _array(unpack(data))
            if code == _INT:
                return int.from_bytes(data, "big", signed=True)
            if code == _COMPLEX:
                return complex(*_COMPLEX_DATA.unpack(data))
            if code == _STR:
                return data.decode("utf-8", "surrogatepass")
            _undecodable(f"unknown extension type {code}")
        except BaseException as error:
            _note(error)
            raise

    return revive


def _undecodable(reason: str) -> NoReturn:
    raise UndecodableError(reason)


def _array(value: Any) -> list[Any]:
    if type(value) is not list:
        _undecodable("a container's data is not an array")
    return value


# ormsgpack bounds the depth of one call, but each extension type starts another one: hostile bytes could nest
# those until the C stack is used up. Two levels are decoded as they come; whatever lies deeper and is long
# enough to be deep is measured first, once, for all the levels below it.


def _unpack_measured(data: bytes) -> Any:
    if len(data) > MAX_DEPTH and _deeper_than(data, MAX_DEPTH):
        _undecodable(_TOO_DEEP)
    return unpackb(data, ext_hook=_revive_measured)


def _unpack_inner(data: bytes) -> Any:
    return unpackb(data, ext_hook=_revive_inner)


def _unpack_below(data: bytes) -> Any:
    return unpackb(data, ext_hook=_revive_measured)


_revive_measured: Final = _revive_with(_unpack_below)
_revive_inner: Final = _revive_with(_unpack_measured)
_revive: Final = _revive_with(_unpack_inner)

_TOO_DEEP: Final = f"nested more than {MAX_DEPTH} levels deep"


def _unpack_checked(data: bytes) -> Any:
    """Unpack a message that may be long."""
    if len(data) > MAX_ELEMENTS:
        if len(data) > MAX_BYTES:
            _undecodable(f"{len(data)} bytes are over the limit of {MAX_BYTES}")
        if _elements_beyond(data, MAX_ELEMENTS):
            _undecodable(f"more than {MAX_ELEMENTS} elements")
    return _unpack_long(data)


# ormsgpack hands a copy of its data to the hook. Of a long extension type in a long extension type in a long ... all
# copies would be there at once. So those are put off until ormsgpack has done with what is around them.


class _Late:
    """A long extension type that is decoded later."""

    __slots__ = ("code", "data")

    def __init__(self, code: int, data: bytes) -> None:
        self.code = code
        self.data = data

    def take(self) -> bytes:
        """Return the data, and hold it no longer."""
        data, self.data = self.data, b""
        return data

    def revive(self, levels: int) -> Any:
        """Return the value, which is nested so many levels deep in others that are long."""
        if levels > MAX_DEPTH:
            _undecodable(_TOO_DEEP)
        return _MAKERS[self.code](_array(_unpack_long(self.take(), levels)))


def _dict_of(items: list[Any]) -> dict[Any, Any]:
    return dict(zip(items[::2], items[1::2], strict=True))


_MAKERS: Final[dict[int, Callable[[list[Any]], Any]]] = {
    _TUPLE: tuple,
    _SET: set,
    _FROZENSET: frozenset,
    _DICT: _dict_of,
    _LIST: list,
}


def _unpack_long(data: bytes, levels: int = 0) -> Any:
    """Unpack with what is long put off, then that."""
    late: list[_Late] = []

    def put_off(code: int, data: bytes) -> Any:
        if len(data) <= _LONG or code not in _MAKERS:
            return _revive(code, data)
        late.append(_Late(code, data))
        return late[-1]

    value = unpackb(data, ext_hook=put_off)
    del data  # what was put off has its own
    if type(value) is _Late:
        return value.revive(levels + 1)
    containers = [value] if late else []
    while containers:
        container = containers.pop()
        for place, item in container.items() if type(container) is dict else enumerate(container):
            if type(item) is _Late:
                container[place] = item.revive(levels + 1)
            elif type(item) in _MUTABLE:
                containers.append(item)
    return value


# -- a walk over MessagePack which builds nothing ------------------------------------------------------------

_NESTING_CODES: Final = frozenset(_MAKERS)


def _fixed(head: int) -> tuple[int, int]:
    """For a head byte: (bytes to skip after it, items that it holds) when both are known from the head alone."""
    if head < 0x80 or head >= 0xE0 or head in (0xC0, 0xC2, 0xC3):
        return 0, 0
    if head < 0x90:
        return 0, 2 * (head & 0x0F)
    if head < 0xA0:
        return 0, head & 0x0F
    if head < 0xC0:
        return head & 0x1F, 0
    size = {0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}.get(head, -1)
    return size, 0


_HEADS: Final = [_fixed(head) for head in range(256)]
# head: (bytes of the length after it, bytes between the length and the data, items per unit of length)
_SIZED: Final = {
    0xC4: (1, 0, 0),
    0xC5: (2, 0, 0),
    0xC6: (4, 0, 0),
    0xD9: (1, 0, 0),
    0xDA: (2, 0, 0),
    0xDB: (4, 0, 0),
    0xC7: (1, 1, 0),
    0xC8: (2, 1, 0),
    0xC9: (4, 1, 0),
    0xDC: (2, 0, 1),
    0xDD: (4, 0, 1),
    0xDE: (2, 0, 2),
    0xDF: (4, 0, 2),
}
_EXT_FIXED: Final = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}


def _head(data: bytes, at: int) -> tuple[int, int]:
    """Read the head at `at`: (where the next head is, how many items the one at `at` holds).

    An extension type that nests is a container of one item. Bytes that are no MessagePack lead beyond the
    end.
    """
    head = data[at]
    skip, items = _HEADS[head]
    if skip >= 0:
        return at + 1 + skip, items
    if head in _EXT_FIXED:
        if data[at + 1 : at + 2] and data[at + 1] in _NESTING_CODES:
            return at + 2, 1
        return at + 2 + _EXT_FIXED[head], 0
    if head not in _SIZED:
        return len(data) + 1, 0
    width, gap, unit = _SIZED[head]
    size = int.from_bytes(data[at + 1 : at + 1 + width], "big")
    start = at + 1 + width + gap
    if unit:
        return start, size * unit
    if gap and start <= len(data) and data[start - 1] in _NESTING_CODES:
        return start, 1
    return start + size, 0


def _elements_beyond(data: bytes, limit: int) -> bool:
    """Say whether `data` holds more than `limit` elements.

    An element takes a byte at least, so the walk ends as soon as what is left could not exceed the limit: one
    long string costs nothing, and a million of short ones little.
    """
    at, end, elements = 0, len(data), 0
    while at < end and elements + end - at > limit:
        at, _ = _head(data, at)
        elements += 1
        if elements > limit:
            return True
    return False


# Of each head: the bytes up to the next one where it is a leaf of a fixed length, otherwise 0.
_STEPS: Final = [0 if skip < 0 or items else 1 + skip for skip, items in _HEADS]


def _deeper_than(data: bytes, limit: int) -> bool:
    """Say whether containers in `data` are nested more than `limit` levels deep."""
    at, end = 0, len(data)
    waiting: list[int] = []  # how many items each container around this one waits for
    items = 1  # how many this one waits for
    while at < end:
        step = _STEPS[data[at]]
        if step:
            at += step
        else:
            extension = data[at] not in _CONTAINER_HEADS
            at, held = _head(data, at)
            if held:
                # An extension type and the array that it holds are one level.
                if extension and data[at : at + 1] and data[at] in _ARRAY_HEADS:
                    continue
                waiting.append(items)
                if len(waiting) > limit:
                    return True
                items = held
                continue
        items -= 1
        while not items:
            if not waiting:
                return False
            items = waiting.pop() - 1
    return False
