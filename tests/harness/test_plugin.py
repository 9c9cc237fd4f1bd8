"""The plugin in other people's projects: real pytest runs of real test files."""

import collections
import fnmatch
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

pytest_plugins: list[str] = []
PLAIN = ("-p", "no:randomly", "-p", "no:cacheprovider", "-p", "no:hypothesispytest")


@pytest.fixture
def project(pytester, run_pytest):
    """A project of somebody else's: not this one's configuration, nor its plugins."""

    def run(source, *args, **files):
        pytester.makepyfile(test_theirs=source, **files)
        return run_pytest(*PLAIN, *args)

    return run


CONFTEST = """
import pytest
from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter

NEEDED = 1

class Theirs(SimplePipeQueueAdapter):
    def put(self, end, message):
        assert NEEDED == 1
        super().put(end, message)

@pytest.fixture
def theirs():
    return Theirs()
"""
# Test files of one project, which one run of pytest runs: each has a test here that looks at what came of it.
FILES = {
    "adapter_in_conftest": """
def test_it(monkeywrench, theirs):
    verdict = monkeywrench.trial(theirs, messages=10).run()
    assert verdict.valid, verdict
""",
    "adapter_in_function": """
from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter

def forgetful():
    class Forgetful(SimplePipeQueueAdapter):
        def put(self, end, message):
            if message[1] != 3:
                super().put(end, message)
    return Forgetful()

def test_it(monkeywrench):
    verdict = monkeywrench.trial(forgetful(), messages=10, seed=4).run()
    assert verdict.valid, verdict
""",
    "forks": """
import os

def test_it(monkeywrench, fifo_path):
    from monkeywrench.harness import _client
    ancestor = _client.ancestor().process.pid
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            assert monkeywrench.trial(messages=3).run().valid
            assert _client.ancestor().process.pid != ancestor
            _client.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    assert _client.ancestor().process.pid == ancestor
    assert monkeywrench.trial(messages=3).run().valid
""",
    "leaves_descriptor": """
import os
keep = []

def test_it(fifo_path):
    os.mkfifo(fifo_path)
    keep.append(os.open(fifo_path, os.O_RDWR))
    fifo_path.unlink()
""",
    "leaves_fifo": """
import os

def test_it(fifo_path):
    os.mkfifo(fifo_path)
""",
    "leaves_file": """
def test_it(fifo_path):
    fifo_path.with_name("x.lock").touch()
""",
    "leaves_process": """
import os, subprocess
held = []

def test_it(fifo_path):
    os.mkfifo(fifo_path)
    end = os.open(fifo_path, os.O_RDWR)
    held.append(subprocess.Popen(["sleep", "60"], pass_fds=[end]))
    os.close(end)

def test_next():
    held[0].kill()
    held[0].wait()
""",
    "never_runs": """
def test_it(monkeywrench):
    monkeywrench.trial(messages=3)
""",
    "valid": """
from monkeywrench.harness import messages, write

def test_it(monkeywrench):
    trial = monkeywrench.trial(producers=2, consumers=2, messages=30)
    verdict = trial.kill("producer-0", at=write(5, byte=3)).run()
    assert verdict.valid, verdict
""",
}


@pytest.fixture(scope="module")
def outcome(tmp_path_factory, forked_pytest):
    """Return how many tests of one of the files came out how, and check a line of what pytest says of it."""
    directory = tmp_path_factory.mktemp("project")
    for name, source in {**{f"test_{name}": source for name, source in FILES.items()}, "conftest": CONFTEST}.items():
        (directory / f"{name}.py").write_text(source)
    args = (*PLAIN, "--import-mode=importlib", "--junit-xml=junit.xml")
    done = forked_pytest(args, directory, dict(os.environ))
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    counts = {name: collections.Counter() for name in FILES}
    told = dict.fromkeys(FILES, "")
    for case in ElementTree.parse(directory / "junit.xml").iter("testcase"):
        name = case.get("classname").removeprefix("test_")
        # A test that passes and whose teardown does not is one case, with the latter's error.
        failed = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        counts[name].update(failed or ["passed"])
        told[name] += "\n".join(text for child in case for text in (child.get("message"), child.text) if text)

    def outcome(name, line=None):
        if line is not None:
            assert fnmatch.filter(told[name].splitlines(), line), told[name] or done.stdout
        return dict(counts[name])

    return outcome


