"""Every snippet of the README does what it says."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.once

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)
PYTHON = [body for language, body in BLOCKS if language == "python"]
CONSOLE = [body for language, body in BLOCKS if language == "console"]
SHELL = [body for language, body in BLOCKS if language == "sh"]


ENVIRONMENT = {**os.environ, "COLUMNS": "120"}


def ids(body):
    return next(line for line in body.splitlines() if line).replace(" ", "_")[:40]


def run(args, cwd):
    return subprocess.run(
        [sys.executable, *args],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=170,
        stdin=subprocess.DEVNULL,
        env=ENVIRONMENT,
    )


def test_no_block_is_overlooked():
    assert {language for language, _ in BLOCKS} == {"python", "console", "sh", "toml", "text"}
    assert all((PYTHON, CONSOLE, SHELL))


@pytest.mark.parametrize("body", PYTHON, ids=ids)
def test_python_block_runs(forked_pytest, tmp_path, body):
    if "def test_" in body or "TestCase" in body:
        (tmp_path / "test_lines.py").write_text(body)
        args = ["-q", "-p", "no:cacheprovider", "-p", "no:randomly"]
        if "hypothesis" not in body:
            args += ["-p", "no:hypothesispytest"]  # it imports Hypothesis at the end, whether it is used or not
        if "QueueSuite" in body:
            args += ["-k", "two_killed or idle"]  # the whole catalogue runs in tests/harness/test_queue_suite.py
        done = forked_pytest(args, tmp_path, ENVIRONMENT)
        assert re.search(r"^\d+ passed", done.stdout, re.MULTILINE), done.stdout
    else:
        done = run(["-W", "error", "-c", body], tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".fifo"] == []


@pytest.mark.parametrize("body", CONSOLE, ids=ids)
def test_console_block_shows_what_comes(command_line, tmp_path, tmp_path_factory, body):
    """A line of the output may leave parts out with an ellipsis; a line that is one stands for any number of lines."""
    # Of what others have left in the place that all share, the doctor tells as well.
    environment = {**ENVIRONMENT, "TMPDIR": str(tmp_path_factory.mktemp("temporary"))}
    commands = re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]
    for command in commands:
        first, _, expected = command.partition("\n")
        words = shlex.split(first)
        assert words[0] == "monkeywrench"
        done = command_line(words[1:], tmp_path, environment)
        if not expected.strip():
            assert done.returncode == 0, done.stdout + done.stderr
            continue
        assert done.returncode == 1, done.stderr
        at = 0
        lines = done.stdout.splitlines()
        for line in expected.splitlines():
            if line == "…":
                continue
            pattern = re.compile(".*".join(re.escape(part) for part in line.split("…")))
            found = next((place for place in range(at, len(lines)) if pattern.fullmatch(lines[place].rstrip())), None)
            assert found is not None, f"{line!r} does not come in\n{done.stdout}"
            at = found + 1


def test_command_line_takes_the_readme_adapter(tmp_path):
    body = next(body for body in PYTHON if "class JsonLines" in body)
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_lines.py").write_text(body)
    option = re.search(r"monkeywrench run --queue (\S+)`", README.read_text())[1]
    words = ["run", "killed-producer", "--queue", option, "--patience", "0.5"]
    done = run(["-m", "monkeywrench.scenarios", *words], tmp_path)
    assert done.returncode in (0, 1, 3), done.stderr
    assert "3 trials: " in done.stdout


def test_setup_commands_are_those_that_ci_runs():
    """They make an environment and install into it, which is for .ci/run, on a clean clone."""
    lines = [line for body in SHELL for line in body.splitlines()]
    ci = (README.parent / ".ci" / "run").read_text()
    pattern = re.search(r"grep -E '(.*)' README\.md", ci)[1]
    assert [line for line in README.read_text().splitlines() if re.search(pattern, line)] == lines
