"""Whether this process is importing what a trial or a peer is made of, on behalf of the harness.

A module that runs a trial when it is imported, whose own root imports that module, would never come to an end.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ._errors import HarnessError

_loading = False


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """Have ``check`` raise for as long as the context lasts."""
    global _loading
    before, _loading = _loading, True
    try:
        yield
    finally:
        _loading = before


def check() -> None:
    """Raise HarnessError if somebody's module is being imported for a trial: one that starts another then."""
    if _loading:
        raise HarnessError(
            "a trial is run, or a peer spawned, by a module that is imported for one: put what runs it into a "
            "function, or below if __name__ == '__main__'"
        )
