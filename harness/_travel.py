"""How an adapter or a function gets from a test module to the peers: by value, with cloudpickle."""

from __future__ import annotations

import inspect
import io
import os
import sys
import threading
from collections import ChainMap
from collections.abc import Callable, Iterable
from types import BuiltinFunctionType, CodeType, ModuleType
from typing import Any, ClassVar, NamedTuple

import cloudpickle

from ._errors import PlanError
from ._imports import imports, modules_of, named_in
from .adapters import importable


class Parcel(NamedTuple):
    """What travels.

    data: bytes that ``pickle.loads`` makes into the same tuple in a fresh interpreter.
    imports: the names of the modules that are best imported before they come to many.
    places: directories that are to be looked in last for modules: what travels by value may import what lies beside it.
    """

    data: bytes
    imports: tuple[str, ...]
    places: tuple[str, ...]


def parcel(*things: Any) -> Parcel:
    """Return *things*, ready to travel.

    What is defined in a module that a fresh interpreter would not find (a test module, a ``conftest.py``) travels by
    value; so do the modules of its base classes, and of whatever it uses. Of such a module nothing else is needed: it
    imports pytest, and what it sends seldom uses that.
    """
    used = modules_of(things)
    strangers = _strangers(used)
    try:
        while True:
            data = _pickled(things, strangers.values())
            used |= named_in(data)
            more = _strangers(used - strangers.keys())
            if not more:
                break
            strangers |= more
    except Exception as error:  # whatever the pickling of somebody else's object raises
        raise PlanError(
            f"{_name_of(things[0])} cannot travel to the peers: {error}. What belongs to one process (a connection, a "
            "lock, a file) is made in the peer (an adapter's make() or open(), the function itself), not before"
        ) from error
    places = dict.fromkeys(filter(None, map(_place_of, strangers.values())))
    return Parcel(data, imports(used - strangers.keys() - {"__main__"}), tuple(places))


def _place_of(module: ModuleType) -> str | None:
    """Return the directory in which the package of a module is, or None if it is in none."""
    *packages, _ = module.__name__.split(".")
    file = getattr(module, "__file__", None)
    if not packages or file is None:
        return None
    place: str = os.path.dirname(os.path.abspath(file))
    for package in reversed(packages):
        place, name = os.path.split(place)
        if name != package:
            return None
    return place


def _strangers(names: Iterable[str]) -> dict[str, ModuleType]:
    """Return the modules of these names that a fresh interpreter would not find. The main one travels by itself."""
    modules = {name: module for name in names if (module := sys.modules.get(name)) is not None and name != "__main__"}
    return {name: module for name, module in modules.items() if not importable(module)}


def _pickled(thing: Any, modules: Iterable[ModuleType]) -> bytes:
    """Return *thing* as bytes, with all that is defined in these modules by value."""
    with _registering:
        theirs = cloudpickle.list_registry_pickle_by_value()
        ours = [module for module in modules if module.__name__ not in theirs]
        for module in ours:
            cloudpickle.register_pickle_by_value(module)
        try:
            data = io.BytesIO()
            _Pickler(data).dump(thing)
            return data.getvalue()
        finally:
            for module in ours:
                cloudpickle.unregister_pickle_by_value(module)


def _forked() -> None:
    global _registering
    _registering = threading.Lock()


# What travels by value is registered for the whole process, and any of its threads may send something.
_registering = threading.Lock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


def _reduce_code(code: CodeType) -> tuple[Any, ...]:
    """Pickle code with the name of its file, which cloudpickle leaves out: stacks and tracebacks name it."""
    make, args, *_ = cloudpickle.Pickler.dispatch_table[CodeType](code)
    return _code_of, (code.co_filename, make, args)


def _code_of(file: str, make: Callable[..., CodeType], args: tuple[Any, ...]) -> CodeType:
    return make(*args).replace(co_filename=file)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle ships no types
    dispatch_table: ClassVar = ChainMap({CodeType: _reduce_code}, cloudpickle.Pickler.dispatch_table)

    def reducer_override(self, thing: Any) -> Any:
        if isinstance(thing, BuiltinFunctionType) and vars(os).get(name := thing.__name__) is thing:
            # It would go by the name of the module that os has it from, and come past the gate.
            return getattr, (os, name)
        return super().reducer_override(thing)


def _name_of(thing: Any) -> str:
    named = thing if isinstance(thing, type) or inspect.isroutine(thing) else type(thing)
    return str(named.__qualname__)
