"""The queues that have a name, and whether they can be had here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from monkeywrench.harness.adapters import known, missing

__all__ = ["missing", "names", "short_names"]


def names() -> list[str]:
    """Return the names of all queues, whether they are installed or not."""
    return list(known())


def short_names(queues: Sequence[str]) -> dict[str, str]:
    """Return what a narrow column calls each queue, no two the same: of a file or a module, the object, if that will
    do; or with the file's or module's name before it; or all.
    """
    names: dict[str, str] = {}
    for shorten in (_object, _object_of_file, str):
        left = [queue for queue in dict.fromkeys(queues) if queue not in names]
        count = Counter(map(shorten, left))
        names |= {queue: shorten(queue) for queue in left if count[shorten(queue)] == 1}
    return {queue: names[queue] for queue in queues}


def _object(queue: str) -> str:
    return queue.rpartition(":")[2]


def _object_of_file(queue: str) -> str:
    return queue.rpartition("/")[2]
