"""The plugin beside pytest's own options and other people's plugins: real runs of real test files.

After each of them, no process and no directory of the harness's is left; the fixture ``theirs`` sees to it.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

GRACE_S = 60
# A queue that loses one message, and says so on every channel there is.
FORGETFUL = """
import logging, os, sys, warnings
import pytest
from monkeywrench.harness import messages, read, write
from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter

class Forgetful(SimplePipeQueueAdapter):
    def put(self, end, message):
        if message[1] != 3:
            return super().put(end, message)
        print("said on stdout")
        print("said on stderr", file=sys.stderr)
        logging.getLogger("theirs").warning("said by logging")
        warnings.warn("said by warnings")
"""


def processes(mark):
    """Return the pids of all living processes whose environment carries *mark*."""
    found = []
    for path in Path("/proc").iterdir():
        try:
            if path.name.isdigit() and mark.encode() in (path / "environ").read_bytes():
                found += (
                    [int(path.name)] if (path / "stat").read_text().rpartition(")")[2].split()[0] not in "ZX" else []
                )
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
    return found


class Theirs:
    """A project of somebody else's, in which pytest runs."""

    def __init__(self, pytester, run_pytest, mark, temporary):
        self.pytester = pytester
        self.run_pytest = run_pytest
        self.mark = mark
        self.temporary = temporary

    def write(self, source, **files):
        self.pytester.makepyfile(test_theirs=source, **files)

    def run(self, *args, stdin=b""):
        return self.run_pytest("-p", "no:cacheprovider", "-p", "monkeywrench", *args, stdin=stdin)


@pytest.fixture
def theirs(pytester, run_pytest, tmp_path_factory, monkeypatch):
    mark = f"MONKEYWRENCH_MANNERS={pytester.path.name}-{os.getpid()}"
    temporary = tmp_path_factory.mktemp("temporary")
    monkeypatch.setenv(*mark.split("="))
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # each test asks for those it is about
    yield Theirs(pytester, run_pytest, mark, temporary)
    end = time.monotonic() + GRACE_S
    while (left := processes(mark)) and time.monotonic() < end:
        time.sleep(0.02)  # whoever has just lost its client ends at once, and tells nobody
    assert not left
    assert list(temporary.glob("monkeywrench-*")) == []


def section(text, name):
    """Return the lines of one section of a failure's report."""
    return re.split(r"^[-_=]{3,}.*$", re.split(rf"^-+ {name} -+$", text, flags=re.MULTILINE)[1], flags=re.MULTILINE)[0]


def test_report_has_verdict_timeline_output_and_one_replay_line(theirs):
    theirs.write(
        FORGETFUL
        + """
def test_it(monkeywrench):
    trial = monkeywrench.trial(Forgetful(), messages=20, seed=4).kill("producer-0", at=messages(6))
    assert trial.run()

def test_valid_trials_say_nothing(monkeywrench):
    assert monkeywrench.trial(messages=5).run()
    assert 0
"""
    )
    result = theirs.run("--show-capture=no", "--junit-xml=junit.xml")
    result.assert_outcomes(failed=2)
    text = result.stdout.str()
    assert text.count("replay: monkeywrench replay ") == 1
    assert len(re.findall("^-+ monkeywrench", text, re.MULTILINE)) == 3
    lines = section(text, "monkeywrench: timeline, in ms")
    assert re.search(r"^> +\d+\.\d{3}  producer-0 +put of message 3 returns$", lines, re.MULTILINE)
    assert re.search(r"^! +\d+\.\d{3}  producer-0 +SIGKILL to producer-0 after message 6$", lines, re.MULTILINE)
    assert re.search(r"^! +\d+\.\d{3}  producer-0 +ended: SIGKILL$", lines, re.MULTILINE)
    output = section(text, "monkeywrench: output of producer-0")
    assert re.findall(r"said (?:on|by) \w+", output.replace('warn("said', "")) == [
        "said on stdout",
        "said on stderr",
        "said by logging",
        "said by warnings",
    ]
    (failure, _) = ElementTree.parse(theirs.pytester.path / "junit.xml").iter("failure")
    assert "put of message 3 returns" in failure.text
    assert "said by logging" in failure.text


