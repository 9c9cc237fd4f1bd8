"""What a queue promises, as fields with values: the yardstick that a checker holds a history against.

Guarantees may excuse loss, duplicates or order. Nothing excuses *stuck*, *corrupted*, *crashed* or *leaked*.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from ._errors import HistoryError
from .triggers import CALL_KINDS

KEPT_TYPES = (
    "NoneType",
    "bool",
    "bytes",
    "complex",
    "dict",
    "float",
    "frozenset",
    "int",
    "list",
    "set",
    "str",
    "tuple",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Guarantees:
    """What a queue promises to the processes around it.

    The two costs count messages whose ``put`` had returned, for each killed peer; ``None`` means any number.

    order: ``per-producer``, one producer's messages are received in the order they were put, whichever consumers get
        them (where their gets overlap, nobody knows which came first); or ``none``.
    duplicates: whether a message may be delivered more than once.
    killed_producer_may_cost: what a killed producer takes with it of what it had already put.
    killed_consumer_may_cost: what a consumer that is killed inside ``get`` takes with it.
    foreign_bytes: whether bytes that are no message (a write cut where no POSIX system would cut it, say)
        cost no intact message. A queue without this promise is not blamed for what follows from such bytes.
    types: names of the types that come out as they went in; the workload draws from these alone.
    most_producers, most_consumers: how many processes may be at that end at a time; ``None`` means any number. A plan
        with more is refused. One that takes the place of another, or comes when all are gone, is none too many.
    any_pace: whether what becomes of a message is the same whoever is faster, one producer or one consumer. It excuses
        nothing; but a verdict on a queue without it rests on timing.
    gate: which kinds of its system calls the gate sees, as ``harness.triggers`` names them. Faults placed at
        any other call are refused.
    """

    order: Literal["per-producer", "none"] = "per-producer"
    duplicates: bool = False
    killed_producer_may_cost: int | None = 0
    killed_consumer_may_cost: int | None = 1
    foreign_bytes: bool = False
    types: tuple[str, ...] = KEPT_TYPES
    most_producers: int | None = None
    most_consumers: int | None = None
    any_pace: bool = True
    gate: tuple[str, ...] = CALL_KINDS

    def __post_init__(self) -> None:
        if self.order not in ("per-producer", "none"):
            raise ValueError(f"order={self.order!r}: allowed are 'per-producer' and 'none'")
        for name in ("killed_producer_may_cost", "killed_consumer_may_cost"):
            cost = getattr(self, name)
            if cost is not None and (type(cost) is not int or cost < 0):
                raise ValueError(f"{name}={cost!r}: allowed are None (any number) and whole numbers from 0")
        for name in ("most_producers", "most_consumers"):
            most = getattr(self, name)
            if most is not None and (type(most) is not int or most < 1):
                raise ValueError(f"{name}={most!r}: allowed are None (any number) and whole numbers from 1")
        for name in ("duplicates", "foreign_bytes", "any_pace"):
            if type(getattr(self, name)) is not bool:
                raise ValueError(f"{name}={getattr(self, name)!r}: allowed are True and False")
        if not _are_out_of(self.gate, CALL_KINDS):
            raise ValueError(f"gate={self.gate!r}: a tuple is allowed, each out of {', '.join(CALL_KINDS)}")
        if not _are_out_of(self.types, KEPT_TYPES) or not self.types:
            raise ValueError(f"types={self.types!r}: a tuple is allowed, one at least, out of {', '.join(KEPT_TYPES)}")

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON's types."""
        return dataclasses.asdict(self) | {"types": list(self.types), "gate": list(self.gate)}

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Guarantees:
        """Return the guarantees that ``to_json`` wrote. Raises HistoryError where they are none."""
        try:
            return cls(**fields | {"types": tuple(fields["types"]), "gate": tuple(fields["gate"])})
        except (KeyError, TypeError, ValueError) as error:
            raise HistoryError(f"not a queue's guarantees: {fields!r} ({error})") from None


def _are_out_of(names: object, known: tuple[str, ...]) -> bool:
    """Whether these are names out of the known ones; and not one name, whose letters would be looked at."""
    return not isinstance(names, str) and isinstance(names, Iterable) and all(name in known for name in names)
