"""The built-in scenarios. This is the one list of them."""

from __future__ import annotations

from ._scenario import Scenario
from .crowds import CROWD
from .everything import EVERYTHING
from .killed_peers import (
    KILLED_AND_REPLACED,
    KILLED_CONSUMER,
    KILLED_POLITELY,
    KILLED_PRODUCER,
    KILLED_TOGETHER,
    KILLED_WHILE_BLOCKED,
)
from .odd_messages import KILLED_IN_A_BIG_MESSAGE, ODD_MESSAGES
from .partial_writes import FOREIGN_BYTES, SHORT_TRANSFER, TORN_WRITE
from .slow_readers import SLOW_READER
from .soak import SOAK
from .stale_fifos import REMOVED_FIFO, STALE_FIFO
from .system_says_no import NO_DESCRIPTORS, SYSTEM_SAYS_NO

SCENARIOS: dict[str, Scenario] = {
    scenario.name: scenario
    for scenario in (
        TORN_WRITE,
        SHORT_TRANSFER,
        FOREIGN_BYTES,
        SLOW_READER,
        KILLED_PRODUCER,
        KILLED_CONSUMER,
        KILLED_WHILE_BLOCKED,
        KILLED_AND_REPLACED,
        KILLED_TOGETHER,
        KILLED_POLITELY,
        STALE_FIFO,
        REMOVED_FIFO,
        SYSTEM_SAYS_NO,
        NO_DESCRIPTORS,
        CROWD,
        ODD_MESSAGES,
        KILLED_IN_A_BIG_MESSAGE,
        EVERYTHING,
        SOAK,
    )
}