def test_assertions_explain_themselves(theirs):
    theirs.write(
        FORGETFUL
        + """
@pytest.fixture
def trial(monkeywrench):
    return monkeywrench.trial(Forgetful(), messages=6, seed=4)

def test_valid(trial):
    verdict = trial.run()
    assert verdict.valid, verdict

def test_bare(trial):
    assert trial.run()

def test_verdict(trial):
    verdict = trial.run()
    assert verdict

def test_findings(trial):
    verdict = trial.run()
    assert not verdict.findings

@pytest.fixture
def in_setup(trial):
    assert trial.run()

def test_setup(in_setup): ...
"""
    )
    result = theirs.run()
    result.assert_outcomes(failed=4, errors=1)
    verdict = r"<invalid: lost: test_\w+ on \S+Forgetful, seed 4: 1 message whose put returned was never received: .*>"
    text = result.stdout.str()
    for message in (
        rf"^E +AssertionError: {verdict}$",
        rf"^E +assert {verdict}$",
        r"^E +assert not \(<lost: 1 message whose put returned was never received: message 3 of producer-0>,\)$",
    ):
        assert re.search(message, text, re.MULTILINE), message
    assert text.count("replay: monkeywrench replay ") == 5


def test_every_peer_is_closed_whatever_becomes_of_another(theirs):
    theirs.write(
        """
        import os, time
        import pytest

        peers = []

        def test_it(monkeywrench):
            peers.extend(monkeywrench.spawn(time.sleep, 600) for _ in range(3))

            def close():
                raise OSError("cannot be closed")

            peers[1].close = close

        def test_next():
            for peer in (peers[0], peers[2]):
                with pytest.raises(ProcessLookupError):
                    os.kill(peer.pid, 0)
        """
    )
    result = theirs.run()
    result.assert_outcomes(passed=2, errors=1)
    assert "cannot be closed" in result.stdout.str()


def test_killed_ancestor_fails_its_test_alone(theirs):
    theirs.write(
        """
        import time
        from monkeywrench.harness import _client

        def kill_ancestor():
            process = _client.ancestor().process
            process.kill()
            process.wait()

        def test_fails(monkeywrench):
            monkeywrench.spawn(time.sleep, 600, name="one")
            kill_ancestor()
            assert False

        def test_passes(monkeywrench):
            monkeywrench.spawn(time.sleep, 600, name="two")
            monkeywrench.spawn(time.sleep, 600, name="three")
            kill_ancestor()

        def test_next(monkeywrench):
            assert monkeywrench.spawn(int).result() == 0
        """
    )
    result = theirs.run()
    result.assert_outcomes(passed=2, failed=1, errors=1)
    result.stdout.fnmatch_lines_random([f"nobody knows what became of {name} *" for name in ("one", "two", "three")])


def test_peer_that_is_closed_before_its_test_ends_is_told_of(theirs):
    theirs.write(
        """
        import signal, time
        from monkeywrench.harness import start
        from monkeywrench.harness.faults import Kill

        def test_ended(monkeywrench):
            with monkeywrench.spawn(print, "said", name="ended") as peer:
                assert peer.result() is None
            assert peer.output == "said\\n"

        def test_struck(monkeywrench):
            with monkeywrench.spawn(int, name="struck", faults=[Kill("struck", start())]) as peer:
                assert peer.join() == -signal.SIGKILL
            assert peer.struck

        def test_closed(monkeywrench):
            with monkeywrench.spawn(time.sleep, 600, name="closed") as peer:
                assert peer.running
            assert not peer.running
            assert peer.exitcode == -signal.SIGKILL

        def test_crashed(monkeywrench):
            with monkeywrench.spawn(int, "no number", name="crashed") as peer:
                peer.join()

        def test_fails(monkeywrench):
            with monkeywrench.spawn(time.sleep, 600, name="beside"):
                assert False
        """
    )
    result = theirs.run()
    result.assert_outcomes(passed=4, failed=1, errors=1)
    result.stdout.fnmatch_lines(["crashed ended by exit status 70", "  ValueError: *'no number'"])
    result.stdout.fnmatch_lines(["beside ended by SIGKILL"])


def test_settings_are_documented(theirs):
    theirs.write("def test_it(monkeywrench): ...")
    shown = theirs.run("--help").stdout.str()
    for name in ("queue", "seed", "patience", "dir"):
        assert f"--wrench-{name}=" in shown
        assert f"wrench_{name} (string)" in shown
    theirs.run("--markers").stdout.fnmatch_lines(["@pytest.mark.wrench(queue=..., seed=..., patience=..., dir=...): *"])


