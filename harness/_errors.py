"""Errors of the harness: one base, so that a caller can catch them all and mistake none for the queue's."""

from __future__ import annotations

from collections.abc import Collection, Iterable


class MonkeywrenchError(Exception):
    """Something about a trial is wrong that is not the queue's fault."""


class PlanError(MonkeywrenchError, ValueError):
    """A plan asks for what cannot be. Nothing was started. The message says what is allowed."""


class PeerError(MonkeywrenchError):
    """A spawned function did not return. The message says how it ended, and has its output."""


class HistoryError(MonkeywrenchError, ValueError):
    """A recorded history cannot be read. The message names the file and the line."""


class HarnessError(MonkeywrenchError):
    """The harness itself failed, so that the trial says nothing about the queue. Nothing of it is left running."""


def meant(name: str, known: Iterable[str], question: str) -> str:
    """Return the *question* whether somebody who wrote *name* meant the nearest of what is known; nothing, if none is
    near.

    question: has ``{}`` for that, quoted.
    """
    import difflib  # which takes a while to import, for what seldom happens

    near = difflib.get_close_matches(name, known, n=1)
    return question.format(repr(near[0])) if near else ""


def check_keys(keys: Iterable[str], allowed: Collection[str], what: str) -> None:
    """Raise PlanError for keys that are not among those allowed, with what was probably meant."""
    if unknown := sorted(set(keys) - set(allowed)):
        question = meant(unknown[0], allowed, " (did you mean {}?)")
        raise PlanError(f"unknown in {what}: {', '.join(unknown)}{question}; it takes {', '.join(allowed)}")
