"""The scenarios, named families of plans, and the command line that runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._builtin import SCENARIOS
    from ._scenario import Case, Range, Scenario, Sizes

__all__ = ["SCENARIOS", "Case", "Range", "Scenario", "Sizes"]


def __getattr__(name: str) -> Any:
    # Imported when it is asked for: the command begins to catch Ctrl-C before all that.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from . import _builtin, _scenario

    return getattr(_builtin if name == "SCENARIOS" else _scenario, name)


def __dir__() -> list[str]:
    return __all__
