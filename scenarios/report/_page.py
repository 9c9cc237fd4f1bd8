"""The page: one file that needs nothing else. What it says is HTML, what it draws is data that the script reads when a
trial is opened, so that a page of many trials opens as fast as a page of one.
"""

from __future__ import annotations

import json
import platform
import re
import shlex
import textwrap
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from typing import IO

from monkeywrench.harness.checkers import Finding
from monkeywrench.harness.verdict import RANK, Verdict

from .._result import Result
from ._bins import QUANTILES
from ._files import BEGINNINGS, HISTORY, PAGE, PLAN
from ._summary import MOST_EVENTS, Detail, Summary

NOT_APPLICABLE, FAILED = "n/a", "failed"
_ORDER = (*reversed(RANK), FAILED, NOT_APPLICABLE)
# For the whole page: puts and gets that are drawn, and steps of time.
_ALL_OPS, _ALL_BINS = 40_000, 20_000
_MOST_FINDINGS = 50
# Each uses what those before it define.
_SCRIPTS = ("common.js", "trial.js", "lanes.js", "charts.js", "page.js")


class Page:
    """Writes the page to an open file: its head at once, then trial after trial, and its end in ``finish``."""

    def __init__(self, file: IO[str], results: Sequence[Result]) -> None:
        self._file = file
        self._added = 0
        self._drawn = False
        ran = max(1, sum(result.verdict is not None for result in results))
        self._ops = min(2000, max(60, _ALL_OPS // ran))
        self._bins = min(400, max(60, _ALL_BINS // ran))
        file.write(BEGINNINGS[PAGE])
        file.writelines(_head(results))

    def summary(self, verdict: Verdict) -> Summary:
        """Return what sums up a trial for ``add``; the more trials, the less of each."""
        # What is valid needs half of it; what is stuck is so for most of the time, and all else happens in a moment.
        much = 1 if verdict.valid else 2
        ops = self._ops * much
        return Summary(verdict, Detail(self._bins * much, ops, around=min(120, ops)))

    def add(self, result: Result, summary: Summary | None = None, directory: str = "") -> None:
        """Write the next trial.

        summary: of all of its events; None if it did not run.
        directory: where its files are, relative to the page's.
        """
        self._added += 1
        number = self._added
        self._file.write(f'<article id="trial-{number}" aria-labelledby="title-{number}">\n')
        self._file.writelines(_heading(result, number))
        if result.verdict is not None and summary is not None:
            self._file.writelines(_facts(result.verdict, summary))
            self._file.write(f'<p class="files">{_link(f"{directory}/{PLAN}")} {_link(f"{directory}/{HISTORY}")}</p>\n')
            self._file.writelines(_told(result.verdict, summary))
            if summary.events:
                self._drawn = True
                self._file.write('<div class="charts"></div>\n')
                self._file.write(f'<script type="application/json">{_data(summary)}</script>\n')
            else:  # a long run keeps no more in mind than it has to
                self._file.write(f"<p>What it did, event by event, is in {HISTORY}; it is not drawn here.</p>\n")
        self._file.write("</article>\n")

    def finish(self) -> None:
        """Write the end of the page: what draws it, and the library that draws the charts, if it is installed."""
        self._file.write("</main>\n")
        for name in _SCRIPTS:
            self._file.write(f"<script>{_resource(name)}</script>\n")
        if self._drawn:
            self._file.write(f"<script>{_plotly()}</script>\n")
        self._file.write("</body>\n</html>\n")


def status_of(result: Result) -> str:
    """Return the one word for a trial: its verdict's, or why there is none."""
    if result.verdict is not None:
        return result.verdict.status
    return FAILED if result.not_applicable is None else NOT_APPLICABLE


def _head(results: Sequence[Result]) -> Iterator[str]:
    counts = Counter(status_of(result) for result in results)
    said = ", ".join(f"{counts[status]} {status}" for status in _ORDER if counts[status]) or "none"
    trials = "1 trial" if len(results) == 1 else f"{len(results):,} trials"
    queues = ", ".join(dict.fromkeys(result.plan.queue for result in results)) or "no queue"
    worst = next((status for status in _ORDER if counts[status]), NOT_APPLICABLE)
    made = time.strftime("%Y-%m-%d %H:%M:%S %z")
    seconds = sum(result.seconds for result in results)
    policy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:"
    yield (
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n<link rel="icon" href="data:,">\n'
        f"<title>{escape(f'{said} – {queues} – monkeywrench')}</title>\n"
        f"<style>{_resource('page.css')}</style>\n</head>\n<body>\n"
    )
    yield f'<header class="{_class(worst)}"><p class="brand">monkeywrench report</p>\n'
    yield f"<h1>{escape(trials)}: {escape(said)}</h1>\n"
    python = platform.python_version()
    yield f"<p>{escape(queues)} · {seconds:,.1f} s of trials · Python {python} · {escape(made)}</p>\n"
    yield '<div class="share" aria-hidden="true">'
    for status in _ORDER:
        if counts[status]:
            yield f'<span class="{_class(status)}" style="flex-grow:{counts[status]}"></span>'
    yield "</div></header>\n<main>\n"
    yield from _table(results, counts)


def _table(results: Sequence[Result], counts: Counter[str]) -> Iterator[str]:
    yield '<nav aria-label="Trials">\n'
    if len(results) > 1 and len(counts) > 1:
        yield '<p class="filter" role="group" aria-label="Show"><button aria-pressed="true" data-show="">all</button>'
        for status in _ORDER:
            if counts[status]:
                shown = f"{status} {counts[status]}"
                yield f'<button aria-pressed="false" data-show="{_class(status)}">{escape(shown)}</button>'
        yield "</p>\n"
    yield (
        '<div class="scroll" tabindex="0" role="region" aria-label="Table of trials"><table class="trials"><thead><tr>'
        "<th>verdict<th>trial<th>what was found<th class=n>received<th class=n>s</tr></thead><tbody>\n"
    )
    for number, result in enumerate(results, start=1):
        status, verdict = status_of(result), result.verdict
        found = _found(result)
        received = ""
        if verdict is not None:
            counted = verdict.counts
            received = f"{counted.get('received', 0):,}/{counted.get('put', 0) + counted.get('recovered', 0):,}"
        yield (
            f'<tr class="{_class(status)}"><td><span class="chip">{escape(status)}</span>'
            f'<td><a href="#trial-{number}">{escape(result.plan.name)}</a><td>{escape(found)}'
            f"<td class=n>{received}<td class=n>{result.seconds:,.2f}\n"
        )
    yield "</tbody></table></div>\n</nav>\n"


def _found(result: Result) -> str:
    """Return the cell that says what was found, in few words."""
    if result.verdict is None:
        return result.not_applicable or "the harness failed"
    if result.verdict.findings:
        return result.verdict.summary().partition(": ")[2]
    if result.verdict.doubts:
        return textwrap.shorten(result.verdict.doubts[0].partition("\n")[0], 90, placeholder=" …")
    return ""


def _heading(result: Result, number: int) -> Iterator[str]:
    status, verdict, plan = status_of(result), result.verdict, result.plan
    summary = verdict.summary() if verdict is not None else status
    yield f'<h2 id="title-{number}" tabindex="-1" class="{_class(status)}"><span class="chip">{escape(summary)}</span> '
    yield f"{escape(plan.name)}</h2>\n"
    one = "message" if plan.messages == 1 else "messages"
    yield (
        f'<p class="plan">{escape(plan.queue)} · {_count(plan.producers, "producer")} of {plan.messages:,} {one}, '
        f"{_count(plan.consumers, 'consumer')} · seed {plan.seed}</p>\n"
    )
    if verdict is None:
        why = result.not_applicable or "It did not run to its end: the harness, or the adapter, failed."
        yield f'<p class="doubt">{escape(why)}</p>\n'
    yield (
        f'<p class="replay"><span class="label">replay</span> <code>{escape(_line(result))}</code> '
        '<button class="copy">copy</button></p>\n'
    )


def _line(result: Result) -> str:
    """Return the line that runs the trial again, whatever it is made of."""
    return result.command or shlex.join(["monkeywrench", "replay", PLAN])


def _facts(verdict: Verdict, summary: Summary) -> Iterator[str]:
    yield '<dl class="facts">'
    counts = verdict.counts | {"events": summary.events}
    for what, count in counts.items():
        if count or what in ("put", "received", "events"):
            yield f"<div><dt>{escape(what)}<dd>{count:,}</div>"
    yield f"<div><dt>seconds<dd>{summary.last_ns / 1e9:.3g}</div>"
    for quantile, value in zip(QUANTILES, summary.latency_ms(), strict=True):
        if value is not None:
            yield f"<div><dt>latency {100 * quantile:.4g} %<dd>{_milliseconds(value)}</div>"
    yield "</dl>\n"


def _told(verdict: Verdict, summary: Summary) -> Iterator[str]:
    """Say what was found, what proves nothing, and which faults struck."""
    if verdict.findings:
        yield '<section class="findings" aria-label="Findings">\n'
        for number, finding in enumerate(verdict.findings[:_MOST_FINDINGS]):
            yield from _finding(finding, number, summary, is_open=len(verdict.findings) == 1)
        if len(verdict.findings) > _MOST_FINDINGS:
            more = len(verdict.findings) - _MOST_FINDINGS
            yield f"<p>… and {more:,} more findings: monkeywrench check tells all of them.</p>"
        yield "</section>\n"
    for doubt in verdict.doubts:
        first, _, rest = doubt.partition("\n")
        yield f'<p class="doubt"><b>proves nothing</b> {escape(first)}</p>\n'
        if rest:
            yield f"<pre>{escape(rest)}</pre>\n"
    if verdict.struck:
        yield '<ul class="faults" aria-label="Faults that struck">'
        for sentence in verdict.struck[:MOST_EVENTS]:
            yield f"<li><b>fault</b> {escape(sentence)}"
        if len(verdict.struck) > MOST_EVENTS:
            yield f"<li>… and {len(verdict.struck) - MOST_EVENTS:,} more strikes"
        yield "</ul>\n"


def _finding(finding: Finding, number: int, summary: Summary, *, is_open: bool) -> Iterator[str]:
    yield f'<div class="finding"><h3>{escape(finding.kind)}</h3><p>{escape(finding.sentence)}</p>\n'
    evidence = summary.evidence(finding.events)
    if evidence:
        yield f'<button class="show" data-finding="{number}">show it in the charts</button>\n'
    if not evidence and not finding.details:
        yield "</div>\n"
        return
    yield f"<details{' open' if is_open else ''}><summary>{'its events' if evidence else 'more'}</summary>\n"
    if finding.details:
        lines = "\n".join(finding.details)
        yield f"<pre>{escape(lines)}</pre>\n"
    if evidence:
        yield '<div class="scroll"><table class="events"><thead><tr><th class=n>event<th class=n>at<th>who<th>what'
        yield "</tr></thead><tbody>\n"
        for index, process, time_ns, what in evidence:
            yield (
                f"<tr><td class=n>{index:,}<td class=n>{_milliseconds(time_ns / 1e6)}<td>{escape(process)}"
                f"<td>{escape(what)}\n"
            )
        yield "</tbody></table></div>\n"
        if len(finding.events) > len(evidence):
            yield f"<p>… and {len(finding.events) - len(evidence):,} more events.</p>\n"
    yield "</details></div>\n"


def _milliseconds(value: float) -> str:
    for least, factor, unit in ((1000, 1e-3, "s"), (1, 1, "ms"), (0, 1e3, "µs")):
        if value >= least:
            return f"{value * factor:.4g} {unit}"
    return "0"


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _class(status: str) -> str:
    return re.sub(r"\W", "", status)


def _link(path: str) -> str:
    name = path.rpartition("/")[2]
    return f'<a href="{escape(path)}">{escape(name)}</a>'


def _data(summary: Summary) -> str:
    # No "<" anywhere: nothing that a message or a name says can end the script element.
    return json.dumps(summary.to_json(), separators=(",", ":")).replace("<", "\\u003c")


def _resource(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _plotly() -> str:
    """Return Plotly's script; nothing without the package, and the page says so where its charts would be."""
    try:
        from plotly.offline import get_plotlyjs
    except ImportError:
        return ""
    return str(get_plotlyjs())
