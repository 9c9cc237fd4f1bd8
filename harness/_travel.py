"""How an adapter gets from a test module to the peers: by value, with cloudpickle."""

from __future__ import annotations

import sys
from typing import Any

import cloudpickle

from ._errors import PlanError
from .adapters import importable


def dumps(thing: Any) -> bytes:
    """Return *thing* as bytes that ``pickle.loads`` makes into the same in a fresh interpreter.

    What is defined in a module that a fresh interpreter would not find (a test module, a ``conftest.py``) travels by
    value; so do the modules of its base classes.
    """
    kind = thing if isinstance(thing, type) else type(thing)
    modules = {sys.modules[name] for name in {base.__module__ for base in kind.__mro__} if name in sys.modules}
    strangers = [module for module in modules if module.__name__ != "__main__" and not importable(module)]
    for module in strangers:
        cloudpickle.register_pickle_by_value(module)
    try:
        data: bytes = cloudpickle.dumps(thing)
        return data
    except Exception as error:  # whatever the pickling of somebody else's object raises
        raise PlanError(
            f"{kind.__qualname__} cannot travel to the peers: {error}. What belongs to one process (a connection, "
            "a lock, a file) is made in the adapter's make() or open(), not before"
        ) from error
    finally:
        for module in strangers:
            cloudpickle.unregister_pickle_by_value(module)
