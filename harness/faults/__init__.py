"""What is broken: one small file a fault, all of one shape, and the one list of them.

A fault is frozen settings (whom, when) and one method, ``strike``, which runs when its trigger says: in the
peer itself, or, if that goes by the clock, in the trial root. It says whether the peer comes back from it.
"""

from __future__ import annotations

import dataclasses
from typing import Any, TypeAlias

from .. import triggers
from .._errors import PlanError
from .kill import Kill
from .noop import Noop

Fault: TypeAlias = Kill | Noop

FAULTS: dict[str, type[Fault]] = {"kill": Kill, "noop": Noop}


def to_json(fault: Fault) -> dict[str, Any]:
    """Return the fault as JSON's types, its name under ``fault``."""
    fields = {field.name: getattr(fault, field.name) for field in dataclasses.fields(fault)}
    return {"fault": fault.name, **fields, "at": triggers.to_json(fault.at)}


def from_json(fields: Any) -> Fault:
    """Return the fault that ``to_json`` wrote. Raises PlanError for an unknown name, key or value."""
    if not isinstance(fields, dict) or fields.get("fault") not in FAULTS:
        raise PlanError(f"not a fault: {fields!r}: its 'fault' is one of {', '.join(FAULTS)}")
    kind = FAULTS[fields["fault"]]
    settings = {key: value for key, value in fields.items() if key != "fault"}
    settings["at"] = triggers.from_json(settings.get("at"))
    try:
        return kind(**settings)
    except TypeError:
        allowed = ", ".join(field.name for field in dataclasses.fields(kind))
        raise PlanError(f"fault {fields['fault']!r} with {sorted(settings)}: it takes {allowed}") from None


__all__ = ["FAULTS", "Fault", "Kill", "Noop", "from_json", "to_json"]
