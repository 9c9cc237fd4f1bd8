"""The queues that the harness knows, by name, and how to find those that it does not.

An adapter is imported when it is asked for and no sooner: a queue that is not installed costs nobody anything. Nor does
what looks at installed distributions, which takes longer to import than all the rest.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import os
import sys
import sysconfig
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NamedTuple

from .._errors import PlanError, meant
from ._adapter import Adapter


class Known(NamedTuple):
    """Where an adapter is, as ``module:object``, and the extra of this distribution that brings its library, if any."""

    place: str
    extra: str | None = None


# The one list of adapters: the name which a plan and the command line call a queue by, and where its adapter is.
ADAPTERS: dict[str, Known] = {
    "pipes.SimplePipeQueue": Known(f"{__name__}.pipes:SimplePipeQueueAdapter"),
    "pipes.PipeQueue": Known(f"{__name__}.pipes_asyncio:PipeQueueAdapter"),
    "multiprocessing.Queue": Known(f"{__name__}.multiprocessing:QueueAdapter"),
    "multiprocessing.SimpleQueue": Known(f"{__name__}.multiprocessing:SimpleQueueAdapter"),
    "multiprocessing.Pipe": Known(f"{__name__}.multiprocessing:PipeAdapter"),
    "faster-fifo": Known(f"{__name__}.faster_fifo:FasterFifoAdapter", "faster-fifo"),
    "zeromq.Broker": Known(f"{__name__}.zeromq:BrokerAdapter", "zeromq"),
    "zeromq.PushPull": Known(f"{__name__}.zeromq:PushPullAdapter", "zeromq"),
    "persist-queue": Known(f"{__name__}.persist_queue:PersistQueueAdapter", "persist-queue"),
    "turberfield.SimplePipeQueue": Known(f"{__name__}.turberfield:SimplePipeQueueAdapter", "turberfield"),
    "turberfield.PipeQueue": Known(f"{__name__}.turberfield:PipeQueueAdapter", "turberfield"),
    "naive.JsonLines": Known(f"{__name__}.naive:JsonLinesAdapter"),
}
DEFAULT = "pipes.SimplePipeQueue"
ENTRY_POINTS = "monkeywrench.adapters"
"""The group of entry points by which another distribution adds its own adapters to the list."""
_QUESTION = "; did you mean {}?"
# What is in there is found by its name, in any process of this Python.
_INSTALLED = tuple({sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib")})


def load(reference: str) -> Adapter:
    """Return the adapter that *reference* names.

    reference: a name out of ``known()``; or ``module:object``; or ``path/to/file.py:object``, an absolute path or one
        relative to the working directory. The object is an Adapter, or a class or function that makes one.

    Raises PlanError for a name that is not known, and for one which cannot be imported, with the reason: for a
    library that is not installed, the extra which brings it.
    """
    place, extra = _where(reference)
    where, separator, name = place.rpartition(":")
    if reference.endswith(".py"):
        raise PlanError(f"queue {reference!r}: which object of that file? Say {reference}:NAME")
    if not separator or not where or not name:
        names = known()
        raise PlanError(
            f"no queue is called {reference!r}{meant(reference, names, _QUESTION)} (known: {', '.join(names)}; "
            "your own: 'module:object' or 'file.py:object')"
        )
    try:
        found: Any = _from_file(where) if where.endswith(".py") else importlib.import_module(where)
        for part in name.split("."):
            if not hasattr(found, part):
                raise PlanError(f"queue {reference!r}: {where} has no {name!r}{_hint(found, part)}")
            found = getattr(found, part)
        if isinstance(found, type) and not issubclass(found, Adapter):
            raise PlanError(f"queue {reference!r}: {name} is no monkeywrench.harness.Adapter")
        made = found() if callable(found) and not isinstance(found, Adapter) else found
    except PlanError:
        raise
    except ImportError as error:
        if extra is None:
            raise PlanError(f"queue {reference!r} cannot be loaded: {type(error).__name__}: {error}") from error
        raise PlanError(f"queue {reference!r} needs an extra: pip install 'monkeywrench[{extra}]' ({error})") from error
    except Exception as error:  # it is somebody else's code that runs here
        raise PlanError(f"queue {reference!r} cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(made, Adapter):
        raise PlanError(f"queue {reference!r}: {made!r} is no monkeywrench.harness.Adapter")
    return made


def _hint(where: object, name: str) -> str:
    """Return what else may have been meant, if there is an adapter at all."""
    there = {each for each, value in tuple(getattr(where, "__dict__", {}).items()) if _is_adapter(value)}
    if not there:
        return ""
    return meant(name, there, _QUESTION) or f"; its adapters: {', '.join(sorted(there))}"


def _is_adapter(value: Any) -> bool:
    kind = type(value)  # a proxy that is asked what it is may raise
    return issubclass(kind, Adapter) or (issubclass(kind, type) and issubclass(value, Adapter) and value is not Adapter)


def made(queue: object, what: str = "queue") -> Adapter:
    """Return the adapter that *queue* is: an adapter, its class, or what ``load`` takes.

    what: what an error calls it.

    Raises PlanError for anything else, and as ``load`` does.
    """
    if isinstance(queue, str):
        return load(queue)
    if isinstance(queue, type) and issubclass(queue, Adapter):
        queue = queue()
    if not isinstance(queue, Adapter):
        raise PlanError(f"{what}={queue!r}: an adapter is allowed, its class, or the name of one")
    return queue


def known() -> dict[str, Known]:
    """Return the queues that have a name: those of ``ADAPTERS``, then those that other distributions bring.

    Nothing is imported. A name of ``ADAPTERS`` stays what it is, whoever else claims it; of two others that claim one,
    the first on ``sys.path`` has it.
    """
    from importlib import metadata

    found = dict(ADAPTERS)
    for each in metadata.entry_points(group=ENTRY_POINTS):
        found.setdefault(each.name, Known(each.value))
    return found


def missing(name: str) -> str | None:
    """Return why the queue of this name cannot be used here, and what to do, or None if it can. Imports its library.

    Raises PlanError for a name that is not among ``known()``.
    """
    try:
        load(name)
    except PlanError as error:
        if name not in known():
            raise
        return str(error).removeprefix(f"queue {name!r}").lstrip(": ")
    return None


def absolute(reference: str) -> str:
    """Return the same reference, good in any working directory."""
    where, _, name = reference.rpartition(":")
    return f"{os.path.abspath(where)}:{name}" if where.endswith(".py") else reference


def reference_of(adapter: Adapter) -> str:
    """Return the text by which ``load`` finds an adapter of this kind again, in whatever directory."""
    kind = type(adapter)
    place = f"{kind.__module__}:{kind.__qualname__}"
    for name, each in ADAPTERS.items():
        if each.place == place:
            return name
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    if file is None or any(file.startswith(path + os.sep) for path in _INSTALLED):
        return place
    return f"{os.path.abspath(file)}:{kind.__qualname__}"


def is_found_again(adapter: Adapter) -> bool:
    """Whether ``load`` makes the same adapter again, from the text that ``reference_of`` returns."""
    kind = type(adapter)
    try:
        return "<locals>" not in kind.__qualname__ and vars(kind()) == vars(adapter)
    except Exception:  # somebody else's constructor, which wants arguments
        return False


def importable(module: ModuleType) -> bool:
    """Whether a fresh interpreter with the same ``sys.path`` would find this module under its name.

    pytest, for one, can load test modules under names by which nobody else finds them.
    """
    file = getattr(module, "__file__", None)
    if file is None:
        return module.__name__ != "__main__"
    return _is_found_in(module.__name__, file, tuple(sys.path))


@functools.cache  # once, and not for each trial
def _is_found_in(module: str, file: str, _path: tuple[str, ...]) -> bool:
    """Whether the module of this name is found in this file."""
    # Asked of the finders one by one: importlib.util.find_spec would answer with what is loaded here already.
    spec: ModuleSpec | None = None
    name = ""
    for part in module.split("."):
        name = f"{name}.{part}" if name else part
        path = spec.submodule_search_locations if spec else None
        finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path)
        found = (find_spec(name, path, None) for find_spec in finders if find_spec is not None)
        spec = next((each for each in found if each is not None), None)
        if spec is None:
            return False
    if spec is None or spec.origin is None:
        return False
    # Modules of the standard library can be frozen, and have a file all the same.
    return spec.origin == "frozen" or os.path.realpath(spec.origin) == os.path.realpath(file)


def _where(reference: str) -> Known:
    if reference in ADAPTERS:
        return ADAPTERS[reference]
    # No distribution needs to be looked at for what says itself where it is.
    return Known(reference) if ":" in reference else known().get(reference, Known(reference))


def _from_file(path: str) -> ModuleType:
    """Return the module in a file, which finds its neighbours as if it had been imported by its name."""
    path = os.path.abspath(path)
    directory, name = os.path.split(path.removesuffix(".py"))
    while os.path.exists(os.path.join(directory, "__init__.py")):
        directory, package = os.path.split(directory)
        name = f"{package}.{name}"
    if directory not in sys.path:
        sys.path.append(directory)
    loaded = sys.modules.get(name)
    if loaded is None and (spec := importlib.util.find_spec(name)) is not None and spec.origin == path:
        return importlib.import_module(name)
    if loaded is not None and getattr(loaded, "__file__", None) == path:
        return loaded
    # Another module has the name already; this one gets one of its own.
    spec = importlib.util.spec_from_file_location(f"_monkeywrench_{name.replace('.', '_')}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


__all__ = [
    "ADAPTERS",
    "DEFAULT",
    "ENTRY_POINTS",
    "Adapter",
    "Known",
    "absolute",
    "importable",
    "is_found_again",
    "known",
    "load",
    "made",
    "missing",
    "reference_of",
]
