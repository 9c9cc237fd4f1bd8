"""Does each producer's order hold?"""

from __future__ import annotations

from collections import defaultdict

from ..ledger import Get, Ledger
from ._finding import Checked, Finding


def reordered(ledger: Ledger) -> Checked:
    """Find messages of one producer that were received out of the order they were put in.

    A message is late if the get of a later one had ended before its own get began. For one consumer that is its plain
    order; of two consumers that run beside each other, nobody knows whose get came first while they overlap.
    """
    if ledger.history.guarantees.order == "none":
        return
    names = {index: name for name, index in ledger.history.producers.items()}
    by_producer: dict[int, list[tuple[int, Get]]] = defaultdict(list)
    for (producer, number), gets in ledger.received.items():
        if (producer, number) not in ledger.puts:
            continue  # nobody put it: it has no place in any order
        by_producer[producer].append((number, gets[0]))
    for producer, received in by_producer.items():
        received.sort(key=lambda numbered: numbered[0], reverse=True)
        late: list[tuple[int, Get, int, Get]] = []
        number, first = received[0]
        for earlier, get in received[1:]:
            if first.ended_ns < get.began_ns:
                late.append((earlier, get, number, first))
            if get.ended_ns < first.ended_ns:
                number, first = earlier, get
        if late:
            earlier, get, number, overtaker = late[-1]
            more = f"; {len(late)} messages came late in all" if len(late) > 1 else ""
            yield Finding(
                "reordered",
                f"{get.consumer} got message {earlier} of {names.get(producer, producer)} after "
                f"{overtaker.consumer} had got message {number}{more}",
                tuple(dict.fromkeys((get.consumer, overtaker.consumer))),
                (overtaker.event.index, get.event.index),
            )
