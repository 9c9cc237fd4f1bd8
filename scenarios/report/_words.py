"""An event, said in words."""

from __future__ import annotations

from collections.abc import Mapping

from monkeywrench.harness.history import Event
from monkeywrench.harness.plan import Plan

_ENDS = {"ok": "returned", "fail": "failed"}


def sentence(event: Event, plan: Plan, producers: Mapping[int, str]) -> str:
    """Return what the event says, as a person would.

    producers: the names of the producers by the index that their messages carry.
    """
    value = event.value
    match event.f:
        case "enqueue" | "dequeue":
            what = "put" if event.f == "enqueue" else "get"
            if event.type == "invoke":
                said = f"{what} begins" if value is None else f"put of message {value[1]} begins"
            elif isinstance(value, dict):
                said = f"{what} {_ENDS.get(event.type, event.type)} {value.get('unknown')}, which is no message"
            elif value is None:
                said = f"{what} {_ENDS.get(event.type, event.type)}"
            else:
                of = f" of {producers.get(value[0], f'an unknown producer {value[0]}')}" if what == "get" else ""
                said = f"{what} {_ENDS.get(event.type, event.type)}: message {value[1]}{of}"
        case "strike":
            said = f"fault: {plan.faults[value['fault']]}"
        case "missed":
            said = f"did not strike: {plan.faults[value['fault']]}: {value['why']}"
        case "start":
            said = f"starts, pid {value['pid']}" if isinstance(value, dict) and "pid" in value else "starts"
        case "exit":
            said = "ends" if value.get("code") == 0 else f"ends by {how_ended(event)}"
        case "stuck":
            said = f"is stuck: nobody has moved for {value['seconds']:.1f} s"
        case "leak":
            said = f"left behind: {value['kind']} {value['what']}"
        case "changed":
            said = f"changed: {value['what']}"
        case "deadline":
            said = "the trial is given up: its deadline has passed"
        case other:
            said = other
    last = (event.error or "").rstrip().rpartition("\n")[2]
    return f"{said}: {last}" if last else said


def how_ended(event: Event) -> str:
    """Return how the peer of an exit event has ended: ``exit status 0``, ``SIGKILL``."""
    return str(event.value["signal"]) if "signal" in event.value else f"exit status {event.value.get('code')}"
