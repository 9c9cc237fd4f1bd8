"""Write docs/reference.md from the code: ``python docs/make_reference.py``. A test says when it is out of date."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

# What a value is called whose range click would tell otherwise.
_NAMES = {"integer range": "N", "float range": "NUMBER"}
PAGE = Path(__file__).with_name("reference.md")


def reference() -> str:
    """Return the page's text."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    from monkeywrench.harness.adapters import ADAPTERS
    from monkeywrench.harness.checkers import CHECKERS
    from monkeywrench.harness.faults import FAULTS
    from monkeywrench.harness.triggers import TRIGGERS
    from monkeywrench.scenarios import SCENARIOS
    from monkeywrench.scenarios.cli import main

    yield "# Reference"
    yield ""
    yield "<!-- Made from the code by docs/make_reference.py. Change the code, and make it again. -->"
    yield ""
    yield "## Commands"
    yield from _command(main, "monkeywrench")
    yield from _table("Scenarios", ("name", "what befalls whom"), [(s.name, s.sentence) for s in SCENARIOS.values()])
    yield from _table("Queues", ("name", "adapter"), [(name, f"`{place}`") for name, place in ADAPTERS.items()])
    for title, known in (("Faults", FAULTS), ("Triggers", TRIGGERS)):
        rows = [(name, f"{_summary(kind)} {_settings(kind)}".strip()) for name, kind in known.items()]
        yield from _table(title, ("in a plan", "what it does, and its settings"), rows)
    found = [(checker.__name__, _summary(checker)) for checker in CHECKERS]
    yield from _table("Findings", ("kind", "what its checker looks for"), found)
    for name in ("monkeywrench.harness", "monkeywrench.pipes"):
        yield from _module(name)


def _command(command: click.Command, name: str) -> Iterator[str]:
    """Yield a command's section, and those of its subcommands."""
    arguments = [
        f"[{parameter.human_readable_name.upper()}]{'…' if parameter.nargs == -1 else ''}"
        if not parameter.required
        else parameter.human_readable_name.upper()
        for parameter in command.params
        if isinstance(parameter, click.Argument)
    ]
    subcommands = command.commands if isinstance(command, click.Group) else {}
    yield ""
    yield f"### `{' '.join([name, *arguments, *(['COMMAND'] if subcommands else [])])}`"
    for text in (command.help, command.epilog):
        if text:
            yield ""
            yield inspect.cleandoc(text)
    options = [
        each for each in command.params if isinstance(each, click.Option) and each.name not in ("help", "version")
    ]
    if options:
        yield ""
    for option in options:
        value = (
            f" {option.metavar or _NAMES.get(option.type.name, option.type.name.upper())}" if not option.is_flag else ""
        )
        default = f" Default: {option.default}." if option.show_default else ""
        yield f"- `{', '.join([*option.opts, *option.secondary_opts])}{value}`: {option.help}{default}"
    for sub, each in sorted(subcommands.items()):
        yield from _command(each, f"{name} {sub}")


def _table(title: str, head: tuple[str, str], rows: list[tuple[str, str]]) -> Iterator[str]:
    yield from ("", f"## {title}", "", f"| {head[0]} | {head[1]} |", "|---|---|")
    for name, text in rows:
        yield f"| `{name}` | {text.replace('|', chr(92) + '|')} |"


def _module(name: str) -> Iterator[str]:
    yield from ("", f"## `{name}`")
    module = importlib.import_module(name)
    for public in sorted(module.__all__, key=str.lower):
        thing = getattr(module, public)
        if inspect.ismodule(thing) or not callable(thing):
            continue
        yield from ("", f"### `{public}{_signature(thing)}`", "", inspect.getdoc(thing) or "")
        for method, function in sorted(vars(thing).items()) if inspect.isclass(thing) else ():
            if not method.startswith("_") and (function := _function(function)) is not None and function.__doc__:
                yield from ("", f"`{method}{_signature(function)}`: {_summary(function)}")


def _function(attribute: Any) -> Any:
    """Return the function of a method; None for what is none."""
    attribute = attribute.__func__ if isinstance(attribute, classmethod | staticmethod) else attribute
    return attribute if inspect.isfunction(attribute) else None


def _summary(thing: Any) -> str:
    """Return the first paragraph of a docstring in one line."""
    return " ".join((inspect.getdoc(thing) or "").partition("\n\n")[0].split())


def _settings(kind: type) -> str:
    fields = [field.name for field in dataclasses.fields(kind) if field.init]
    return f"({', '.join(f'`{name}`' for name in fields)})" if fields else ""


def _signature(thing: Any) -> str:
    """Return names and defaults: how types are written differs from Python to Python."""
    if inspect.isclass(thing) and issubclass(thing, BaseException):
        return ""
    shown = []
    star = False
    for name, parameter in inspect.signature(thing).parameters.items():
        if name in ("self", "cls"):
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and not star:
            shown.append("*")
        star = star or parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_POSITIONAL)
        prefix = {parameter.VAR_POSITIONAL: "*", parameter.VAR_KEYWORD: "**"}.get(parameter.kind, "")
        simple = parameter.default is None or isinstance(parameter.default, int | float | str)
        value = repr(parameter.default) if simple else "…"
        shown.append(f"{prefix}{name}" + ("" if parameter.default is parameter.empty else f"={value}"))
    return f"({', '.join(shown)})"


if __name__ == "__main__":
    PAGE.write_text(reference(), encoding="utf-8")
    sys.stdout.write(f"{PAGE} is current\n")
