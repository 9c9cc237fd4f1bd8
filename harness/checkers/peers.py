"""Do the peers go on, end as planned, and leave nothing behind?"""

from __future__ import annotations

from .._files import ROOT
from ..history import Event
from ..ledger import Ledger, frame
from ._finding import Checked, Finding


def stuck(ledger: Ledger) -> Checked:
    """Find peers that should go on and do not: who waits for what, and who was killed before."""
    killed = tuple(strike.planned.peer for strike in ledger.strikes if ledger.was_final(strike))
    after = f" since {' and '.join(killed)} {'was' if len(killed) == 1 else 'were'} killed" if killed else ""
    # Those on the side of the killed first: they wait for what it held, the others for them.
    sides = {_side(peer) for peer in killed}
    for event in sorted(ledger.stuck, key=lambda event: _side(event.process) not in sides):
        stack = [frame(place) for place in reversed(event.value.get("stack") or [])]
        inside = event.value.get("inside") or ledger.doing(event.process)
        waits = f"waits inside its {inside}" if stack else "gives no sign of life"
        yield Finding(
            "stuck",
            f"{event.process} {waits}; no peer has moved for {event.value['seconds']:.1f} s{after}",
            (event.process, *killed),
            (event.index, *(strike.event.index for strike in ledger.strikes)),
            tuple(f"{'called from' if depth else 'at'} {place}" for depth, place in enumerate(stack)),
        )


def crashed(ledger: Ledger) -> Checked:
    """Find peers that ended by an exception, a signal or an exit which nobody planned."""
    for process, event in ledger.exits.items():
        if ledger.killed(process) or process in ledger.full or event.value.get("by_harness") or _orderly(event):
            continue
        how = f"signal {event.value['signal']}" if "signal" in event.value else f"exit status {event.value.get('code')}"
        trace = (event.error or "").rstrip().splitlines()
        # A traceback ends with the errors of a group, or with notes.
        said = event.value.get("headline") or (trace[-1] if trace else "")
        last = f": {said}" if said else ""
        # It went without a word, from the middle of what it was to do: os._exit(), or C code's exit().
        where = f" inside its {ledger.doing(process)}" if event.value.get("untold") else ""
        yield Finding("crashed", f"{process} ended by {how}{where}{last}", (process,), (event.index,), tuple(trace))


def leaked(ledger: Ledger) -> Checked:
    """Find processes, descriptors, threads and files that are still there when all peers have closed the queue."""
    for event in ledger.leaks:
        what = f"{event.value['kind']} {event.value['what']}"
        # What the trial root has found, any of them may have left.
        peers = () if event.process == ROOT else (event.process,)
        yield Finding("leaked", f"{', '.join(peers) or 'somebody'} left behind: {what}", peers, (event.index,))


# A queue may keep some open that it needs again.
_MAY_GROW = 16


def grown(ledger: Ledger) -> Checked:
    """Find peers whose descriptors grow with the number of their messages, though they are closed in the end."""
    for event in ledger.grown:
        opened, now = event.value["opened"], event.value["now"]
        if now - opened <= _MAY_GROW:
            continue  # as nearly always: nobody needs to count the messages
        messages = ledger.messages(event.process)
        if now - opened > messages // 10:
            yield Finding(
                "leaked",
                f"{event.process} had {now} descriptors open before it closed the queue, {now - opened} more than "
                f"after its first message; messages: {messages}",
                (event.process,),
                (event.index,),
            )


def shared(ledger: Ledger) -> Checked:
    """Find what another trial of the same queue, at the same time, would use as well."""
    for event in ledger.shared:
        yield Finding(
            "leaked",
            f"{event.process} used {event.value['what']}, outside of the trial's directory: another trial shares it",
            (event.process,),
            (event.index,),
        )


def _side(peer: str) -> str:
    return peer.rpartition("-")[0].rpartition("-")[2]


def _orderly(event: Event) -> bool:
    return event.value.get("code") == 0 and not event.value.get("untold")
