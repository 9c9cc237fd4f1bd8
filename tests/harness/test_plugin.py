"""The plugin in other people's projects: real pytest runs of real test files."""

import os
import re
import signal
import subprocess
import sys

import pytest

pytest_plugins: list[str] = []


@pytest.fixture
def project(pytester):
    """A project of somebody else's: not this one's configuration, nor its plugins."""

    def run(source, *args, **files):
        pytester.makepyfile(test_theirs=source, **files)
        return pytester.runpytest_subprocess("-p", "no:randomly", "-p", "no:cacheprovider", *args, timeout=120)

    return run


def test_fixtures_are_there_and_documented(project):
    result = project("", "--fixtures", "-q")
    result.stdout.fnmatch_lines(["monkeywrench -- *", "fifo_path -- *", "pipe_queue -- *"])


def test_valid_trial_passes(project):
    result = project(
        """
        from monkeywrench.harness import messages, write

        def test_it(monkeywrench):
            trial = monkeywrench.trial(producers=2, consumers=2, messages=30)
            verdict = trial.kill("producer-0", at=write(5, byte=3)).run()
            assert verdict.valid, verdict
        """
    )
    result.assert_outcomes(passed=1)


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
            "invalid: lost (trial on *Forgetful, seed 4)",
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


def test_adapter_that_is_not_found_again_replays_by_its_test(project):
    source = BROKEN.replace(
        "def test_it", "def theirs():\n    class Local(Forgetful): ...\n    return Local()\n\ndef test_it"
    )
    result = project(source.replace("trial(Forgetful()", "trial(theirs()"))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["  replay: this test again, with seed=4"])


def test_trial_that_is_never_run_fails_its_test(project):
    result = project("def test_it(monkeywrench):\n    monkeywrench.trial(messages=3)\n")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["a trial was made and never run: call its run()"])


def test_adapter_in_conftest_reaches_the_peers(project):
    result = project(
        """
        def test_it(monkeywrench, theirs):
            verdict = monkeywrench.trial(theirs, messages=10).run()
            assert verdict.valid, verdict
        """,
        "--import-mode=importlib",
        conftest="""
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
        """,
    )
    result.assert_outcomes(passed=1)


def test_pipe_queue_and_fifo_path_under_xdist(project):
    result = project(
        """
        import os
        import pytest

        @pytest.mark.parametrize("number", range(12))
        def test_it(monkeywrench, pipe_queue, fifo_path, number):
            assert fifo_path.is_fifo()
            pipe_queue.put(number)
            assert pipe_queue.get(timeout=60) == number
            if number % 4 == 0:
                assert monkeywrench.trial(messages=5).run().valid
        """,
        "-n",
        "4",
    )
    result.assert_outcomes(passed=12)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("os.mkfifo(fifo_path)", "left behind at fifo_path: the FIFO queue.fifo"),
        ("fifo_path.with_name('x.lock').touch()", "left behind at fifo_path: the file x.lock"),
        (
            "os.mkfifo(fifo_path); keep.append(os.open(fifo_path, os.O_RDWR)); fifo_path.unlink()",
            "left behind at fifo_path: descriptor * of this process, on *queue.fifo (deleted)",
        ),
    ],
)
def test_what_is_left_at_fifo_path_fails_the_test(project, body, message):
    result = project(f"import os\nkeep = []\ndef test_it(fifo_path):\n    {body}\n")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines([message])


def test_another_process_that_holds_it_is_named(project):
    result = project(
        """
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
        """
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["left behind at fifo_path: the FIFO queue.fifo, open in process *"])


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


def test_timeout_ends_the_trial_it_falls_into(project):
    """pytest-timeout by signal raises inside run(); the wedged trial has to end with it."""
    result = project(
        """
        import pytest
        from monkeywrench.harness import read

        @pytest.mark.timeout(3, method="signal")
        def test_wedged(monkeywrench):
            trial = monkeywrench.trial("multiprocessing.Queue", messages=5, patience_s=600, deadline_s=900)
            trial.kill("consumer-0", at=read(1)).run()

        def test_next(monkeywrench):
            from monkeywrench.harness import _client, _system
            import os
            assert os.listdir(f"/proc/{_client.ancestor().process.pid}/task")
            children = open(f"/proc/{_client.ancestor().process.pid}/task/{_client.ancestor().process.pid}/children")
            with children:
                assert children.read() == ""
            assert monkeywrench.trial(messages=5).run().valid
        """
    )
    result.assert_outcomes(passed=1, failed=1)


def test_forked_child_of_a_test_has_no_hold_on_the_ancestor(project):
    """A child that outlives pytest must not keep the ancestor, and what it guards, alive."""
    result = project(
        """
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
        """
    )
    result.assert_outcomes(passed=1)


def test_interrupt_leaves_nothing(pytester):
    """Ctrl-C in the middle of a trial: pytest ends as it does, and the trial with it."""
    pytester.makepyfile(
        """
        import os
        from monkeywrench.harness import read

        def test_wedged(monkeywrench):
            print("pid", os.getpid(), flush=True)
            trial = monkeywrench.trial("multiprocessing.Queue", messages=5, patience_s=600, deadline_s=900)
            trial.kill("consumer-0", at=read(1)).run()
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-s", "-p", "no:randomly", "-p", "no:cacheprovider"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=pytester.path,
    )
    with process:
        assert process.stdout is not None
        for line in process.stdout:
            if "pid" in line:
                break
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait(60) == 2, rest
    assert "KeyboardInterrupt" in rest
    assert "PATH" in os.environ
