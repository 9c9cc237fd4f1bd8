"""How an adapter or a function gets from a test module to the peers: by value, with cloudpickle."""

from __future__ import annotations

import inspect
import io
import sys
from collections import ChainMap
from collections.abc import Callable, Sequence
from types import CodeType, ModuleType
from typing import Any, ClassVar

import cloudpickle

from ._errors import PlanError
from .adapters import importable

_FOUND_ANYWAY = sys.stdlib_module_names | {"__main__"}


def dumps(*things: Any) -> bytes:
    """Return *things* as bytes that ``pickle.loads`` makes into the same tuple in a fresh interpreter.

    What is defined in a module that a fresh interpreter would not find (a test module, a ``conftest.py``) travels by
    value; so do the modules of its base classes.
    """
    names = {name for thing in things for name in _modules_of(thing)}
    modules = [sys.modules[name] for name in names if name in sys.modules]
    strangers = [module for module in modules if module.__name__ != "__main__" and not importable(module)]
    try:
        return _pickled(things, strangers)
    except Exception as error:  # whatever the pickling of somebody else's object raises
        raise PlanError(
            f"{_name_of(things[0])} cannot travel to the peers: {error}. What belongs to one process (a connection, a "
            "lock, a file) is made in the peer (an adapter's make() or open(), the function itself), not before"
        ) from error


def by_value(thing: Any) -> bytes:
    """Return *thing* as bytes for ``pickle.loads``, whose class travels by value: who loads it in many fresh processes
    need not import a test module and all that this imports.
    """
    names = {base.__module__ for base in type(thing).__mro__} & sys.modules.keys()
    own = [sys.modules[name] for name in names if not name.startswith("monkeywrench.") and name not in _FOUND_ANYWAY]
    return _pickled(thing, own)


def _pickled(thing: Any, modules: Sequence[ModuleType]) -> bytes:
    """Return *thing* as bytes, with all that is defined in these modules by value."""
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        data = io.BytesIO()
        _Pickler(data).dump(thing)
        return data.getvalue()
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def _reduce_code(code: CodeType) -> tuple[Any, ...]:
    """Pickle code with the name of its file, which cloudpickle leaves out: stacks and tracebacks name it."""
    make, args, *_ = cloudpickle.Pickler.dispatch_table[CodeType](code)
    return _code_of, (code.co_filename, make, args)


def _code_of(file: str, make: Callable[..., CodeType], args: tuple[Any, ...]) -> CodeType:
    return make(*args).replace(co_filename=file)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle ships no types
    dispatch_table: ClassVar = ChainMap({CodeType: _reduce_code}, cloudpickle.Pickler.dispatch_table)


def _modules_of(thing: Any) -> set[str]:
    if isinstance(thing, (tuple, list)):
        return {name for item in thing for name in _modules_of(item)}
    if isinstance(thing, dict):
        return _modules_of(list(thing.values()))
    if inspect.isroutine(thing):
        return {thing.__module__ or ""} | _modules_of(getattr(thing, "__self__", None))
    return {base.__module__ for base in (thing if isinstance(thing, type) else type(thing)).__mro__}


def _name_of(thing: Any) -> str:
    named = thing if isinstance(thing, type) or inspect.isroutine(thing) else type(thing)
    return str(named.__qualname__)
