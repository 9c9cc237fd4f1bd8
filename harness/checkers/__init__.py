"""The checkers: pure functions from a history's ledger to findings, and the one list of them.

lost, unexpected, duplicated and recovered are the words of Jepsen's total-queue checker. *Recovered* is no finding:
it is allowed, and counted.
"""

from __future__ import annotations

from collections.abc import Callable

from ..ledger import Ledger
from ._finding import Checked, Finding
from .delivery import duplicated, lost, unexpected
from .integrity import corrupted
from .order import reordered
from .peers import crashed, grown, leaked, shared, stuck

CHECKERS: tuple[Callable[[Ledger], Checked], ...] = (
    stuck,
    crashed,
    corrupted,
    lost,
    unexpected,
    duplicated,
    reordered,
    leaked,
    grown,
    shared,
)

__all__ = ["CHECKERS", "Checked", "Finding", *(checker.__name__ for checker in CHECKERS)]
