"""Is what comes out what went in?"""

from __future__ import annotations

from ..ledger import Ledger
from ._finding import Checked, Finding


def corrupted(ledger: Ledger) -> Checked:
    """Find messages whose value or type differs from what was put, and files of others that the queue has changed."""
    names = {index: name for name, index in ledger.history.producers.items()}
    for event in ledger.corrupted:
        producer = names.get(event.value[0], f"an unknown producer {event.value[0]}")
        yield Finding(
            "corrupted",
            f"{event.process} got message {event.value[1]} of {producer} changed: {event.error}",
            (event.process,),
            (event.index,),
        )
    for event in ledger.changed:
        what = event.value["what"]
        yield Finding("corrupted", f"{what}: it was changed, and is not the queue's", (event.process,), (event.index,))
