"""What the ancestor imports once, and not every trial again."""

from __future__ import annotations

import functools
import inspect
import re
import sys
from collections.abc import Iterable
from types import FunctionType, ModuleType
from typing import Any

# What takes longer to import than a trial takes. None of it starts a thread, which forks would lose, but for what
# Hypothesis's extras are for. Of anybody else's code, nobody knows.
_LARGE = {"pytest", "_pytest", "hypothesis", "monkeywrench", "cloudpickle"}
_EXTRAS = "hypothesis.extra."
# A short string as pickle writes it: opcode, length, text. A path may contain such a name as well, and is longer.
_STRING = re.compile(rb"\x8c(.)([A-Za-z_][\w.]*)", re.DOTALL)


def named_in(data: bytes) -> set[str]:
    """Return the names of the modules that pickled data names, of those that are loaded here."""
    names = {name.decode() for size, name in _STRING.findall(data) if size[0] == len(name)}
    return {name for name in names if type(sys.modules.get(name)) is ModuleType}


def imports(modules: Iterable[str]) -> tuple[str, ...]:
    """Return the names of what is to be imported before many fresh processes import these modules: of them and of those
    that they import, the ones of this package, of pytest and of Hypothesis.
    """
    return _large(frozenset(modules))


@functools.cache  # once, and not for each trial
def _large(names: frozenset[str]) -> tuple[str, ...]:
    # pytest gives the modules that it rewrites two more, by names that nobody can have; peers import them as they are.
    variables = (getattr(sys.modules.get(name), "__dict__", {}).items() for name in names)
    values = [value for each in variables for name, value in each if not name.startswith("@")]
    # Nothing is asked of what may be anything: a proxy may raise, or import what it stands for.
    places = [value.__module__ for value in values if issubclass(type(value), (type, FunctionType))]
    themselves = set(map(id, values))
    large = [(name, each) for name, each in sys.modules.copy().items() if name.partition(".")[0] in _LARGE]
    found = [name for name, each in large if name in names or name in places or id(each) in themselves]
    return tuple(sorted(name for name in found if not name.startswith(_EXTRAS)))


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
