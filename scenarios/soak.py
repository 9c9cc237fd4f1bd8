"""Soak: the same for a long time, to see what wears out."""

from __future__ import annotations

from ._scenario import Range, Scenario
from .everything import mixtures

SOAK = Scenario(
    name="soak",
    sentence="One workload that never ends, and trials with random faults beside it, for as long as --duration says.",
    cases=mixtures,
    expects="Memory, descriptors and files do not keep growing, and the queue does not keep slowing down.",
    producers=Range(3, 2, 100),
    consumers=Range(2, 1, 100),
    seconds=4.0,
    long_lived=True,
)
