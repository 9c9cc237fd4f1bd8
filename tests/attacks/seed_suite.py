#!/usr/bin/env python3
"""Run the test suite that came with turberfield.utils.pipes against monkeywrench.pipes, under its own import name.

The suite is fetched with pip, run in a temporary directory, and never kept. Exit status: 0 it passes, 1 it does not.

    python tests/attacks/seed_suite.py
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tarfile
import tempfile
import types
import unittest
from pathlib import Path

import monkeywrench.pipes

DISTRIBUTION = "turberfield-utils==0.47.0"
SUITE = "turberfield/utils/test/test_pipes.py"


def fetch(directory: Path) -> Path:
    """Return the suite's file, out of the source distribution."""
    words = ["download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary", ":all:"]
    words += ["--no-build-isolation", "--dest", str(directory), DISTRIBUTION]
    subprocess.run([sys.executable, "-m", "pip", *words], check=True, stderr=subprocess.DEVNULL)
    (archive,) = directory.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        member = next(each for each in opened.getmembers() if each.name.endswith(SUITE))
        opened.extract(member, directory, filter="data")
    return directory / member.name


def main() -> int:
    """Run the suite, and return the exit status."""
    for name in ("turberfield", "turberfield.utils"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["turberfield.utils.pipes"] = monkeywrench.pipes
    with tempfile.TemporaryDirectory(prefix="monkeywrench-") as directory:
        suite = fetch(Path(directory))
        module = types.ModuleType("test_pipes")
        exec(compile(suite.read_text(), suite.name, "exec"), module.__dict__)
        os.chdir(directory)
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        result = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.loadTestsFromModule(module))
        asyncio.set_event_loop(None)
        loop.close()
        os.chdir("/")
    print(f"{result.testsRun - len(result.failures) - len(result.errors)} passed, ", end="")
    print(f"{len(result.failures) + len(result.errors)} failed")
    return 0 if result.wasSuccessful() and result.testsRun else 1


if __name__ == "__main__":
    sys.exit(main())
