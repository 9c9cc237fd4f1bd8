"""What the house rests on: which way imports go, what loads what, and which names are public."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ALLOWED = {
    "pipes": {"monkeywrench.pipes"},
    "harness": {"monkeywrench.harness"},
    "scenarios": {"monkeywrench.scenarios", "monkeywrench.harness", "monkeywrench.pipes"},
}
# The one file where the harness meets the queue; the plugin's fixture hands the queue out, and imports it when asked.
MEETINGS = {"harness/adapters/pipes.py", "harness/adapters/pipes_asyncio.py", "harness/plugin.py"}
# `queue put` and `queue get` are the queue on the command line; `bench` times it without anything between.
USE_THE_QUEUE = {"scenarios/_queue.py", "scenarios/_contenders.py"}


def imports(path):
    """Yield the full name of every module that a file imports."""
    package = ["monkeywrench", *path.relative_to(ROOT).parent.parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            yield ".".join([*base, *([node.module] if node.module else [])])


def files(folder):
    return sorted((ROOT / folder).rglob("*.py"))


@pytest.mark.parametrize("folder", ALLOWED)
def test_imports_go_one_way(folder):
    for path in files(folder):
        allowed = set(ALLOWED[folder])
        name = str(path.relative_to(ROOT))
        if name in MEETINGS:
            allowed.add("monkeywrench.pipes")
        if folder == "scenarios" and name not in USE_THE_QUEUE:
            allowed.discard("monkeywrench.pipes")
        for module in imports(path):
            if module.startswith("monkeywrench"):
                assert ".".join(module.split(".")[:2]) in allowed, f"{name} imports {module}"


def fresh(code):
    """Run *code* in a fresh interpreter and return what it prints, as words."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split()


def loaded_by(code, before=""):
    return set(fresh(f"import sys\n{before}\nb = set(sys.modules)\n{code}\nprint(*sorted(set(sys.modules) - b))"))


def test_queue_loads_the_standard_library_and_its_codec_alone():
    tops = {name.partition(".")[0] for name in loaded_by("import monkeywrench.pipes")}
    finders = {name for name in tops if name.startswith("__editable__")}
    assert tops - set(sys.stdlib_module_names) - finders <= {"monkeywrench", "ormsgpack"}
    assert "multiprocessing" not in tops
    assert "pytest" not in tops


def test_plugin_loads_nothing_until_a_fixture_is_asked_for():
    loaded = loaded_by("import monkeywrench.harness.plugin", before="import pytest")
    ours = {name for name in loaded if not name.startswith("__editable__")}
    # The finder of an editable install brings the other names with it.
    ours -= loaded_by("import monkeywrench", before="import pytest")
    assert ours <= {"monkeywrench.harness", "monkeywrench.harness.plugin", "__future__"}, ours


def test_command_line_loads_no_scenario_for_its_help():
    code = (
        "from monkeywrench.scenarios.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
        "print(*sorted(sys.modules))"
    )
    loaded = set(fresh(f"import sys\n{code}"))
    assert not {"rich", "multiprocessing", "monkeywrench.harness.runner", "ormsgpack"} & loaded


@pytest.mark.parametrize("name", ["monkeywrench.pipes", "monkeywrench.harness", "monkeywrench.scenarios"])
def test_public_names_are_there_and_documented(name):
    module = importlib.import_module(name)
    assert len(set(module.__all__)) == len(module.__all__)
    for public in module.__all__:
        thing = getattr(module, public)
        if callable(thing):
            assert thing.__doc__, f"{name}.{public} says nothing of itself"


def test_unknown_name_is_an_attribute_error():
    harness = importlib.import_module("monkeywrench.harness")
    with pytest.raises(AttributeError, match="has no attribute 'nonsense'"):
        _ = harness.nonsense


def test_namespace_has_no_init_of_its_own():
    assert not (ROOT / "__init__.py").exists()
    assert importlib.import_module("monkeywrench").__file__ is None
