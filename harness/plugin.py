"""The pytest plugin: fixtures, settings, and what a failed test's report says of its trials and peers.

pytest loads this in every run, in suites that never use it too: nothing else of the project is imported before a
fixture is asked for.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import threading
    from pathlib import Path

    from monkeywrench.harness.adapters import Adapter
    from monkeywrench.harness.peers import Peer
    from monkeywrench.harness.plan import Plan
    from monkeywrench.harness.survey import Survey
    from monkeywrench.harness.trial import Trial
    from monkeywrench.harness.verdict import Verdict
    from monkeywrench.pipes import SimplePipeQueue

_SECTION = "monkeywrench"
_verdicts = pytest.StashKey[list["Verdict | Survey"]]()
_peers = pytest.StashKey[list["Peer"]]()
_passed = pytest.StashKey[bool]()
_until = pytest.StashKey[float]()
_last_words = pytest.StashKey[float]()
_debugged = pytest.StashKey[bool]()
# What is left of pytest-timeout's time for the end of a trial, and for the report: a share of it, and not too little.
_REST, _LEAST_REST_S = 0.2, 3.0
_PATIENCE_S = 5.0
_MOST_DIGITS = 40
# How many of pytest's loops run in this process, one inside a test of the other.
_loops = 0

# The settings that the command line, the ini file and the marker share, with what they are.
_SETTINGS = {
    "queue": "the queue under test: a name, 'module:object' or 'file.py:object' (default: the built-in queue)",
    "seed": "the seed of all trials that are not given one (default: a new one for each, which follows from "
    "pytest-randomly's --randomly-seed where that is in use)",
    "patience": "seconds without any event after which a peer is stuck (default: 5)",
    "dir": "where plans and histories of trials that are not valid are kept (default: a directory of pytest's)",
}


class Wrench:
    """What the fixture ``monkeywrench`` is: it makes trials and spawns peers, and remembers them for the report."""

    def __init__(self, request: pytest.FixtureRequest, make_directory: Callable[[], Path], queue: Any) -> None:
        self._node = request.node
        self._make_directory = make_directory
        self._queue = queue
        # New ones: what another run of the same test has left is no part of this one.
        self._verdicts: list[Verdict | Survey] = []
        self.peers: list[Peer] = []
        self._node.stash[_verdicts], self._node.stash[_peers] = self._verdicts, self.peers
        self.trials: list[Trial] = []
        self._watcher: threading.Timer | None = None

    def trial(self, queue: Any = None, **settings: Any) -> Trial:
        """Return a new trial; it takes what ``monkeywrench.harness.Trial`` takes, and runs when told.

        queue: the queue under test, unless said otherwise: what the fixture ``wrench_queue`` returns.
        """
        from monkeywrench.harness.trial import Trial

        patience = _setting(self._node, "patience")
        chosen = {
            "seed": self._seed(),
            "patience_s": _PATIENCE_S if patience is None else float(patience),
            "name": self._node.name,
        }
        ways = {"runner": self._run, "surveyor": self._survey}
        trial = Trial(self._queue if queue is None else queue, **ways | chosen | settings)
        self.trials.append(trial)
        return trial

    def spawn(self, function: Callable[..., Any], *args: Any, **settings: Any) -> Peer:
        """Run a function of the test's own as a peer; it takes what ``monkeywrench.harness.spawn`` takes.

        It ends with the test at the latest. The test fails if the peer still runs then, if it crashed and nobody
        expected it, or if a fault of it never struck.
        """
        from monkeywrench.harness.peers import DEFAULT_TIMEOUT_S, spawn

        peer = spawn(function, *args, **{"timeout_s": lambda: self._left_s(DEFAULT_TIMEOUT_S)} | settings)
        self.peers.append(peer)
        self._watch()
        return peer

    def end(self) -> None:
        """End all peers, whatever they do."""
        if self._watcher is not None:
            self._watcher.cancel()
            self._watcher.join()
        with contextlib.ExitStack() as closing:  # all of them, whatever becomes of one: a time-out may interrupt it
            for peer in self.peers:
                closing.callback(peer.close)

    def _watch(self) -> None:
        """Have a thread tell where the peers are, if pytest-timeout's is to end this process: nobody could later."""
        last_s = self._node.stash.get(_last_words, None)
        if last_s is None or self._watcher is not None:
            return
        import threading

        self._watcher = threading.Timer(max(0, last_s - time.monotonic()), self._tell_where)
        self._watcher.daemon = True
        self._watcher.start()

    def _tell_where(self) -> None:
        if _debugged not in self._node.config.stash:
            for peer in self.peers:
                print(peer.seen_by_another_thread() or "", file=sys.stderr)  # noqa: T201 -- pytest-timeout shows it

    def _run(self, plan: Plan, adapter: Adapter | None) -> Verdict:
        from monkeywrench.harness import runner

        plan = dataclasses.replace(plan, deadline_s=round(self._left_s(plan.deadline_s), 3))
        verdict = runner.run(plan, adapter=adapter, interrupted=lambda verdict: self._keep(verdict, adapter))
        return self._keep(verdict, adapter)

    def _survey(self, plan: Plan, adapter: Adapter | None, of: Sequence[str]) -> Survey:
        """Survey a plan's crash points, for as long as the test may take; the report has the survey as one."""
        from monkeywrench.harness import runner, survey

        kept: list[Path] = []

        def run(plan: Plan) -> Verdict:
            return runner.run(plan, adapter=adapter, interrupted=lambda verdict: self._keep(verdict, adapter))

        def keep(verdict: Verdict) -> Verdict:
            if verdict.valid:
                return verdict
            kept.append(kept[0] / f"{len(kept)}" if kept else self._make_directory())
            return self._written(verdict, adapter, kept[-1])

        found = survey.survey(plan, of, run=run, keep=keep, within_s=self._left_s(math.inf))
        self._verdicts.append(found)
        return found

    def _keep(self, verdict: Verdict, adapter: Adapter | None) -> Verdict:
        """Remember a verdict for the report; keep what belongs to one that is not valid."""
        if not verdict.valid:
            verdict = self._written(verdict, adapter, self._make_directory())
        self._verdicts.append(verdict)
        return verdict

    def _written(self, verdict: Verdict, adapter: Adapter | None, directory: Path) -> Verdict:
        """Write down what belongs to a verdict, and return it with the line that runs its trial again."""
        from monkeywrench.harness import adapters, runner

        verdict = runner.keep(verdict, directory)
        if adapter is not None and not adapters.is_found_again(adapter):
            return verdict.replayed_by(f"this test again, with seed={verdict.history.plan.seed}")
        if verdict.replay is None or verdict.history.plan.queue in adapters.ADAPTERS:
            return verdict
        return verdict.replayed_by(_with_path(self._node.config, verdict.replay))

    def _seed(self) -> int | None:
        """Return the seed of the next trial that is not given one; None if a new one is to be drawn.

        Where pytest-randomly is in use, the seed that it prints is the one to run a whole session again by: this test's
        trials follow from it.
        """
        seed = _setting(self._node, "seed")
        if seed is not None:
            return int(seed)
        config = self._node.config
        session = config.getoption("randomly_seed", None)
        if type(session) is not int or not config.getoption("randomly_reset_seed", False):
            return None
        import random

        return random.Random(f"{session} {self._node.nodeid} {len(self.trials)}").randrange(1 << 32)

    def _left_s(self, at_most: float) -> float:
        """Return for how long a trial or a wait may still take, by the timer that pytest-timeout has set."""
        until = None if _debugged in self._node.config.stash else self._node.stash.get(_until, None)
        return at_most if until is None else min(at_most, max(0.1, until - time.monotonic()))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options ``--wrench-…`` and the ini keys ``wrench_…``."""
    group = parser.getgroup("monkeywrench", "monkeywrench: chaos for queues between processes")
    for name, what in _SETTINGS.items():
        group.addoption(f"--wrench-{name}", metavar=name.upper(), help=what)
        parser.addini(f"wrench_{name}", f"{what}; see --wrench-{name}")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker; refuse options and ini keys whose values cannot be."""
    config.addinivalue_line(
        "markers",
        "wrench(queue=..., seed=..., patience=..., dir=...): settings of this test's trials, as the options --wrench-…",
    )
    for name in _SETTINGS:
        for where, value in (
            (f"--wrench-{name}", config.getoption(f"wrench_{name}")),
            (f"ini key wrench_{name}", config.getini(f"wrench_{name}") or None),
        ):
            if value is not None and (wrong := _wrong(name, value)):
                raise pytest.UsageError(f"{where}: {wrong}")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a test whose marker asks for what cannot be."""
    for marker in item.iter_markers("wrench"):
        if marker.args or (unknown := sorted(marker.kwargs.keys() - _SETTINGS.keys())):
            what = f"unknown {', '.join(unknown)}" if not marker.args else f"{marker.args!r} without a name"
            pytest.fail(f"marker wrench: {what}; it takes {', '.join(f'{key}=…' for key in _SETTINGS)}", pytrace=False)
        for name, value in marker.kwargs.items():
            if wrong := _wrong(name, value):
                pytest.fail(f"marker wrench, {name}: {wrong}", pytrace=False)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtestloop() -> Generator[None, object, object]:
    """End this process's ancestor with the last test: before pytest-cov puts together what was measured where.

    Where the loop is left by an interruption, fixtures have yet to end what they began. So they have where one pytest
    runs inside a test of another.
    """
    global _loops
    _loops += 1
    try:
        result = yield
    finally:
        _loops -= 1
    client = sys.modules.get("monkeywrench.harness._client")
    if client is not None and not _loops:
        client.close()
    return result


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> None:
    """Take note of when pytest-timeout ends the test: by then its trials have ended, and say why."""
    rest = max(settings.timeout * _REST, min(settings.timeout / 2, _LEAST_REST_S))
    item.stash[_until] = time.monotonic() + settings.timeout - rest
    if settings.method == "thread":
        item.stash[_last_words] = item.stash[_until] + rest / 2


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_timeout_cancel_timer(item: pytest.Item) -> None:
    """Forget the time-out, as pytest-timeout does when the test has ended or a debugger looks at it."""
    if _until in item.stash:
        del item.stash[_until]


def pytest_enter_pdb(config: pytest.Config) -> None:
    """Let whoever debugs a test take the time: pytest-timeout does not end it either."""
    config.stash[_debugged] = True


def _wrong(name: str, value: Any) -> str | None:
    """Return what is wrong with the value of a setting, and what is allowed; None if nothing is."""
    match name:
        case "seed":
            is_whole = type(value) is int or (type(value) is str and value.isdecimal() and len(value) < _MOST_DIGITS)
            if not (is_whole and 0 <= int(value) < 1 << 63):
                return f"{value!r:.60}: a whole number from 0 to {(1 << 63) - 1} is allowed"
        case "patience":
            try:
                if 0.1 <= float(value) <= 86_400:
                    return None
            except (TypeError, ValueError, OverflowError):
                pass
            return f"{value!r:.60}: seconds from 0.1 to 86400 are allowed"
        case "queue" if isinstance(value, str) and ":" not in value:
            from monkeywrench.harness import PlanError
            from monkeywrench.harness.adapters import load

            try:
                load(value)
            except PlanError as error:
                return str(error)
        case "dir":
            if not isinstance(value, (str, os.PathLike)) or not os.fspath(value) or "\0" in str(value):
                return f"{value!r}: the path of a directory is allowed"
            if os.path.exists(value) and not os.path.isdir(value):
                return f"{str(value)!r} is no directory: the path of one is allowed; it is made if it is missing"
    return None


def _setting(node: Any, name: str) -> Any:
    """Return a setting: the nearest marker's, the command line's, or the ini file's; None if there is none."""
    for marker in node.iter_markers("wrench"):
        if name in marker.kwargs:
            return marker.kwargs[name]
    chosen = node.config.getoption(f"wrench_{name}")
    return chosen if chosen is not None else node.config.getini(f"wrench_{name}") or None


