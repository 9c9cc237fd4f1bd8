"""Scenarios as TOML, where they only put together what is there::

    sentence = "A producer is cut off, and its successor too."
    producers = 2                          # or {default = 2, least = 1, most = 10}

    [[case]]
    name = "early"
    large_every = 0
    [[case.fault]]
    fault = "kill"
    peer = "producer-0"
    at = "write(draw(1, messages), byte=3)"
    replace = true

Faults and their settings are those of a plan's JSON. A trigger is written as in Python, and ``draw(least, most)``
draws a whole number in it; ``producers``, ``consumers`` and ``messages`` are the trial's own.
"""

from __future__ import annotations

import ast
import random
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from monkeywrench.harness import PlanError, faults, triggers
from monkeywrench.harness._errors import check_keys, meant
from monkeywrench.harness.faults import Fault

from ._scenario import Case, Range, Scenario, Sizes

_TRIGGERS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        triggers.start,
        triggers.messages,
        triggers.message,
        triggers.read,
        triggers.write,
        triggers.call,
        triggers.every,
        triggers.rate,
        triggers.elapsed,
        triggers.blocked,
    )
}
# All but what breaks nothing.
_FAULTS = [name for name in faults.FAULTS if name not in (faults.Census.name, faults.Noop.name)]
_QUESTION = " did you mean {}?"
_PARAMETERS = Sizes._fields
_OF_SCENARIO = ("name", "sentence", "expects", *_PARAMETERS, "trials", "seconds", "case")
_OF_CASE = ("name", *_PARAMETERS, "large_every", "fault")


def read_recipe(path: str) -> Scenario:
    """Return the scenario in a TOML file. Raises PlanError that names the file, and what is wrong in it."""
    try:
        return _scenario(tomllib.loads(Path(path).read_text(encoding="utf-8")), Path(path).stem)
    except OSError as error:
        raise PlanError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"{path}: not TOML: {error}") from None
    except PlanError as error:
        raise PlanError(f"{path}: {error}") from None


def _scenario(fields: dict[str, Any], stem: str) -> Scenario:
    _only(fields, _OF_SCENARIO, "a scenario")
    if not isinstance(fields.get("sentence"), str):
        raise PlanError(f"sentence={fields.get('sentence')!r}: one sentence is needed, that says what befalls whom")
    cases = fields.get("case")
    if not isinstance(cases, list) or not cases:
        raise PlanError("no [[case]]: a scenario has one at least")
    for number, case in enumerate(cases, start=1):
        _only(case, _OF_CASE, f"case {number}")
        if not isinstance(case.get("name"), str):
            raise PlanError(f"name={case.get('name')!r}: case {number} needs a name, a text")

    def draw_cases(draw: random.Random, sizes: Sizes) -> Iterator[Case]:
        for case in cases:
            own = {key: value for key, value in case.items() if key not in ("name", "fault")}
            here = sizes._replace(**{key: value for key, value in own.items() if key in _PARAMETERS})
            try:
                struck = tuple(_fault(fault, draw, here) for fault in case.get("fault", ()))
            except PlanError as error:
                raise PlanError(f"case {case['name']!r}: {error}") from None
            yield Case(case["name"], {**own, "faults": struck})

    given: dict[str, Any] = {name: _range(name, fields[name]) for name in _PARAMETERS if name in fields}
    for name, kind in (("trials", int), ("seconds", (int, float)), ("name", str), ("expects", str)):
        if name in fields and (not isinstance(fields[name], kind) or isinstance(fields[name], bool)):
            raise PlanError(f"{name}={fields[name]!r}: not what a scenario's {name} is")
    scenario = Scenario(
        name=fields.get("name", stem),
        sentence=fields["sentence"],
        expects=fields.get("expects", "The queue keeps its guarantees."),
        cases=draw_cases,
        trials=fields.get("trials"),
        seconds=float(fields.get("seconds", 60.0)),
        **given,
    )
    # What is wrong with a fault is told now, and not in the middle of a run.
    for case in draw_cases(random.Random(0), scenario.sizes()):
        assert case
    return scenario


def _range(name: str, value: Any) -> Range:
    if type(value) is int and value >= 1:
        return Range(value, most=max(value, Range(1).most))
    known = isinstance(value, dict) and value.keys() <= {"default", "least", "most"} and "default" in value
    if known and all(type(each) is int for each in value.values()):
        return Range(**value)
    raise PlanError(f"{name}={value!r}: a whole number from 1, or {{default = 2, least = 1, most = 10}}")


def _fault(fields: Any, draw: random.Random, sizes: Sizes) -> Fault:
    if not isinstance(fields, dict):
        raise PlanError(f"fault={fields!r}: a table is expected, [[case.fault]]")
    name = fields.get("fault")
    if not isinstance(name, str) or name not in faults.FAULTS:
        raise PlanError(f"fault={name!r}:{meant(str(name), _FAULTS, _QUESTION)} one of {', '.join(_FAULTS)} is allowed")
    settings = dict(fields)
    if "at" in settings:
        settings["at"] = triggers.to_json(_trigger(settings["at"], draw, sizes))
    return faults.from_json(settings)


def _trigger(text: Any, draw: random.Random, sizes: Sizes) -> Any:
    """Return the trigger that a text such as ``write(draw(1, messages), byte=3)`` means."""
    allowed = f"one of {', '.join(f'{name}(…)' for name in _TRIGGERS)} is allowed"
    try:
        call = ast.parse(text, mode="eval").body
    except SyntaxError as error:
        place = f", character {error.offset}" if error.offset else ""
        raise PlanError(f"at={text!r}: cannot be read: {error.msg}{place}. Such as: write(draw(1, messages))") from None
    except (TypeError, ValueError):
        raise PlanError(f"at={text!r}: {allowed}") from None
    name = call.func.id if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) else ""
    if not isinstance(call, ast.Call) or name not in _TRIGGERS:
        raise PlanError(f"at={text!r}:{meant(name, _TRIGGERS, _QUESTION)} {allowed}")

    def value(node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=constant):
                return constant
            case ast.Name(id=name) if name in _PARAMETERS:
                return getattr(sizes, name)
            case ast.Call(func=ast.Name(id="draw"), args=[least, most], keywords=[]):
                bounds = value(least), value(most)
                if all(type(each) is int for each in bounds) and bounds[0] <= bounds[1]:
                    return draw.randint(*bounds)
                raise PlanError(f"at={text!r}: draw(least, most) takes two whole numbers, the smaller one first")
            case _:
                raise PlanError(
                    f"at={text!r}: {ast.unparse(node)}: a constant, draw(least, most), "
                    f"{', '.join(_PARAMETERS)} are allowed"
                )

    try:
        return _TRIGGERS[name](
            *map(value, call.args), **{keyword.arg or "**": value(keyword.value) for keyword in call.keywords}
        )
    except TypeError as error:
        raise PlanError(f"at={text!r}: {error}") from None


def _only(fields: Any, allowed: tuple[str, ...], what: str) -> None:
    if not isinstance(fields, dict):
        raise PlanError(f"{fields!r}: a table is expected of {what}")
    check_keys(fields, allowed, what)
