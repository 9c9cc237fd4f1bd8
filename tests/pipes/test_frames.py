"""Frames: an intact one is found whatever stands around it, and nothing else is ever taken for one."""

from __future__ import annotations

import struct

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from monkeywrench.pipes import _frames
from monkeywrench.pipes._frames import (
    CLAIM,
    HEADER_SIZE,
    MAGIC,
    MAX_FRAME,
    MAX_PAYLOAD,
    MESSAGE,
    Scanner,
    encode_frame,
    split,
    whole_message,
)

payloads = st.binary(max_size=60).filter(lambda payload: encode_frame(MESSAGE, payload) is not None)
kinds = st.sampled_from([MESSAGE, CLAIM])
# Noise likes to look like frames: pieces of the magic, whole magics, headers.
noise = st.lists(
    st.binary(max_size=8)
    | st.sampled_from([MAGIC, MAGIC[:1], MAGIC[:2], MAGIC + b"\x01\x01", MAGIC + b"\x01\x01\x00\xff", MAGIC * 3]),
    max_size=4,
).map(b"".join)


def frame(payload: bytes, kind: int = MESSAGE) -> bytes:
    encoded = encode_frame(kind, payload)
    assert encoded is not None
    return encoded


@given(st.lists(st.tuples(kinds, payloads), max_size=5), st.data())
def test_frames_come_out_however_they_are_cut(frames: list[tuple[int, bytes]], data: st.DataObject) -> None:
    stream = b"".join(frame(payload, kind) for kind, payload in frames)
    scanner = Scanner()
    found = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        found += scanner.feed(stream[:size])
        stream = stream[size:]
    assert found == frames
    assert scanner.idle
    assert not scanner.skipped


@given(st.lists(st.tuples(noise, payloads), min_size=1, max_size=4), noise)
@example([(MAGIC[:2], b"a"), (MAGIC, b"b")], MAGIC[:1])
@example([(b"", b"a" + MAGIC[:2])], b"")
def test_noise_costs_no_intact_frame(pieces: list[tuple[bytes, bytes]], end: bytes) -> None:
    stream = b"".join(before + frame(payload) for before, payload in pieces) + end
    expected = [(MESSAGE, payload) for _, payload in pieces]
    frames, skipped = split(stream)
    assert frames == expected
    # Every byte is in a frame or reported.
    assert sum(len(piece.data) for piece in skipped) == len(stream) - sum(len(frame(payload)) for _, payload in frames)
    # All at once, byte by byte, and as much as is wanted at a time agree.
    for step in (1, None):
        scanner, found, rest = Scanner(), [], stream
        while rest:
            size = step or scanner.wanted
            found += scanner.feed(rest[:size])
            rest = rest[size:]
        scanner.finish()
        assert found == expected
        assert sum(len(piece.data) for piece in scanner.skipped) == sum(len(piece.data) for piece in skipped)


@pytest.mark.parametrize("borrowed", [1, 2, 3])
@pytest.mark.parametrize("kind", [MESSAGE, CLAIM])
def test_a_torn_frame_borrows_nothing_from_the_next(borrowed: int, kind: int) -> None:
    """What is missing at its end may be just what the next frame begins with."""
    torn = frame(b"payload" + MAGIC[: borrowed - 1], kind)[:-borrowed]
    for stream in (torn + frame(b"next"), frame(b"payload" + MAGIC[:2], kind)[:-borrowed] + frame(b"next")):
        assert split(stream)[0] == [(MESSAGE, b"next")]


@given(payloads, payloads, st.data())
def test_a_torn_frame_costs_only_itself(torn: bytes, intact: bytes, data: st.DataObject) -> None:
    piece = frame(torn)[: data.draw(st.integers(0, len(frame(torn)) - 1))]
    assert split(frame(intact) + piece + frame(intact))[0] == [(MESSAGE, intact)] * 2


