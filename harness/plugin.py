"""The pytest plugin: fixtures, and a section in the report of a test that failed.

pytest loads this in every run, in suites that never use it too: nothing else of the project is imported before a
fixture is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from monkeywrench.harness.adapters import Adapter
    from monkeywrench.harness.plan import Plan
    from monkeywrench.harness.trial import Trial
    from monkeywrench.harness.verdict import Verdict
    from monkeywrench.pipes import SimplePipeQueue

_SECTION = "monkeywrench"
_verdicts = pytest.StashKey[list["Verdict"]]()
_passed = pytest.StashKey[bool]()


class Wrench:
    """What the fixture ``monkeywrench`` is: it makes trials, and remembers their verdicts for the report."""

    def __init__(self, make_directory: Callable[[], Path], verdicts: list[Verdict]) -> None:
        self._make_directory = make_directory
        self._verdicts = verdicts
        self.trials: list[Trial] = []

    def trial(self, *args: Any, **kwargs: Any) -> Trial:
        """Return a new trial; it takes what ``monkeywrench.harness.Trial`` takes, and runs when told."""
        from monkeywrench.harness.trial import Trial

        trial = Trial(*args, runner=self._run, **kwargs)
        self.trials.append(trial)
        return trial

    def _run(self, plan: Plan, adapter: Adapter | None) -> Verdict:
        from monkeywrench.harness import adapters, runner

        verdict = runner.run(plan, adapter=adapter)
        if not verdict.valid:
            verdict = runner.keep(verdict, self._make_directory())
            if adapter is not None and not adapters.is_found_again(adapter):
                verdict = verdict.replayed_by(f"this test again, with seed={plan.seed}")
        self._verdicts.append(verdict)
        return verdict


@pytest.fixture
def monkeywrench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wrench]:
    """Trials: real producers and consumers around a queue, with faults thrown in.

    ``monkeywrench.trial(producers=2, messages=50).kill("producer-0", at=write(17)).run()`` returns a verdict. If a
    verdict is not valid, its plan and history are kept in a directory that the test's report names. A trial that is
    made and never run fails the test.
    """
    _need_fifos()
    verdicts: list[Verdict] = request.node.stash.setdefault(_verdicts, [])
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)[:40]
    wrench = Wrench(lambda: tmp_path_factory.mktemp(f"monkeywrench-{name}-"), verdicts)
    yield wrench
    if request.node.stash.get(_passed, False) and not all(trial.has_run for trial in wrench.trials):
        pytest.fail("a trial was made and never run: call its run()", pytrace=False)


@pytest.fixture
def fifo_path() -> Iterator[Path]:
    """A path for a FIFO, of this test's own. Whatever is left behind there when the test has ended fails it.

    That is: the FIFO itself, any file beside it, and any process (this one too) which still has it open. The directory
    is removed then, and also if this process is killed in the middle.
    """
    _need_fifos()
    from monkeywrench.harness import _client

    with _client.directory() as directory:
        yield directory / "queue.fifo"
        left = _leftovers(directory)
    if left:
        pytest.fail("left behind at fifo_path: " + "; ".join(left), pytrace=False)


@pytest.fixture
def pipe_queue(fifo_path: Path) -> Iterator[SimplePipeQueue]:
    """A ``monkeywrench.pipes.SimplePipeQueue``, open at ``fifo_path``; closed and removed when the test has ended."""
    from monkeywrench.pipes import SimplePipeQueue

    with SimplePipeQueue(fifo_path, history=False) as queue:
        yield queue


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the verdicts that are not valid to the report of a test that failed."""
    report = yield
    if report.when == "call":
        item.stash[_passed] = report.passed
    if report.when == "call" and report.failed:
        for verdict in item.stash.get(_verdicts, []):
            if not verdict.valid:
                report.sections.append((_SECTION, verdict.explain()))
    return report


def _need_fifos() -> None:
    if not hasattr(os, "mkfifo"):
        pytest.skip("named pipes need a POSIX system")


def _leftovers(directory: Path) -> list[str]:
    """Return what is still in the directory, and who has it open, one phrase each."""
    import stat

    from monkeywrench.harness import _system
    from monkeywrench.harness.holders import holders

    left = [
        f"descriptor {descriptor} of this process, on {what}"
        for descriptor, what in _system.descriptors().items()
        if what.startswith(f"{directory}{os.sep}")
    ]
    for path in sorted(directory.rglob("*")):
        kind = "FIFO" if stat.S_ISFIFO(path.lstat().st_mode) else "directory" if path.is_dir() else "file"
        by = ", ".join(f"process {holder.pid}" for holder in holders(path) if holder.pid != os.getpid())
        left.append(f"the {kind} {path.name}" + (f", open in {by}" if by else ""))
    return left
