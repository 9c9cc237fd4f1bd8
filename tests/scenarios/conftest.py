"""The command line, as a person at a shell meets it."""

import os
import subprocess
import sys

import pytest


def command(*args):
    return [sys.executable, "-m", "monkeywrench.scenarios", *map(str, args)]


@pytest.fixture
def wrench(tmp_path):
    """Run a command line in an empty directory, and return how it ended."""

    def run(*args, **env):
        return subprocess.run(
            command(*args),
            capture_output=True,
            text=True,
            timeout=170,
            cwd=tmp_path,
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
        )

    return run
