"""Whoever is killed: it is told, and nothing is left behind. What kills whole runs is tests/attacks/killed_runs.py."""

import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
from monkeywrench.harness import HarnessError, Trial, _client, read, run, spawn
from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter

from ..attacks.killed_runs import alive, children, left_at, wait_for


def test_ancestor_that_was_killed_is_told_and_replaced():
    assert Trial(messages=3).run().valid
    ancestor = _client.ancestor()
    ancestor.process.kill()
    ancestor.process.wait()
    assert Trial(messages=3).run().valid
    assert _client.ancestor().process.pid != ancestor.process.pid


def test_ancestor_killed_in_the_middle_is_a_clear_error(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    trial = Trial("multiprocessing.Queue", messages=5, patience_s=600, deadline_s=900).kill("consumer-0", at=read(1))
    pid = _client.ancestor().process.pid
    killed = []

    def kill_once(plan, adapter):
        def progress():
            if children(pid) and not killed:
                killed.extend(descendants(pid))
                os.kill(pid, signal.SIGKILL)

        return run(plan, adapter=adapter, progress=progress)

    trial._runner = kill_once
    with pytest.raises(HarnessError, match=rf"the ancestor \(pid {pid}\) ended while it was awaited"):
        trial.run()
    assert len(killed) >= 2
    wait_for("root and peers are gone", lambda: not any(alive(each) for each in killed))
    wait_for("its files are gone", lambda: left_at(tmp_path) == [])


def descendants(pid):
    found = children(pid)
    return found + [below for child in found for below in descendants(child)]


def test_peer_whose_root_was_killed_before_it_had_read_everything_is_a_clear_error(own_ancestor):
    with spawn(time.sleep, 600) as peer:
        (root,) = children(own_ancestor.pid)
        os.kill(root, signal.SIGSTOP)
        peer.resume()
        own_ancestor.send_signal(signal.SIGSTOP)  # which would tell of the root's end
        os.kill(root, signal.SIGKILL)
        own_ancestor.kill()
        own_ancestor.wait()
        with pytest.raises(HarnessError, match="ended while it was awaited for its end"):
            peer.join()
        assert "nobody knows what became of sleep" in peer.trouble


@pytest.fixture
def own_ancestor():
    """An ancestor whose children are this test's alone."""
    _client.close()
    yield _client.ancestor().process
    _client.close()


def test_what_was_told_before_the_end_is_not_lost_with_what_was_not_read():
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with mine:
        with theirs:
            theirs.send(b'{"ended": 0}')
            mine.send(b'{"do": "stack"}')
        assert _client.ancestor().receive(mine, time.monotonic(), "news") == {"ended": 0}
        with pytest.raises(HarnessError, match="ended while it was awaited for news"):
            _client.ancestor().receive(mine, time.monotonic(), "news")


def test_descriptors_do_not_grow_with_trials():
    assert Trial(messages=3).run().valid
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        assert Trial(messages=3).run().valid
    assert len(os.listdir("/proc/self/fd")) == before
    ancestor = _client.ancestor().process.pid
    count = len(os.listdir(f"/proc/{ancestor}/fd"))
    assert Trial(messages=3).run().valid
    # It may just be looking at a directory.
    wait_for("the ancestor has no more than before", lambda: len(os.listdir(f"/proc/{ancestor}/fd")) <= count)


class Waits(SimplePipeQueueAdapter):
    """A queue whose maker waits in vain, at one end of its life or the other."""

    def __init__(self, operation, mark):
        super().__init__()
        self.operation, self.mark = operation, mark

    def make(self, directory):
        super().make(directory)
        self.wait("make")

    def destroy(self):
        super().destroy()
        self.wait("destroy")

    def wait(self, operation):
        if operation == self.operation:
            self.mark.touch()
            os.read(os.pipe()[0], 1)


@pytest.mark.parametrize("operation", ["make", "destroy"])
def test_queue_that_is_never_made_or_removed_is_told_with_its_place(monkeypatch, tmp_path, operation):
    monkeypatch.setattr(_client, "_INTERRUPT_S", 0.1)

    def give_up():
        if adapter.mark.exists():
            raise TimeoutError("it was given up")

    adapter = Waits(operation, tmp_path / "mark")
    with pytest.raises(TimeoutError) as raised:
        run(Trial(messages=1).plan, adapter=adapter, progress=give_up)
    (note,) = raised.value.__notes__
    assert re.search(rf"was killed in .*test_cleanup\.py:\d+ in wait: .*, called from .* in {operation}: self\.w", note)


RUNS_WHEN_IMPORTED = """
from monkeywrench.harness import Trial
from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter

class Mine(SimplePipeQueueAdapter):
    pass

Trial(Mine(), messages=1, deadline_s=1).run()
"""


def test_module_that_runs_a_trial_of_its_own_queue_when_it_is_imported_is_refused(monkeypatch, tmp_path):
    """Its root imports it as well, which would run another trial, and so on."""
    (tmp_path / "theirs.py").write_text(RUNS_WHEN_IMPORTED)
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    command = [sys.executable, "-c", "import theirs"]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, timeout=60)
    assert "a trial is run, or a peer spawned, by a module that is imported for one: put what runs it" in done.stderr
    assert done.returncode == 1
    assert left_at(place) == []


def test_machine_that_runs_when_its_module_is_imported_is_refused(monkeypatch, tmp_path):
    (tmp_path / "theirs.py").write_text(
        "from hypothesis.stateful import run_state_machine_as_test\n"
        "from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter\n"
        "from monkeywrench.harness.machine import QueueMachine\n"
        "class Mine(SimplePipeQueueAdapter): pass\n"
        "class Machine(QueueMachine): adapter = Mine()\n"
        "run_state_machine_as_test(Machine)\n"
    )
    command = [sys.executable, "-c", "import theirs"]
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path, timeout=60)
    assert "HarnessError: the stage ended when it was asked to make" in done.stderr
    assert done.returncode == 1


def test_what_the_starter_blocked_or_ignored_is_no_peers_affair():
    program = """if True:
        import signal
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, signal.SIGINT})
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        from monkeywrench.harness import Trial, messages
        for name in ("SIGTERM", "SIGINT"):
            verdict = Trial(messages=5).kill("producer-0", at=messages(2), signal=name).run()
            assert verdict.valid, verdict
    """
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
