"""The built-in queue beside its peers: every one in every shape, in turn, round after round."""

from __future__ import annotations

import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

import click
from rich.table import Table

from ._contenders import BASELINE, CONTENDERS, Contender
from ._measure import SHAPES, Shape
from ._terminal import console_of, progress_on

_LONGEST_S = 120


@dataclass(slots=True)
class Series:
    """One queue in one shape: messages a second, one figure a round; or why there are none."""

    contender: str
    shape: str
    rates: list[float] = field(default_factory=list)
    reason: str | None = None


def run_bench(shapes: Sequence[str], *, rounds: int, as_json: bool, no_color: bool) -> int:
    """Time every installed queue in these shapes, show the medians, and return the exit status."""
    console = console_of(no_color=no_color, stderr=as_json)
    series = [_series(contender, shape) for shape in shapes for contender in CONTENDERS]
    todo = [each for each in series if each.reason is None]
    with progress_on(console) as progress:
        task = progress.add_task("", total=rounds * len(todo))
        for _ in range(rounds):
            # All in turn within a round, so that what slows the machine down for a while slows all of them down.
            for each in todo:
                progress.update(task, description=f"{each.shape}: {each.contender}")
                if each.reason is None:
                    _time(each)
                progress.advance(task)
    if as_json:
        click.echo(json.dumps(_document(series, rounds), indent=2))
    else:
        for shape in shapes:
            console.print(_table(shape, [each for each in series if each.shape == shape]))
            console.print()
        for reason in dict.fromkeys(f"{each.contender}: {each.reason}" for each in series if each.reason):
            console.print(f"skipped {reason}", highlight=False, markup=False)
        times = "one round" if rounds == 1 else f"medians of {rounds} rounds"
        console.print(f"{times}, Python {platform.python_version()}, {platform.system()}", highlight=False)
    return 0


def _series(contender: type[Contender], name: str) -> Series:
    shape = SHAPES[name]
    reason = contender.missing()
    if reason is None and not contender.many and shape.producers + shape.consumers > 2:
        reason = "it has one producer and one consumer"
    return Series(contender.name, name, reason=reason)


def _time(series: Series) -> None:
    """Add one figure to the series, or the reason why there will be none."""
    command = [sys.executable, "-m", "monkeywrench.scenarios._measure", series.contender, series.shape]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LONGEST_S, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        series.reason = f"it took more than {_LONGEST_S} s in {series.shape!r}"
        return
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["no word"]
        series.reason = f"it failed in {series.shape!r}: {last[0]}"
        return
    series.rates.append(float(done.stdout))


def _ratios(series: Series, all_series: Sequence[Series]) -> list[float]:
    """Return the ratios to the baseline, round by round; empty where either has no figure."""
    base = next((each for each in all_series if each.shape == series.shape and each.contender == BASELINE), None)
    if base is None or base.reason or series.reason:
        return []
    return [rate / other for rate, other in zip(series.rates, base.rates, strict=True)]


def _table(name: str, series: Sequence[Series]) -> Table:
    shape = SHAPES[name]
    table = Table(
        title=f"{name}: {shape.sentence}", title_justify="left", box=None, pad_edge=False, header_style="bold"
    )
    table.add_column("queue")
    for header in (_unit(shape), "min", "max", f"× {BASELINE.rpartition('.')[2]}"):
        table.add_column(header, justify="right")
    for each in series:
        if each.reason is not None:
            continue
        rates = [_scaled(rate, shape) for rate in each.rates]
        ratios = _ratios(each, series)
        ratio = f"{statistics.median(ratios):.2f}" if ratios else "–"
        table.add_row(
            each.contender, *(f"{rate:,.0f}" for rate in (statistics.median(rates), min(rates), max(rates))), ratio
        )
    return table


def _unit(shape: Shape) -> str:
    return "MB/s" if shape.payload_bytes else "round trips/s" if shape.trip else "messages/s"


def _scaled(rate: float, shape: Shape) -> float:
    return rate * shape.payload_bytes / 1e6 if shape.payload_bytes else rate


def _document(series: Sequence[Series], rounds: int) -> dict[str, object]:
    return {
        "rounds": rounds,
        "python": platform.python_version(),
        "system": platform.platform(),
        "baseline": BASELINE,
        "series": [
            {
                "queue": each.contender,
                "shape": each.shape,
                "messages_per_s": each.rates,
                "median": statistics.median(each.rates) if each.rates and not each.reason else None,
                "ratio": statistics.median(ratios) if (ratios := _ratios(each, series)) else None,
                "skipped": each.reason,
            }
            for each in series
        ],
    }
