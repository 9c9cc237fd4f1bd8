"""What is broken: one small file a family, all faults of one shape, and the one list of them."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from .. import triggers
from .._errors import PlanError, check_keys
from ._fault import Fault, Scene
from .census import Census
from .foreign import Foreign, Remove
from .kill import Kill
from .noop import Noop
from .partial import Short
from .slow import Delay, Pause
from .stale import QUEUE, Shrink, Stale
from .system import Error, Limit

FAULTS: Final[dict[str, type[Fault]]] = {
    fault.name: fault
    for fault in (Kill, Pause, Delay, Short, Error, Limit, Foreign, Remove, Stale, Shrink, Census, Noop)
}


def to_json(fault: Fault) -> dict[str, Any]:
    """Return the fault as JSON's types, its name under ``fault``."""
    fields = {name: getattr(fault, name) for name in _settings_of(type(fault))}
    if "at" in fields:
        fields["at"] = triggers.to_json(fault.at)
    return {"fault": fault.name, **fields}


def from_json(fields: Any) -> Fault:
    """Return the fault that ``to_json`` wrote. Raises PlanError for an unknown name, key or value."""
    # Looked for in a tuple: a dict cannot be asked for a list or an object.
    if not isinstance(fields, dict) or fields.get("fault") not in tuple(FAULTS):
        raise PlanError(f"not a fault: {fields!r}: its 'fault' is one of {', '.join(FAULTS)}")
    kind = FAULTS[fields["fault"]]
    settings = {key: value for key, value in fields.items() if key != "fault"}
    allowed = _settings_of(kind)
    check_keys(settings, allowed, f"fault {fields['fault']!r}")
    takes = f"it takes {', '.join(allowed)}"
    if "at" in allowed and "at" not in settings:
        raise PlanError(f"fault {fields['fault']!r} without at, when it strikes; {takes}")
    if "at" in allowed:
        settings["at"] = triggers.from_json(settings.get("at"))
    try:
        return kind(**settings)
    except TypeError:
        raise PlanError(f"fault {fields['fault']!r} with {', '.join(sorted(settings)) or 'nothing'}; {takes}") from None


def _settings_of(kind: type[Fault]) -> list[str]:
    return [field.name for field in dataclasses.fields(kind) if field.init]  # type: ignore[arg-type]


__all__ = [
    "FAULTS",
    "QUEUE",
    "Census",
    "Delay",
    "Error",
    "Fault",
    "Foreign",
    "Kill",
    "Limit",
    "Noop",
    "Pause",
    "Remove",
    "Scene",
    "Short",
    "Shrink",
    "Stale",
    "from_json",
    "to_json",
]
