"""What holds for all tests."""

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

# Hundreds of interpreters start here, and load this project's modules. Where nothing may be kept of their compilation,
# each compiles them again, which takes longer than most of what is tested.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A shell that starts this in the background has it ignore Ctrl-C, and all that it starts would ignore it as well.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def small_files():
    """No file may grow over 8 KiB: how a full disk looks to one who writes, without filling one."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture(scope="session")
def at_once():
    """Call a function with each of some things, and return the results: trials that mostly wait do so together."""

    def call(function, things):
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(function, things))

    return call


class Zygote:
    """Runs a program, each time in a fork of one process that has it imported; see ``zygote.py``."""

    def __init__(self, program):
        self._program = program
        self._environment = dict(os.environ)  # no test's: some look for processes by what they have set there
        self._process = None

    def __call__(self, args, directory, environment, stdin=b""):
        """Run it with these arguments, in this directory and environment, and return how it ended."""
        if self._process is None:
            self._start()
        args = [*map(str, args)]
        packet = json.dumps([args, str(directory), environment]).encode()
        with contextlib.ExitStack() as files:
            given, output, errors = streams = [files.enter_context(tempfile.TemporaryFile()) for _ in range(3)]
            given.write(stdin)
            given.seek(0)
            try:
                socket.send_fds(self._channel, [packet], [file.fileno() for file in streams])
                status = int(self._channel.recv(64))
            except BaseException:  # a time-out, Ctrl-C: it goes on, but the next one would get this one's answer
                self.close()
                raise
            for file in (output, errors):
                file.seek(0)
            return subprocess.CompletedProcess(args, status, output.read().decode(), errors.read().decode())

    def _start(self):
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.settimeout(170)
        with theirs:
            command = [sys.executable, Path(__file__).with_name("zygote.py"), str(theirs.fileno()), self._program]
            self._process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env=self._environment,
            )

    def close(self):
        """End it, and whatever it runs."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(60)
            self._channel.close()
            self._process = None


@pytest.fixture(scope="session")
def command_line():
    """Run a command line with these arguments, in this directory and environment, and return how it ended."""
    with contextlib.closing(Zygote("monkeywrench")) as zygote:
        yield zygote


@pytest.fixture(scope="session")
def forked_pytest():
    """Run pytest with these arguments, in this directory and environment, and return how it ended."""
    with contextlib.closing(Zygote("pytest")) as zygote:
        yield zygote


@pytest.fixture
def run_pytest(forked_pytest, pytester):
    """Run pytest in pytester's directory, as ``runpytest_subprocess`` does, and return the same kind of result."""

    def run(*args, stdin=b""):
        began = time.monotonic()
        args = (f"--basetemp={pytester.path / 'temporary'}", *args)
        done = forked_pytest(args, pytester.path, dict(os.environ), stdin)
        print(done.stdout, done.stderr, sep="\n")  # noqa: T201 -- shown where the test fails
        lines = done.stdout.splitlines(), done.stderr.splitlines()
        return pytest.RunResult(done.returncode, *lines, time.monotonic() - began)

    return run
