#!/usr/bin/env python3
"""Fuzz what reads the pipe: the framing and the codec, with random, torn and mutated bytes around intact messages.

An input is one packet or one encoded message. Whatever it is, the framing must deliver every intact frame in it, in
order and whole, and the codec must return a value or raise UndecodableError: nothing else, no crash, and no more memory
than the limit, which the system enforces. Exit status: 0 all well, 1 a violation, which is printed with its bytes.

    python tests/attacks/fuzz_decoder.py --inputs 10000000 --seed 1
"""

from __future__ import annotations

import argparse
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from monkeywrench.harness.workload import Workload
from monkeywrench.pipes._codec import batch_length, decode, decode_batch, encode, encode_batch
from monkeywrench.pipes._errors import UndecodableError
from monkeywrench.pipes._frames import BATCH, CLAIM, MAGIC, MESSAGE, Scanner, encode_frame, split

MEMORY_LIMIT = 1 << 30
BLOCK = 1 << 20
# Heads of MessagePack that promise much: long strings, arrays, maps and extensions, nested ones too.
PROMISES = (
    b"\xdb\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xc9\xff\xff\xff\xff\x01",
    b"\xdd\x00\x40\x00\x00",
    b"\x91" * 60,
    b"\x81\xa1k" * 40,
    b"\xc7\x20\x01\x91" * 12,
    b"\xd4\x01" * 30,
    b"\xc7\x05\x04\x91\xc0",
    b"\xd8\x06" + b"\xff" * 16,
    b"\xd7\x07" + b"\x7f\xf8" * 4,
    b"\xc7\x03\x08\xed\xa0\x80",
)


class Fuzzer:
    """Inputs, drawn from a seed, and what became of them."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.noise = self.draw.randbytes(BLOCK)
        workload = Workload(seed, large_every=0)
        self.bodies = [encode(workload.message(producer, number)) for producer in range(3) for number in range(200)]
        self.bodies += [encode(value) for value in ([], (), {}, set(), "", b"", None, 2**200, -(2**63), {1: (2,)})]
        self.frames = [frame for body in self.bodies if (frame := encode_frame(MESSAGE, body))]
        plain = list(range(-40, 300, 7)) + [(number, "plain", b"\xc1") for number in range(40)]
        batches = [encode_batch(plain[at : at + self.draw.randrange(2, 20)]) for at in range(0, len(plain) - 20, 3)]
        self.batches = [batch for batch in batches if batch]
        self.frames += [frame for batch in self.batches if (frame := encode_frame(BATCH, batch))]
        self.claims = [frame for _ in range(50) if (frame := encode_frame(CLAIM, self.draw.randbytes(28)))]
        self.counts: Counter[str] = Counter()

    def random_bytes(self, longest: int) -> bytes:
        """Return some random bytes."""
        start = self.draw.randrange(BLOCK - longest)
        return self.noise[start : start + self.draw.randrange(longest)]

    def mutated(self, data: bytes) -> bytes:
        """Return the bytes changed in one place, or cut, or with others put in."""
        draw = self.draw
        at = draw.randrange(len(data) + 1)
        match draw.randrange(5):
            case 0:
                return data[:at]
            case 1:
                return data[at:]
            case 2:
                return data[:at] + bytes([draw.randrange(256)]) + data[at + 1 :]
            case 3:
                return data[:at] + self.random_bytes(12) + data[at:]
            case _:
                return data[:at] + draw.choice(PROMISES) + data[at:]

    def foreign(self) -> bytes:
        """Return bytes that are no frame: random, torn, changed, of another version, or only promising one."""
        draw = self.draw
        match draw.randrange(5):
            case 0:
                return self.random_bytes(60)
            case 1:
                return self.mutated(draw.choice(self.frames))
            case 2:
                return MAGIC + self.random_bytes(20)
            case 3:
                frame = draw.choice(self.frames)
                return frame[:3] + bytes([draw.randrange(2, 256)]) + frame[4:]
            case _:
                return MAGIC[: draw.randrange(1, 4)]

    def packet(self) -> None:
        """Try one packet: intact frames, with foreign bytes before, between and behind them."""
        draw = self.draw
        pieces: list[bytes] = []
        intact: list[bytes] = []
        for _ in range(draw.randrange(1, 5)):
            if draw.random() < 0.6:
                intact.append(draw.choice(self.claims if draw.random() < 0.1 else self.frames))
                pieces.append(intact[-1])
            else:
                pieces.append(self.foreign())
        data = b"".join(pieces)
        if draw.random() < 0.3:
            found = self.in_pieces(data)
        else:
            found, _ = split(data)
        got = iter([encode_frame(kind, payload) for kind, payload in found])
        if not all(frame in got for frame in intact):
            raise AssertionError(f"an intact frame of {intact!r} was not delivered out of {data!r}")
        self.counts["intact frames delivered"] += len(intact)
        for kind, payload in found[:1]:
            if kind != CLAIM:
                self.decoded(payload, decode if kind == MESSAGE else decode_batch)

    def in_pieces(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return the frames in *data* as they come when it arrives in pieces."""
        scanner = Scanner()
        found: list[tuple[int, bytes]] = []
        at = 0
        while at < len(data):
            step = self.draw.randrange(1, 30)
            found += scanner.feed(data[at : at + step])
            at += step
        scanner.finish()
        return found

    def message(self) -> None:
        """Try one encoded message, changed once or more."""
        is_batch = self.draw.random() < 0.2
        data = self.mutated(self.draw.choice(self.batches if is_batch else self.bodies))
        while self.draw.random() < 0.3:
            data = self.mutated(data)
        self.decoded(data, decode_batch if is_batch else decode)

    def decoded(self, data: bytes, decoder: Callable[[bytes], Any]) -> None:
        """Decode, and count what came of it. Whatever else is raised goes through."""
        try:
            decoder(data)
            if decoder is decode_batch:
                batch_length(data)
        except UndecodableError:
            self.counts["refused"] += 1
        else:
            self.counts["decoded"] += 1


def main() -> int:
    """Fuzz, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    options = parser.parse_args()
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    fuzzer = Fuzzer(options.seed)
    began = time.monotonic()
    print(f"seed {options.seed}, {MEMORY_LIMIT >> 20} MiB of memory allowed", flush=True)
    done = 0
    try:
        for done in range(1, options.inputs + 1):
            if done % 3 == 0:
                fuzzer.packet()
            else:
                fuzzer.message()
            if done % 1_000_000 == 0:
                print(f"{done} inputs, {time.monotonic() - began:.0f} s", flush=True)
    except BaseException as error:
        print(f"violation at input {done} of seed {options.seed}: {type(error).__name__}: {error}", flush=True)
        raise
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    print(f"{done} inputs, no violation, {time.monotonic() - began:.0f} s, at most {peak} MiB, seed {options.seed}")
    for name, count in fuzzer.counts.items():
        print(f"  {count} {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
