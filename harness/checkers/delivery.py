"""Does every message arrive, once, and nothing else?"""

from __future__ import annotations

from ..ledger import Ledger, Message
from ._finding import Checked, Finding


def lost(ledger: Ledger) -> Checked:
    """Find messages whose put returned and which nobody received, beyond what the guarantees excuse.

    Only the heal takes out what is left in a queue. Where it did not take place, because a peer is stuck, say, what
    was not received may be there still; and what a peer did for which its log had no room, nobody knows.
    """
    if not ledger.healed or ledger.full:
        return
    missing = ledger.missing()
    excused = ledger.may_be_taken(missing)
    surplus = len(missing) - len(excused)
    if not surplus:
        return
    beyond = f", beyond the {len(excused)} that killed peers may have taken with them" if excused else ""
    one = surplus == 1
    yield Finding(
        "lost",
        f"{surplus} message{'' if one else 's'} whose put returned {'was' if one else 'were'} never received"
        f"{beyond}: {_names(ledger, missing)}",
        peers=tuple(sorted({_producer(ledger, message) for message in missing})),
        events=ledger.put_events(set(missing)),
    )


def unexpected(ledger: Ledger) -> Checked:
    """Find what was received and never put: no message at all, one that nobody put, or one whose put failed."""
    for event in ledger.unknown:
        what = event.value.get("unknown")
        yield Finding("unexpected", f"{event.process} got {what}, which nobody put", (event.process,), (event.index,))
    for message in ledger.never_put():
        gets = ledger.gets(message)
        why = "whose put failed" if ledger.puts.get(message) == "fail" else "which nobody put"
        yield Finding(
            "unexpected",
            f"{gets[0].consumer} got {_names(ledger, [message])}, {why}",
            (gets[0].consumer,),
            tuple(get.event.index for get in gets),
        )


def duplicated(ledger: Ledger) -> Checked:
    """Find messages that were received more often than put."""
    if ledger.history.guarantees.duplicates:
        return
    for message in ledger.again:
        gets = ledger.gets(message)
        by = " and ".join(dict.fromkeys(get.consumer for get in gets))
        yield Finding(
            "duplicated",
            f"{_names(ledger, [message])} was received {len(gets)} times, by {by}",
            tuple(get.consumer for get in gets),
            tuple(get.event.index for get in gets),
        )


def _producer(ledger: Ledger, message: Message) -> str:
    names = {index: name for name, index in ledger.history.producers.items()}
    return names.get(message[0], f"an unknown producer {message[0]}")


def _names(ledger: Ledger, messages: list[Message]) -> str:
    shown = [f"message {message[1]} of {_producer(ledger, message)}" for message in messages[:3]]
    return ", ".join(shown) + (f" and {len(messages) - 3} more" if len(messages) > 3 else "")
