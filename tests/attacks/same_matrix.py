#!/usr/bin/env python3
"""Run the matrix again and again with one seed: each cell without a tilde has to say the same, trial by trial.

Exit status: 0 all the same, 1 one differed, 3 there was nothing to compare, 4 the harness itself failed. What is no
option of this command is for the matrix.

    python tests/attacks/same_matrix.py --runs 3 --seed 1
    python tests/attacks/same_matrix.py --runs 9 killed-consumer --queue multiprocessing.Pipe
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from monkeywrench.harness.trial import draw_seed

Cells = dict[tuple[str, str], dict[str, Any]]
HARNESS = 4


def run(seed: int, words: list[str]) -> tuple[int, Cells]:
    """Return the exit status of one matrix, and its cells by scenario and queue."""
    command = [sys.executable, "-m", "monkeywrench.scenarios", "matrix", *words, "--seed", str(seed), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        cells = json.loads(done.stdout)["cells"]
    except ValueError:
        sys.exit(f"{' '.join(command)} ended with exit status {done.returncode}:\n{done.stderr}")
    return done.returncode, {(cell["scenario"], cell["queue"]): cell for cell in cells}


def outcome(cell: dict[str, Any]) -> tuple[str, ...]:
    """Return what has to be the same: what the cell says, and of each trial its status and the kinds of findings."""
    trials = [
        f"{trial['trial']}: {', '.join(sorted({finding['kind'] for finding in trial['findings']})) or trial['status']}"
        for trial in cell["trials"]
    ]
    return (cell["text"], *trials)


def differing(runs: list[Cells]) -> dict[tuple[str, str], list[tuple[str, ...]]]:
    """Return the cells that are not the same in all runs, each with its outcomes."""
    outcomes = {place: [outcome(cells[place]) for cells in runs] for place in runs[0]}
    return {place: seen for place, seen in outcomes.items() if len(set(seen)) > 1}


def own(outcomes: list[tuple[str, ...]], cell: dict[str, Any]) -> Iterator[str]:
    """Yield of each trial that is not the same in all runs what was found in this one."""
    for line, trial in zip(outcome(cell)[1:], cell["trials"], strict=True):
        if not all(line in seen for seen in outcomes):
            yield line
            yield from (f"  {finding['sentence']}" for finding in trial["findings"])
            yield from (f"  {doubt}" for doubt in trial["doubts"])


def main(argv: list[str]) -> int:
    """Run them, and return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=None)
    args, words = parser.parse_known_args(argv)
    seed = draw_seed() if args.seed is None else args.seed
    print(f"seed {seed}", flush=True)
    runs: list[Cells] = []
    status = 0
    for number in range(1, args.runs + 1):
        began = time.monotonic()
        ended, cells = run(seed, words)
        runs.append(cells)
        status = max(status, ended if ended >= HARNESS else 0)
        print(f"run {number} of {args.runs}: exit status {ended}, {time.monotonic() - began:.0f} s", flush=True)
    marked = {place for place in runs[0] if all(cells[place]["rests_on_timing"] for cells in runs)}
    tried = {place for place, cell in runs[0].items() if cell["status"] != "not applicable"}
    held = tried - marked
    found = differing(runs)
    wrong = [place for place in found if place not in marked]
    for place in wrong:
        print(f"differs: {place[0]} on {place[1]}")
        for number, cells in enumerate(runs, start=1):
            print("\n    ".join([f"  run {number}: {cells[place]['text']}", *own(found[place], cells[place])]))
    print(
        f"{len(held)} cells without a tilde, {args.runs} runs: {len(wrong)} differed; "
        f"{len(marked)} with one: {len(found) - len(wrong)} differed"
    )
    return status or (1 if wrong else 0 if held else 3)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
