"""Does each producer's order hold?"""

from __future__ import annotations

from ..ledger import First, Get, Ledger
from ._finding import Checked, Finding


def reordered(ledger: Ledger) -> Checked:
    """Find messages of one producer that were received out of the order they were put in.

    A message is late if the get of a later one had ended before its own get began. For one consumer that is its plain
    order; of two consumers that run beside each other, nobody knows whose get came first while they overlap.
    """
    if ledger.history.guarantees.order == "none":
        return
    names = {index: name for name, index in ledger.history.producers.items()}
    # What was merged behind foreign bytes goes to one consumer, which hands it out next: in its own order alone.
    merged = any(strike.beyond_posix for strike in ledger.strikes)
    for producer in ledger.putters:
        late: tuple[Get, int, Get, int] | None = None
        count = 0
        firsts: dict[str, First] = {}
        for get in ledger.firsts(producer):
            whose = ledger.get(get.began, get.ended).consumer if merged else ""
            first = firsts.setdefault(whose, get)
            if first is get:
                continue
            # Events are in the order of time. Two at the same nanosecond have no order, which only their times tell.
            if first.ended < get.began:
                overtaker, overtaken = ledger.get(first.began, first.ended), ledger.get(get.began, get.ended)
                if overtaker.ended_ns < overtaken.began_ns:
                    late = overtaken, get.number, overtaker, first.number
                    count += 1
            if get.ended < first.ended:
                firsts[whose] = get
        if late:
            overtaken, earlier, overtaker, number = late
            more = f"; {count} messages came late in all" if count > 1 else ""
            yield Finding(
                "reordered",
                f"{overtaken.consumer} got message {earlier} of {names.get(producer, producer)} after "
                f"{overtaker.consumer} had got message {number}{more}",
                tuple(dict.fromkeys((overtaken.consumer, overtaker.consumer))),
                (overtaker.event.index, overtaken.event.index),
            )
