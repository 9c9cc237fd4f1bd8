"""Find scenarios: the built-in ones, those that other distributions bring, and those in files of one's own.

A file is Python, and has ``Scenario`` objects at its top level, or TOML (see ``_recipe.py``). A distribution names its
scenarios as entry points of the group ``monkeywrench.scenarios``; each is a ``Scenario``, or an iterable of them.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple

from monkeywrench.harness import PlanError
from monkeywrench.harness._errors import meant

from . import SCENARIOS
from ._scenario import Scenario

GROUP = "monkeywrench.scenarios"


class Found(NamedTuple):
    """A scenario, and the word by which the command line finds it again, in any working directory."""

    reference: str
    scenario: Scenario


def all_scenarios() -> tuple[list[Found], list[str]]:
    """Return every scenario that has a name of its own, and one sentence for each that could not be had."""
    found = [Found(name, scenario) for name, scenario in SCENARIOS.items()]
    problems: list[str] = []
    for point in entry_points(group=GROUP):
        try:
            for scenario in _of_entry_point(point):
                if scenario.name in (each.reference for each in found):
                    raise PlanError(f"there is another scenario {scenario.name!r}")
                found.append(Found(scenario.name, scenario))
        except Exception as error:  # it is somebody else's code that runs here
            problems.append(f"left out: scenario {point.name!r} ({point.value}): {type(error).__name__}: {error}")
    return found, problems


def choose(references: Iterable[str], known: Iterable[Found]) -> list[Found]:
    """Return the scenarios that these words name: names, ``file.py``, ``file.py:NAME`` or ``file.toml``.

    Raises PlanError for a word that names none, with what was probably meant.
    """
    by_name = {each.reference: each for each in known}
    chosen: dict[str, Found] = {}
    for reference in dict.fromkeys(references):
        if reference in by_name:
            found = [by_name[reference]]
        elif reference.endswith(".toml"):
            from ._recipe import read_recipe

            found = [Found(os.path.abspath(reference), read_recipe(reference))]
        elif reference.partition(":")[0].endswith(".py"):
            found = _of_file(reference)
        else:
            hint = meant(reference, by_name, " Did you mean {}?")
            raise PlanError(
                f"No scenario is called {reference!r}.{hint} There are: {', '.join(by_name)}; "
                "of your own: file.py, file.py:NAME or file.toml."
            )
        for each in found:
            other = chosen.setdefault(each.scenario.name, each)
            if other.scenario is not each.scenario:
                raise PlanError(f"two scenarios are called {each.scenario.name!r}: {other.reference}, {each.reference}")
    return list(chosen.values())


def _of_entry_point(point: EntryPoint) -> list[Scenario]:
    loaded: Any = point.load()
    found = [loaded] if isinstance(loaded, Scenario) else list(loaded)
    for each in found:
        if not isinstance(each, Scenario):
            raise PlanError(f"{each!r} is no monkeywrench.scenarios.Scenario")
    return found


_files: dict[str, dict[str, Scenario]] = {}


def _of_file(reference: str) -> list[Found]:
    path, _, name = reference.partition(":")
    path = os.path.abspath(path)
    if path not in _files:
        _files[path] = _scenarios_in(path, reference)
    there: dict[str, Found] = {}
    for variable, each in _files[path].items():
        if there.setdefault(each.name, Found(f"{path}:{each.name}", each)).scenario is not each:
            raise PlanError(f"{reference}: two scenarios are called {each.name!r}; one of them is {variable}")
    if not there:
        raise PlanError(
            f"{reference}: there is no monkeywrench.scenarios.Scenario at its top level; a queue's adapter is named "
            f"by --queue {reference if name else reference + ':NAME'}"
        )
    if not name:
        return list(there.values())
    scenario = _files[path].get(name)
    found = there.get(name) or (scenario and there[scenario.name])
    if not found:
        raise PlanError(f"{reference}: no scenario is called {name!r} there; there are: {', '.join(there)}")
    return [found]


def _scenarios_in(path: str, reference: str) -> dict[str, Scenario]:
    """Return the scenarios at the top level of a Python file, by the names of their variables."""
    directory, file = os.path.split(path)
    spec = importlib.util.spec_from_file_location(f"_monkeywrench_scenarios_{file.removesuffix('.py')}", path)
    assert spec is not None, path
    assert spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look for their module there
    if directory not in sys.path:
        sys.path.append(directory)
    try:
        spec.loader.exec_module(module)
    except FileNotFoundError as error:
        raise PlanError(f"{reference}: {error.strerror}: {error.filename}") from None
    except Exception as error:  # it is somebody else's code that runs here
        raise PlanError(f"{reference} cannot be loaded: {type(error).__name__}: {error}") from error
    # What the file merely imports from here is not its own.
    builtin = set(map(id, SCENARIOS.values()))
    return {
        name: value for name, value in vars(module).items() if isinstance(value, Scenario) and id(value) not in builtin
    }
