"""What a checker returns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong with the queue, and its evidence.

    kind: ``lost``, ``unexpected``, ``duplicated``, ``reordered``, ``corrupted``, ``crashed``, ``stuck`` or ``leaked``.
    sentence: what is wrong, for a person.
    peers: who took part.
    events: indices into the history's events.
    details: further lines, such as a stack.
    """

    kind: str
    sentence: str
    peers: tuple[str, ...] = ()
    events: tuple[int, ...] = ()
    details: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<{self.kind}: {self.sentence}>"


Checked: TypeAlias = Iterable[Finding]
