"""What the ancestor imports once, and not every trial again."""

from __future__ import annotations

import functools
import inspect
import sys
from types import FunctionType
from typing import Any

# What takes longer to import than a trial takes. None of it starts a thread, which forks would lose, but for what
# Hypothesis's extras are for. Of anybody else's code, nobody knows.
_LARGE = {"pytest", "_pytest", "hypothesis", "monkeywrench"}
_EXTRAS = "hypothesis.extra."


def imports(*things: Any) -> tuple[str, ...]:
    """Return the names of the modules of this package, pytest and Hypothesis that *things* are defined in, or that the
    modules import which *things* are defined in: to be imported before *things* come to many fresh processes.
    """
    return _imported_by(frozenset(modules_of(things)))


@functools.cache  # once, and not for each trial
def _imported_by(names: frozenset[str]) -> tuple[str, ...]:
    values = [value for name in names if name in sys.modules for value in vars(sys.modules[name]).values()]
    # Nothing is asked of what may be anything: a proxy may raise, or import what it stands for.
    places = names | {value.__module__ for value in values if issubclass(type(value), (type, FunctionType))}
    themselves = set(map(id, values))
    large = [(name, each) for name, each in sys.modules.items() if name.partition(".")[0] in _LARGE]
    named = (name for name, each in large if name in places or id(each) in themselves)
    return tuple(sorted(name for name in named if not name.startswith(_EXTRAS)))


def modules_of(thing: Any) -> set[str]:
    """Return the names of the modules that something is defined in: with a class, those of its bases; with a container,
    those of what is in it.
    """
    if isinstance(thing, (tuple, list)):
        return {name for item in thing for name in modules_of(item)}
    if isinstance(thing, dict):
        return modules_of(list(thing.values()))
    if inspect.isroutine(thing):
        return {thing.__module__ or ""} | modules_of(getattr(thing, "__self__", None))
    return {base.__module__ for base in (thing if isinstance(thing, type) else type(thing)).__mro__}
