"""The command line, as a person at a shell meets it."""

import os

import pytest


@pytest.fixture
def wrench(command_line, tmp_path):
    """Run a command line in an empty directory, and return how it ended."""

    def run(*args, **env):
        return command_line(args, tmp_path, {**os.environ, **env})

    return run
