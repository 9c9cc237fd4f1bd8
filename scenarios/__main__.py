"""``python -m monkeywrench.scenarios`` is ``monkeywrench``."""

from .cli import main

main(prog_name="monkeywrench")