WRONG = {
    "seed": ("abc", "'abc': a whole number from 0 to 9223372036854775807 is allowed"),
    "patience": ("0", "'0': seconds from 0.1 to 86400 are allowed"),
    "queue": (
        "multiprocessing.Quue",
        "no queue is called 'multiprocessing.Quue'; did you mean 'multiprocessing.Queue'*",
    ),
    "dir": (
        "test_theirs.py",
        "'test_theirs.py' is no directory: the path of one is allowed; it is made if it is missing",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_settings_are_refused_with_what_is_allowed(pytester, name):
    value, message = WRONG[name]
    pytester.makepyfile(test_theirs="def test_it(): ...")
    result = pytester.runpytest_inprocess(f"--wrench-{name}={value}")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: --wrench-{name}: {message}"])
    pytester.makeini(f"[pytest]\nwrench_{name} = {value}\n")
    result = pytester.runpytest_inprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: ini key wrench_{name}: {message}"])


def test_markers_are_refused_with_what_is_allowed(theirs):
    theirs.write(
        """
        import pytest

        @pytest.mark.wrench(sed=3)
        def test_unknown(): ...

        @pytest.mark.wrench(3)
        def test_nameless(): ...

        @pytest.mark.wrench(seed="x")
        def test_seed(): ...

        @pytest.mark.wrench(seed=True)
        def test_truth(): ...

        @pytest.mark.wrench(patience=float("nan"))
        def test_patience(): ...

        @pytest.mark.wrench(queue="nonsense", seed=3)
        def test_queue(): ...
        """
    )
    result = theirs.run()
    result.assert_outcomes(errors=6)
    result.stdout.fnmatch_lines_random(
        [
            "marker wrench: unknown sed; it takes queue=…, seed=…, patience=…, dir=…",
            "marker wrench: (3,) without a name; it takes queue=…, seed=…, patience=…, dir=…",
            "marker wrench, seed: 'x': a whole number from 0 to * is allowed",
            "marker wrench, seed: True: a whole number from 0 to * is allowed",
            "marker wrench, patience: nan: seconds from 0.1 to 86400 are allowed",
            "marker wrench, queue: no queue is called 'nonsense' *",
        ]
    )


def test_settings_reach_the_trials_nearest_first(theirs):
    theirs.write(
        """
        import pytest
        from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter

        class Mine(SimplePipeQueueAdapter): ...

        def settings(monkeywrench):
            trial = monkeywrench.trial(messages=3)
            trial.run()
            return trial.plan.queue.rpartition(":")[2], trial.plan.seed, trial.plan.patience_s

        def test_option_and_ini(monkeywrench):
            assert settings(monkeywrench) == ("multiprocessing.Queue", 7, 30.0)

        @pytest.mark.wrench(seed=8, queue=Mine)
        class TestMarked:
            def test_marker(self, monkeywrench):
                assert settings(monkeywrench) == ("Mine", 8, 30.0)

            @pytest.mark.wrench(seed="9", patience=20)
            def test_nearest(self, monkeywrench):
                assert settings(monkeywrench) == ("Mine", 9, 20.0)

        class TestOverridden:
            @pytest.fixture
            def wrench_queue(self):
                return Mine()

            def test_fixture(self, monkeywrench):
                assert settings(monkeywrench)[0] == "Mine"
        """
    )
    theirs.pytester.makeini("[pytest]\nwrench_seed = 6\nwrench_patience = 30\n")
    theirs.run("--wrench-queue=multiprocessing.Queue", "--wrench-seed=7").assert_outcomes(passed=4)


def test_seeds_follow_from_that_of_pytest_randomly(theirs):
    theirs.write(
        """
        import pytest

        @pytest.mark.parametrize("number", range(2))
        def test_it(monkeywrench, number):
            for _ in range(2):
                trial = monkeywrench.trial(messages=3)
                print("seed", trial.plan.seed)
                assert trial.run()
        """
    )

    def seeds(*args):
        result = theirs.run("-s", "-p", "randomly", *args)
        result.assert_outcomes(passed=2)
        return sorted(re.findall(r"seed (\d+)", result.stdout.str()))

    first = seeds("--randomly-seed=5")
    assert len(set(first)) == 4
    assert seeds("--randomly-seed=5") == first
    assert not set(first) & set(seeds("--randomly-seed=5", "--randomly-dont-reset-seed"))


TRIALS = """
import os
import pytest

@pytest.mark.parametrize("number", range(6))
@pytest.mark.xdist_group("one")
def test_it(monkeywrench, pipe_queue, fifo_path, number):
    with open(os.environ["NAMES"], "a") as names:
        print(fifo_path.parent.name, file=names)
    assert fifo_path.is_fifo()
    pipe_queue.put(number)
    assert pipe_queue.get(timeout=60) == number
    if number % 3 == 0:
        assert monkeywrench.trial(messages=5).run()

class TestOthers:
    def test_one(self, monkeywrench):
        assert monkeywrench.trial(messages=5).run()
"""
DISTRIBUTIONS = {
    mode: ("-n2", f"--dist={mode}") for mode in ("load", "loadscope", "loadfile", "loadgroup", "worksteal", "no")
}
DISTRIBUTIONS["each"] = ("--tx=2*popen", "--dist=each")


@pytest.mark.parametrize("mode", DISTRIBUTIONS)
def test_every_distribution_of_xdist(theirs, monkeypatch, mode):
    names = theirs.pytester.path / "names"
    monkeypatch.setenv("NAMES", str(names))
    theirs.write(TRIALS)
    times = 2 if mode == "each" else 1
    theirs.run("-p", "xdist", *DISTRIBUTIONS[mode]).assert_outcomes(passed=7 * times)
    used = names.read_text().split()
    assert len(set(used)) == len(used) == 6 * times


def test_first_failure_last_failed_repeat_and_collection(theirs):
    theirs.write(
        FORGETFUL
        + """
def test_valid(monkeywrench):
    assert monkeywrench.trial(messages=3).run()

def test_wrong(monkeywrench):
    assert monkeywrench.trial(Forgetful(), messages=6).run()

def test_last(monkeywrench): ...
"""
    )
    theirs.run("-p", "cacheprovider", "-x").assert_outcomes(passed=1, failed=1)
    theirs.run("-p", "cacheprovider", "--lf").assert_outcomes(failed=1)
    theirs.run("-p", "repeat", "--count=3", "-k", "valid").assert_outcomes(passed=3, deselected=6)
    collected = theirs.run("--co", "-q")
    assert collected.ret == 0
    assert collected.stdout.str().count("test_theirs.py::") == 3


def test_it_can_be_switched_off(theirs, monkeypatch):
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    theirs.write("def test_one(): ...\ndef test_two(monkeywrench): ...")
    run = theirs.run_pytest
    result = run("-p", "no:monkeywrench")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["E       fixture 'monkeywrench' not found"])
    assert "--wrench" not in run("-p", "no:monkeywrench", "--help").stdout.str()


def test_debuggers(theirs):
    """After a failure, in the middle of a test, and in a peer, which has nobody to ask: it ends there, and says so."""
    theirs.write(
        FORGETFUL
        + """
import time

class Breaks(SimplePipeQueueAdapter):
    def put(self, end, message):
        if message[:2] == (0, 1):
            breakpoint()
        super().put(end, message)

def waits():
    time.sleep(600)

def test_after(monkeywrench):
    peer = monkeywrench.spawn(waits)
    assert monkeywrench.trial(Forgetful(), messages=6).run()

@pytest.mark.timeout(600)
def test_within(monkeywrench):
    peer = monkeywrench.spawn(waits)
    import pdb; pdb.set_trace()
    peer.kill()

def test_inside(monkeywrench):
    verdict = monkeywrench.trial(Breaks(), messages=3).run()
    assert [finding.kind for finding in verdict.findings] == ["crashed"]
    # Up to Python 3.13 the one, later the other.
    assert any(error in verdict.findings[0].sentence for error in ("BdbQuit", "SystemExit"))
"""
    )
    commands = b"p ('after', peer.running)\np ('again', monkeywrench.trial(messages=3).run())\nc\n"
    commands += b"p ('within', peer.running)\np ('left', monkeywrench._left_s(900))\nc\n"
    result = theirs.run("-p", "timeout", "--pdb", stdin=commands)
    result.assert_outcomes(failed=1, passed=2)
    result.stdout.fnmatch_lines(["*('after', True)", "*('again', <valid: *", "*('within', True)", "*('left', 900)"])


def test_what_another_run_of_the_same_test_has_left_is_no_part_of_this_one(theirs):
    """As plugins do that run again what failed."""
    theirs.pytester.makeconftest(
        """
        from _pytest.runner import runtestprotocol

        def pytest_runtest_protocol(item, nextitem):
            runtestprotocol(item, log=False, nextitem=nextitem)
        """
    )
    theirs.write(
        """
        RUNS = []

        def fails(run):
            assert run != 1

        def test_it(monkeywrench):
            RUNS.append(1)
            assert monkeywrench.spawn(fails, len(RUNS)).join(60) == 0
        """
    )
    theirs.run().assert_outcomes(passed=1)


def test_pytest_inside_a_test_leaves_the_outer_ones_peers_and_files_alone(theirs):
    theirs.write(
        """
        import os
        from monkeywrench.harness import ready

        pytest_plugins = "pytester"

        def waits(path):
            ready()
            with open(path) as file:
                return file.read()

        def test_it(pytester, monkeywrench, fifo_path):
            os.mkfifo(fifo_path)
            peer = monkeywrench.spawn(waits, str(fifo_path))
            peer.wait_ready()
            pytester.makepyfile("def test_inner(): pass")
            pytester.runpytest_inprocess("-p", "monkeywrench").assert_outcomes(passed=1)
            fifo_path.write_text("told")
            assert peer.result() == "told"
            fifo_path.unlink()
        """
    )
    theirs.run().assert_outcomes(passed=1)


def test_replay_line_finds_what_pytest_alone_has_on_its_path(theirs, tmp_path):
    theirs.pytester.makeini("[pytest]\npythonpath = lib")
    theirs.pytester.mkdir("lib").joinpath("bases_of_theirs.py").write_text(
        "from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter\n"
        "class Base(SimplePipeQueueAdapter):\n    def put(self, end, message):\n        pass\n"
    )
    theirs.write(
        """
        from bases_of_theirs import Base

        class Mine(Base):
            pass

        def test_it(monkeywrench):
            assert monkeywrench.trial(Mine(), messages=2, patience_s=0.5).run()
        """
    )
    line = re.search(r"^ +replay: (.*)$", theirs.run().stdout.str(), re.MULTILINE)[1]
    line = line.replace(" monkeywrench ", f" {sys.executable} -m monkeywrench.scenarios ")
    done = subprocess.run(line, shell=True, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done.stderr
    assert "invalid: stuck" in done.stdout


def test_quitting_the_debugger_leaves_nothing(theirs):
    theirs.write("import time\ndef test_it(monkeywrench):\n    monkeywrench.spawn(time.sleep, 600)\n    assert 0")
    result = theirs.run("--pdb", stdin=b"q\n")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["*Quitting debugger*"])


def test_interrupt_leaves_nothing(theirs):
    """Ctrl-C under a trial whose peers hold each other up, and beside a peer that waits."""
    theirs.write(
        """
        import time
        from monkeywrench.harness import read

        def test_wedged(monkeywrench):
            monkeywrench.spawn(time.sleep, 600)
            trial = monkeywrench.trial("multiprocessing.Queue", messages=5, patience_s=600, deadline_s=900)
            trial.kill("consumer-0", at=read(1)).run()
        """
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-s", "-p", "monkeywrench", "-p", "no:cacheprovider"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=theirs.pytester.path,
    )
    with process:
        try:
            end = time.monotonic() + GRACE_S
            while not any(theirs.temporary.glob("monkeywrench-*/consumer-0.events")):
                assert time.monotonic() < end, f"waited {GRACE_S} s in vain until the trial's peers are at work"
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
            rest = process.communicate(timeout=GRACE_S)[0]
        finally:
            process.kill()  # the trial alone would take minutes
    assert process.returncode == pytest.ExitCode.INTERRUPTED, rest
    assert "KeyboardInterrupt" in rest


WEDGED = """
import pytest
from monkeywrench.harness import ready, read

def trial(monkeywrench):
    trial = monkeywrench.trial("multiprocessing.Queue", messages=5, patience_s=600, deadline_s=900)
    return trial.kill("consumer-0", at=read(1)).run()

def blocked():
    import os
    ready()
    os.read(os.pipe()[0], 1)
"""


ENDED = """
@pytest.mark.timeout(7, method="thread")
def test_it(monkeywrench, pipe_queue):
    monkeywrench.spawn(blocked).wait_ready()
    pipe_queue.get()
"""


@contextlib.contextmanager
def ended_by_a_time_out(theirs):
    """pytest-timeout's thread ends the whole process, in the middle: what can be told is told just before."""
    theirs.pytester.makepyfile(test_ended=WEDGED + ENDED)
    command = [sys.executable, "-m", "pytest", "-p", "monkeywrench", "-p", "no:cacheprovider", "-p", "timeout"]
    output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen([*command, "test_ended.py"], cwd=theirs.pytester.path, **output) as process:
        try:
            yield
            text = process.communicate(timeout=GRACE_S)[0]
        finally:
            process.kill()
    assert process.returncode == 1
    assert "Timeout" in text
    assert re.search(r"^blocked \(pid \d+\) still runs\n.* in blocked: os.read", text, re.MULTILINE)


def test_trials_and_waits_end_before_the_time_out_does_it(theirs, monkeypatch):
    """Wherever it is set: by marker, for the function alone, by the environment. With it would go what they know.
    Beside them runs one that it does end.
    """
    theirs.write(
        WEDGED
        + """
@pytest.fixture
def slow():
    import time
    time.sleep(2)

class TestSignal:
    @pytest.mark.timeout(5, method="signal")
    def test_marker(self, monkeywrench):
        assert trial(monkeywrench)

    @pytest.mark.timeout(5, method="signal", func_only=True)
    def test_function_only(self, slow, monkeywrench):
        assert monkeywrench._left_s(900) > 2

    @pytest.mark.timeout(6, method="signal")
    def test_its_own_wait(self, monkeywrench, pipe_queue):
        monkeywrench.spawn(blocked, name="beside").wait_ready()
        pipe_queue.get()

class TestThread:
    @pytest.mark.timeout(5, method="thread")
    def test_marker(self, monkeywrench):
        assert trial(monkeywrench)

    def test_environment(self, monkeywrench):
        monkeywrench.spawn(blocked).result()
"""
    )
    monkeypatch.setenv("PYTEST_TIMEOUT", "5")
    with ended_by_a_time_out(theirs):
        result = theirs.run("-p", "timeout", "-p", "xdist", "-o", "timeout_method=thread", "-n", "5", "test_theirs.py")
    result.assert_outcomes(failed=4, passed=1)
    text = result.stdout.str()
    assert len(re.findall(r"^E +Failed: Timeout", text, re.MULTILINE)) == 1  # none but the test's own wait
    assert re.search(r"^beside \(pid \d+\) still runs\n.* in blocked: os.read", text, re.MULTILINE)
    assert (
        len(re.findall(r"proves nothing: it was given up after \S+ s, its deadline, before all peers had ended", text))
        == 2
    )
    assert len(re.findall(r"proves nothing: by then \S+ was in its get 1; multiprocessing/synchronize.py", text)) == 2
    assert re.search(r"waited in vain for its end \(blocked\), for [\d.]+ s; it is", text)
    assert re.search(r"in blocked: os.read\(os.pipe\(\)\[0\], 1\)", text)


def test_coverage_measures_peers_and_leaves_no_data_behind(theirs):
    lines = re.search(r"```toml\n(.*?)```", (Path(__file__).parents[2] / "README.md").read_text(), re.DOTALL)[1]
    assert len(lines.splitlines()) == 2
    theirs.pytester.makepyprojecttoml(lines)
    theirs.write(
        """
        import queue_of_theirs
        from monkeywrench.harness import messages

        def test_trial(monkeywrench):
            trial = monkeywrench.trial(queue_of_theirs.Mine(), messages=10)
            assert trial.kill("producer-0", at=messages(5)).run()

        def test_spawned(monkeywrench):
            assert monkeywrench.spawn(queue_of_theirs.function).result() == 1
        """,
        queue_of_theirs="""
        from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter

        class Mine(SimplePipeQueueAdapter):
            def get(self, end):
                return super().get(end)  # line 5

        def function():
            one = 1
            if one > 1:
                never = one
            return one
        """,
    )
    theirs.pytester.syspathinsert()
    for args in ((), ("-p", "xdist", "-n2")):
        result = theirs.run("-p", "pytest_cov", "--cov=queue_of_theirs", "--cov-report=term-missing", *args)
        result.assert_outcomes(passed=2)
        result.stdout.fnmatch_lines(["queue_of_theirs.py * 10"])
        assert [path.name for path in theirs.pytester.path.glob(".coverage*")] == [".coverage"]
