"""What holds for all tests."""

import os
import resource
import signal

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
