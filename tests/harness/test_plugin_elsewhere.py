"""Where there is no POSIX: what imports the harness is imported, what needs named pipes is skipped, and says why."""

# What Windows has not, taken away before anything of this project is imported. pytest has loaded what it needs.
HIDING = """
import os, select, signal, socket, sys

HIDDEN = ("fcntl", "resource", "termios", "pwd", "grp", "tty", "pty", "syslog")

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocker())
for name in HIDDEN:
    sys.modules.pop(name, None)
for module, names in {
    os: "mkfifo mknod fork forkpty register_at_fork waitid setpgid killpg setsid getppid O_NONBLOCK O_CLOEXEC "
    "O_DIRECTORY O_NOFOLLOW O_PATH O_DIRECT WNOHANG WNOWAIT WEXITED WSTOPPED P_PID pread preadv readv writev pwrite "
    "pwritev pipe2 sendfile sched_getaffinity",
    select: "poll epoll PIPE_BUF POLLIN POLLOUT POLLERR POLLHUP",
    signal: "SIGKILL SIGSTOP SIGCONT SIGHUP SIGCHLD SIGUSR1 SIGUSR2 SIGRTMAX SIGRTMIN SIGALRM setitimer pthread_kill",
    socket: "AF_UNIX send_fds recv_fds socketpair",
}.items():
    for each in names.split():
        if hasattr(module, each):
            delattr(module, each)
"""

THEIRS = """
import os, select, signal

import pytest
from monkeywrench import harness, pipes
from monkeywrench.harness import *
from monkeywrench.harness import Adapter, Trial, spawn, messages, read, write
from monkeywrench.harness.adapters.pipes import SimplePipeQueueAdapter
from monkeywrench.harness.faults import Kill, Limit, Pause
from monkeywrench.pipes import PipeQueue, SimplePipeQueue

FAULT = Kill("producer-0", at=write(3))

class Mine(SimplePipeQueueAdapter): ...

def test_nothing_of_posix_is_here():
    import importlib
    with pytest.raises(ImportError):
        importlib.import_module("fcntl")
    assert not hasattr(signal, "SIGKILL") and not hasattr(select, "poll") and not hasattr(os, "fork")

@pytest.mark.wrench(queue=Mine())
def test_trial(monkeywrench):
    assert monkeywrench.trial().run()

def test_spawn(monkeywrench): ...
def test_path(fifo_path): ...
def test_queue(pipe_queue): ...

def test_of_plans_runs():
    assert Plan.loads(Plan(queue=harness.adapters.DEFAULT, seed=1, faults=(FAULT,)).dumps()).faults == (FAULT,)

def test_queue_says_so():
    with pytest.raises(pipes.PipeQueueError, match="named pipes need a POSIX system"):
        SimplePipeQueue.pipequeue("queue.fifo")
"""


def test_modules_are_imported_and_tests_are_skipped_with_the_reason(pytester):
    pytester.makepyfile(test_theirs=THEIRS, conftest=HIDING)
    result = pytester.runpytest_subprocess("-rs", "-p", "no:cacheprovider", timeout=120)
    result.assert_outcomes(skipped=4, passed=3)
    result.stdout.fnmatch_lines(["SKIPPED *named pipes need a POSIX system"])
