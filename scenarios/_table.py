"""The matrix as a table: in a terminal, as Markdown, and as a page. Where it is too wide, it is several."""

from __future__ import annotations

import html
import itertools
import platform
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote

from monkeywrench.harness.verdict import VALID
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ._cells import HARNESS_FAILED, NOT_RUN, Cell
from ._queues import short_names
from ._show import STYLE

_STYLE = STYLE | {HARNESS_FAILED: "bold magenta", NOT_RUN: "dim"}
_LEGEND = "~ rests on timing, and may differ from run to run; the others are the same for the same seed"
_MOST_EVIDENCE = 3
_WIDEST = 10_000
# A page on the web is about as wide as this many queues; a terminal has as many as go in, but not fewer than this.
_MOST_COLUMNS, _FEWEST_COLUMNS = 6, 3


def show(console: Console, cells: Sequence[Cell], queues: Sequence[str]) -> None:
    """Print the table, or as few as are narrow enough; or a block for each queue. Then what is behind the cells."""
    short = short_names(queues)
    whole = console.options.update_width(_WIDEST)
    for most in range(len(queues), min(_FEWEST_COLUMNS, len(queues)) - 1, -1):
        tables = [_table(cells, part, short) for part in _parts(queues, most)]
        if all(console.measure(table, options=whole).maximum <= console.width for table in tables):
            break
    else:
        tables = []
    for number, table in enumerate(tables):
        console.print(*([""] if number else []), table, sep="\n")
    if not tables:
        _show_blocks(console, cells, short)
    console.print()
    console.print(_LEGEND, highlight=False, markup=False)
    for line in _notes(cells):
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def markdown_of(cells: Sequence[Cell], queues: Sequence[str], seed: int) -> str:
    """Return the table, or several, as Markdown; and what is behind the cells."""
    short = short_names(queues)
    lines = []
    for part in _parts(queues, _MOST_COLUMNS):
        lines.append(f"| scenario | {' | '.join(_cell(_heading(short[queue], '<br>')) for queue in part)} |")
        lines.append(f"|---|{'---|' * len(part)}")
        for scenario, row in _rows(cells, part):
            lines.append(f"| {scenario} | {' | '.join(_cell(cell.text) for cell in row)} |")
        lines.append("")
    lines += [f"{_cell(_LEGEND)} (seed {seed}, Python {platform.python_version()}).", ""]
    notes = "\n".join(_notes(cells)).strip()
    return "\n".join([*lines, "```text", notes.replace("```", "'''"), "```"] if notes else lines)


def page_of(cells: Sequence[Cell], queues: Sequence[str], seed: int, reports: Mapping[str, str]) -> str:
    """Return the table as a page of HTML, where each cell opens on what is behind it.

    reports: where the report of a queue is, for those that have one.
    """
    head = ""
    for queue, name in short_names(queues).items():
        text = html.escape(name)
        link = f'<a href="{html.escape(quote(reports[queue]))}">{text}</a>' if queue in reports else text
        head += f"<th>{link}</th>"
    body = ""
    for scenario, row in _rows(cells, queues):
        body += f"<tr><th>{html.escape(scenario)}</th>"
        for cell in row:
            told = html.escape("\n\n".join(cell.evidence))
            text = html.escape(cell.text)
            inner = f"<details><summary>{text}</summary><pre>{told}</pre></details>" if told else text
            body += f'<td class="{cell.status.replace(" ", "-")}">{inner}</td>'
        body += "</tr>\n"
    return f"""<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>monkeywrench matrix</title>
<style>
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 2em; color-scheme: light dark }}
table {{ border-collapse: collapse }} th, td {{ padding: .3em .7em; text-align: left; vertical-align: top }}
tr {{ border-bottom: 1px solid #8884 }} pre {{ white-space: pre-wrap; max-width: 40em }}
.valid {{ color: #2a7 }} .invalid {{ color: #d44; font-weight: bold }} .unknown {{ color: #b80 }}
.not-applicable, .not-run {{ color: #888 }} .harness-failed {{ color: #a4a; font-weight: bold }}
</style>
<h1>Who survives what</h1>
<p>Seed {seed}. {html.escape(_LEGEND)}.</p>
<table><thead><tr><th>scenario</th>{head}</tr></thead><tbody>
{body}</tbody></table></html>
"""


def _parts(queues: Sequence[str], most: int) -> list[Sequence[str]]:
    """Return the queues in as few parts as have no more than so many, each about as long."""
    count = -(-len(queues) // most)
    bounds = [len(queues) * part // count for part in range(count + 1)]
    return [queues[begin:end] for begin, end in itertools.pairwise(bounds)]


def _heading(name: str, line_break: str) -> str:
    """Return a queue's name for the head of a column: in two lines, if it has a module's."""
    module, dot, rest = name.partition(".")
    return f"{module}.{line_break}{rest}" if dot and not set(name) & set("/:") else name


def _rows(cells: Sequence[Cell], queues: Sequence[str]) -> Iterator[tuple[str, list[Cell]]]:
    by_place = {(cell.scenario, cell.queue): cell for cell in cells}
    for scenario in dict.fromkeys(cell.scenario for cell in cells):
        yield scenario, [by_place[scenario, queue] for queue in queues]


def _table(cells: Sequence[Cell], queues: Sequence[str], short: dict[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("scenario")
    for queue in queues:
        table.add_column(escape(_heading(short[queue], "\n")))
    for scenario, row in _rows(cells, queues):
        table.add_row(escape(scenario), *map(_coloured, row))
    return table


def _show_blocks(console: Console, cells: Sequence[Cell], short: dict[str, str]) -> None:
    longest = max(len(cell.scenario) for cell in cells)
    for queue, name in short.items():
        console.print(name, style="bold", highlight=False, markup=False, soft_wrap=True)
        for cell in cells:
            if cell.queue == queue:
                row = f"  {escape(cell.scenario):{longest}}  {_coloured(cell)}"
                console.print(row, highlight=False, soft_wrap=True)


def _coloured(cell: Cell) -> str:
    return f"[{_STYLE[cell.status]}]{escape(cell.text)}[/]"


def _notes(cells: Sequence[Cell]) -> Iterator[str]:
    """Yield what is behind each cell that has not simply survived."""
    for queue in dict.fromkeys(cell.queue for cell in cells if cell.missing):
        missing = next(cell.missing for cell in cells if cell.queue == queue)
        yield f"\nn/a: {queue}: {missing}"
    for cell in cells:
        if cell.status in (VALID, NOT_RUN) or cell.missing:
            continue
        yield f"\n{cell.scenario} on {cell.queue}: {cell.text}"
        for told in cell.evidence[:_MOST_EVIDENCE]:
            yield from (f"  {line}" for line in told.splitlines())
        if len(cell.evidence) > _MOST_EVIDENCE:
            yield f"  … and {len(cell.evidence) - _MOST_EVIDENCE} more"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("~", "\\~")