def _with_path(config: pytest.Config, line: str) -> str:
    """Return a command line that finds modules where pytest alone looks for them, by its ini key ``pythonpath``."""
    places = [str(config.rootpath / entry) for entry in config.getini("pythonpath")]
    if not places:
        return line
    import shlex

    if there := os.environ.get("PYTHONPATH"):
        places.append(there)
    return f"PYTHONPATH={shlex.quote(os.pathsep.join(places))} {line}"


@pytest.fixture
def wrench_queue(request: pytest.FixtureRequest) -> Any:
    """The queue under test, of trials that name none: override this fixture, or use the marker, option or ini key.

    It is what ``monkeywrench.harness.Trial`` takes: an adapter, its class, or the name of one.
    """
    from monkeywrench.harness.adapters import DEFAULT

    return _setting(request.node, "queue") or DEFAULT


@pytest.fixture
def monkeywrench(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, wrench_queue: Any
) -> Iterator[Wrench]:
    """Trials: real producers and consumers around a queue, with faults thrown in; and functions as peers.

    ``monkeywrench.trial(producers=2, messages=50).kill("producer-0", at=write(17)).run()`` returns a verdict. If a
    verdict is not valid, its plan and history are kept in a directory that the test's report names. A trial that is
    made and never run fails the test. ``monkeywrench.spawn(function, …)`` runs a function of the test's own.
    """
    _need_fifos()
    if (chosen := _setting(request.node, "dir")) is not None:
        # Now, not when there is something to keep, which would be lost.
        try:
            os.makedirs(chosen, exist_ok=True)
        except OSError as error:
            pytest.fail(
                f"--wrench-dir={chosen}: {error.strerror}; a directory is allowed, or the path of a new one", False
            )
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)[:40]

    def make_directory() -> Path:
        kept = _setting(request.node, "dir")
        if kept is None:
            return tmp_path_factory.mktemp(f"monkeywrench-{name}-")
        import tempfile
        from pathlib import Path

        Path(kept).mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=kept)).absolute()

    wrench = Wrench(request, make_directory, wrench_queue)
    try:
        yield wrench
        if not request.node.stash.get(_passed, False):
            return
        told = {peer: peer.trouble for peer in wrench.peers}
        trouble = [_told(peer, what) for peer, what in told.items() if what]
    finally:
        wrench.end()
    if not all(trial.has_run for trial in wrench.trials):
        pytest.fail("a trial was made and never run: call its run()", pytrace=False)
    if trouble:
        pytest.fail("\n".join(trouble), pytrace=False)


