"""Verdicts as JUnit's XML, which every CI reads: a suite a scenario, a test case a trial.

*invalid* is a failure. *unknown* is an error: the trial proves nothing, and nobody should take it for passed. What is
not applicable to the queue was skipped.
"""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Iterator, Sequence
from typing import IO

from monkeywrench.harness.verdict import INVALID, VALID

from .._result import Result
from ._files import BEGINNINGS, JUNIT

# What XML 1.0 cannot hold, not even as a reference; and lone surrogates, which no encoding can.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write_cases(file: IO[str], results: Sequence[Result]) -> None:
    """Write the whole document."""
    file.write(f"{BEGINNINGS[JUNIT]}{_counts(results)}>\n")
    ordered = sorted(results, key=lambda result: result.scenario)
    for scenario, group in itertools.groupby(ordered, key=lambda result: result.scenario):
        own = list(group)
        file.write(f"  <testsuite name={_attribute(scenario)}{_counts(own)}>\n")
        for result in own:
            file.writelines(f"    {line}\n" for line in _case(result))
        file.write("  </testsuite>\n")
    file.write("</testsuites>\n")


def outcome(result: Result) -> str:
    """Return what a trial comes to: the tag of its result in a test case, or ``passed``."""
    if result.verdict is None:
        return "error" if result.not_applicable is None else "skipped"
    return {VALID: "passed", INVALID: "failure"}.get(result.verdict.status, "error")


def _counts(results: Sequence[Result]) -> str:
    outcomes = [outcome(result) for result in results]
    seconds = sum(result.seconds for result in results)
    return (
        f' tests="{len(results)}" failures="{outcomes.count("failure")}" errors="{outcomes.count("error")}"'
        f' skipped="{outcomes.count("skipped")}" time="{seconds:.3f}"'
    )


def _case(result: Result) -> Iterator[str]:
    verdict, tag = result.verdict, outcome(result)
    name, classname = _attribute(result.plan.name), _attribute(f"monkeywrench.{result.scenario}")
    yield f'<testcase name={name} classname={classname} time="{result.seconds:.3f}">'
    if tag == "skipped":
        yield f"  <skipped message={_attribute(result.not_applicable or '')}/>"
    elif verdict is None:
        yield '  <error message="it did not run to its end" type="harness"/>'
    elif tag != "passed":
        why = [finding.sentence for finding in verdict.findings] or list(verdict.doubts)
        message = _attribute(f"{verdict.summary()}: {why[0]}" if why else verdict.summary())
        yield f"  <{tag} message={message} type={_attribute(verdict.status)}>{_text(verdict.explain())}</{tag}>"
    plan = result.plan
    yield f"  <system-out>{_text(f'queue {plan.queue}, seed {plan.seed}')}\n{_text(result.command)}</system-out>"
    yield "</testcase>"


def _text(text: str) -> str:
    return html.escape(_FORBIDDEN.sub("\ufffd", text), quote=False)


def _attribute(text: str) -> str:
    # A reader makes spaces of what is white in an attribute, unless it is written by its number.
    escaped = html.escape(_FORBIDDEN.sub("\ufffd", text)).translate({9: "&#9;", 10: "&#10;", 13: "&#13;"})
    return f'"{escaped}"'