def test_fixtures_are_there_and_documented(project):
    result = project("", "--fixtures", "-q")
    result.stdout.fnmatch_lines(["monkeywrench -- *", "fifo_path -- *", "pipe_queue -- *"])


def test_valid_trial_passes(outcome):
    assert outcome("valid") == {"passed": 1}


BROKEN = """
from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter

class Forgetful(SimplePipeQueueAdapter):
    def put(self, end, message):
        if message[1] != 3:
            super().put(end, message)

def test_it(monkeywrench):
    verdict = monkeywrench.trial(Forgetful(), messages=10, seed=4).run()
    assert verdict.valid, verdict
"""


@pytest.mark.parametrize("mode", ["prepend", "append", "importlib"])
def test_failed_trial_reports_the_verdict_and_a_replay_that_shows_it_again(project, mode):
    result = project(BROKEN, "--import-mode", mode)
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert re.search(r"^-+ monkeywrench -+$", text, re.MULTILINE)
    result.stdout.fnmatch_lines(
        [
            "invalid: lost (test_it on *Forgetful, seed 4)",
            "  lost: 1 message whose put returned was never received: message 3 of producer-0",
            "  replay: monkeywrench replay */plan.json",
        ]
    )
    replay = re.search(r"replay: monkeywrench (replay .*)", text)[1].split()
    again = subprocess.run(
        [sys.executable, "-m", "monkeywrench.scenarios", *replay], capture_output=True, text=True, timeout=120
    )
    assert again.returncode == 1, again.stderr
    assert "message 3 of producer-0" in again.stdout


def test_adapter_that_is_not_found_again_replays_by_its_test(outcome):
    assert outcome("adapter_in_function", "  replay: this test again, with seed=4") == {"failure": 1}


def test_trial_that_is_never_run_fails_its_test(outcome):
    assert outcome("never_runs", "a trial was made and never run: call its run()") == {"error": 1}


def test_adapter_in_conftest_reaches_the_peers(outcome):
    assert outcome("adapter_in_conftest") == {"passed": 1}


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("fifo", "the FIFO queue.fifo"),
        ("file", "the file x.lock"),
        ("descriptor", "descriptor * of this process, on *queue.fifo (deleted)"),
    ],
)
def test_what_is_left_at_fifo_path_fails_the_test(outcome, what, message):
    assert outcome(f"leaves_{what}", f"left behind at fifo_path: {message}") == {"error": 1}


def test_another_process_that_holds_it_is_named(outcome):
    line = "left behind at fifo_path: the FIFO queue.fifo, open in process *"
    assert outcome("leaves_process", line) == {"error": 1, "passed": 1}


def test_what_a_suite_does_not_use_starts_nothing(project):
    result = project(
        """
        import sys

        def test_it():
            loaded = {name for name in sys.modules if name.startswith("monkeywrench.")}
            assert loaded == {"monkeywrench.harness", "monkeywrench.harness.plugin"}
        """
    )
    result.assert_outcomes(passed=1)


def test_system_without_fifos_skips_with_the_reason(project):
    result = project(
        """
        def test_one(monkeywrench): ...
        def test_two(fifo_path): ...
        def test_three(pipe_queue): ...
        """,
        "-rs",
        conftest="import os\ndel os.mkfifo\n",
    )
    result.assert_outcomes(skipped=3)
    result.stdout.fnmatch_lines(["*named pipes need a POSIX system"])


def test_forked_child_of_a_test_has_no_hold_on_the_ancestor(outcome):
    """A child that outlives pytest must not keep the ancestor, and what it guards, alive."""
    assert outcome("forks") == {"passed": 1}


def test_what_a_test_imports_when_it_is_called_is_there_in_peers_too(pytester, run_pytest):
    """Whatever the import mode: a package of tests may be found by pytest alone."""
    package = pytester.mkdir("tests").joinpath("package_of_theirs")
    package.mkdir()
    package.joinpath("__init__.py").touch()
    package.joinpath("helping.py").write_text("NUMBER = 3")
    package.joinpath("test_later.py").write_text(
        "def later():\n    from .helping import NUMBER\n    return NUMBER\n\n"
        "def test_it(monkeywrench):\n    assert monkeywrench.spawn(later).result() == 3\n"
    )
    result = run_pytest("-p", "no:cacheprovider", "--import-mode=importlib", "tests")
    result.assert_outcomes(passed=1)