@pytest.fixture
def fifo_path() -> Iterator[Path]:
    """A path for a FIFO, of this test's own. Whatever is left behind there when the test has ended fails it.

    That is: the FIFO itself, and any file beside it, with who still has it open; and what this process has open there.
    The directory is removed then, and also if this process is killed in the middle.
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
    """Add to the report of a test that failed what its trials and peers have to say. Valid trials say nothing."""
    report = yield
    if report.when == "call":
        item.stash[_passed] = report.passed
    if report.failed:
        for verdict in item.stash.get(_verdicts, []):
            if not verdict.valid:
                _tell(report, verdict)
        for peer in item.stash.get(_peers, []) if report.when == "call" else ():
            _add_section(report, _SECTION, _told(peer, peer.trouble))
        item.stash.get(_verdicts, []).clear()  # told once, whatever else fails
    return report


def _tell(report: pytest.TestReport, told: Verdict | Survey) -> None:
    """Add a verdict, the timeline around its findings, and the output of the peers involved; of a survey, those of its
    worst point.
    """
    from monkeywrench.harness.timeline import outputs, timeline
    from monkeywrench.harness.verdict import Verdict

    _add_section(report, _SECTION, told.explain())
    verdict = told if isinstance(told, Verdict) else told.failed[0][1] if told.failed else told.dry_run
    if lines := timeline(verdict):
        _add_section(report, f"{_SECTION}: timeline, in ms", "\n".join(lines))
    for name, text in outputs(verdict).items():
        _add_section(report, f"{_SECTION}: output of {name}", text)


def _told(peer: Peer, trouble: str | None) -> str:
    """Return how a spawned peer ended, what befell it, and what it wrote."""
    end = f"ended by {peer.ended_by}" if peer.exitcode else "ended as it should"
    lines = [trouble or f"{peer.name} {end}"]
    lines += [f"  fault: {sentence}" for sentence in peer.struck]
    return "\n".join(lines + [f"  {line}" for line in peer.output.splitlines()])


def _add_section(report: pytest.TestReport, name: str, content: str) -> None:
    """Add a section to a report: to the failure itself, so that no --show-capture hides it and JUnit's file has it."""
    add = getattr(report.longrepr, "addsection", None)
    if add is not None:
        add(name, content, "-")
    else:
        report.sections.append((name, content))


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