@given(payloads, st.data())
def test_a_changed_byte_is_never_delivered(payload: bytes, data: st.DataObject) -> None:
    changed = bytearray(frame(payload))
    at = data.draw(st.integers(0, len(changed) - 1))
    value = data.draw(st.integers(0, 255))
    assume(changed[at] != value)
    changed[at] = value
    frames, skipped = split(bytes(changed) + frame(b"next"))
    assert frames == [(MESSAGE, b"next")]
    assert skipped
    assert whole_message(bytes(changed)) is None


@given(st.lists(payloads, min_size=2, max_size=3), noise)
def test_a_reader_that_takes_what_is_wanted_cuts_no_frame(contents: list[bytes], before: bytes) -> None:
    """Where several consumers take turns, one must not take the beginning of the next one's frame."""
    stream = b"".join(map(frame, contents))
    scanner = Scanner()
    for index, payload in enumerate(contents):
        found = []
        while not found:
            piece, stream = stream[: scanner.wanted], stream[scanner.wanted :]
            found = scanner.feed(piece)
        assert found == [(MESSAGE, payload)]
        assert scanner.idle
        assert stream == b"".join(map(frame, contents[index + 1 :]))


def test_a_frame_cannot_be_inside_another() -> None:
    inner = frame(b"not a message of its own")
    assert encode_frame(MESSAGE, inner) is None
    assert encode_frame(MESSAGE, b"before" + inner + b"after") is None


def test_the_magic_may_not_arise_between_header_and_payload() -> None:
    """The checksum's last byte and the payload's first could make one: every such frame is refused."""
    for number in range(200_000):
        payload = b"mw%d" % number
        encoded = encode_frame(MESSAGE, payload)
        if encoded is None:
            start = 1 << 24 | MESSAGE << 16 | len(payload)
            assert _frames.crc32(payload, start) & 0xFF == MAGIC[0]
            return
    pytest.fail("no such payload found: is the check gone?")


def test_the_magic_overlaps_itself_nowhere() -> None:
    assert all(not MAGIC.endswith(MAGIC[:size]) for size in range(1, len(MAGIC)))


def test_the_longest_frame_is_what_a_pipe_writes_whole() -> None:
    assert len(frame(b"x" * MAX_PAYLOAD)) == MAX_FRAME
    assert encode_frame(MESSAGE, b"x" * (MAX_PAYLOAD + 1)) is None


@pytest.mark.parametrize(
    ("version", "kind", "reason"),
    [(2, MESSAGE, "version 2"), (0, MESSAGE, "version 0"), (1, 4, "kind"), (1, 0, "kind")],
)
def test_a_frame_of_another_version_or_kind_is_skipped_and_named(version: int, kind: int, reason: str) -> None:
    payload = b"later"
    checksum = _frames.crc32(payload, version << 24 | kind << 16 | len(payload))
    other = struct.pack(">3sBHI", MAGIC, version, len(payload), checksum) + payload + bytes([kind])
    frames, skipped = split(other + frame(b"now"))
    assert frames == [(MESSAGE, b"now")]
    assert reason in skipped[0].reason
    assert whole_message(other) is None


def test_a_length_beyond_the_longest_frame_is_skipped() -> None:
    lie = struct.pack(">3sBHI", MAGIC, 1, 0xFFFF, 0)
    scanner = Scanner()
    # Nothing is waited for: the next frame comes out at once.
    assert scanner.feed(lie + frame(b"next")) == [(MESSAGE, b"next")]


def test_a_frame_of_one_byte_less_or_more_is_not_whole() -> None:
    encoded = frame(b"payload")
    assert whole_message(encoded) == b"payload"
    assert whole_message(encoded[:-1]) is None
    assert whole_message(encoded + b"x") is None
    assert whole_message(encoded[:HEADER_SIZE]) is None
    assert whole_message(frame(b"payload", CLAIM)) is None
    assert whole_message(b"") is None


def test_a_header_has_the_documented_layout() -> None:
    """Other languages read this too."""
    encoded = frame(b"\xa5hello")
    assert encoded.hex() == "c16d77010006" + encoded[6:10].hex() + "a568656c6c6f" + "01"
    assert int.from_bytes(encoded[6:10], "big") == _frames.crc32(b"\xa5hello", 0x01010006)
