"""What the files of a trial's directory are called, by all who write them and read them."""

from __future__ import annotations

from typing import Final

PLAN_FILE: Final = "plan.json"
# Where the client differs from what it was when it started its ancestor: environment, working directory.
SURROUNDINGS_FILE: Final = "surroundings.json"
ADAPTER_FILE: Final = "adapter.pickle"
# What the trial root wrote to its standard output and error. Every peer has such a file, too.
OUTPUT_SUFFIX: Final = ".output"
ROOT: Final = "root"
ROOT_OUTPUT_FILE: Final = f"{ROOT}{OUTPUT_SUFFIX}"
# Of each peer: its event log; what its faults noted; its stacks, when it was asked for them. Of the root: its stacks.
LOG_SUFFIX: Final = ".events"
NEMESIS_SUFFIX: Final = ".nemesis"
STACK_SUFFIX: Final = ".stack"
ROOT_STACK_FILE: Final = f"{ROOT}{STACK_SUFFIX}"
# Made before peers exist, and checked for leftovers when they are gone.
QUEUE_DIRECTORY: Final = "queue"
