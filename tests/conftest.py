"""What holds for all tests."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
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


class Zygote:
    """Runs command lines, each in a fork of one process that has everything imported; see ``zygote.py``."""

    def __init__(self):
        self._process = None

    def __call__(self, args, directory, environment):
        """Run a command line with these arguments, in this directory and environment, and return how it ended."""
        if self._process is None:
            self._start()
        args = [*map(str, args)]
        packet = json.dumps([args, str(directory), environment]).encode()
        with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
            try:
                socket.send_fds(self._channel, [packet], [output.fileno(), errors.fileno()])
                status = int(self._channel.recv(64))
            except BaseException:  # a time-out, Ctrl-C: it goes on, but the next one would get this one's answer
                self.stop()
                raise
            for file in (output, errors):
                file.seek(0)
            return subprocess.CompletedProcess(args, status, output.read().decode(), errors.read().decode())

    def _start(self):
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._channel.settimeout(170)
        with theirs:
            command = [sys.executable, Path(__file__).with_name("zygote.py"), str(theirs.fileno())]
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
            )

    def stop(self):
        """End it, and whatever it runs."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(60)
            self._channel.close()
            self._process = None


@pytest.fixture(scope="session")
def command_line():
    """Run a command line with these arguments, in this directory and environment, and return how it ended."""
    zygote = Zygote()
    yield zygote
    zygote.stop()
