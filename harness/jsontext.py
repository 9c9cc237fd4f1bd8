"""JSON that anybody may have written: it is read, or refused in words that say why."""

from __future__ import annotations

import json
import sys
from typing import Any

MOST_LEVELS = 100


def loads(text: str) -> Any:
    """Return what the text means. Raises ``json.JSONDecodeError`` for what is no JSON, and ValueError for numbers that
    Python does not read, and for more levels than can be printed by every Python.
    """
    try:
        value = json.loads(text)
        if text.count("[") + text.count("{") > MOST_LEVELS and _is_deep(value):
            raise RecursionError
    except json.JSONDecodeError:
        raise
    except ValueError:
        raise ValueError(f"a whole number in it has more than {sys.get_int_max_str_digits()} digits") from None
    except RecursionError:
        raise ValueError(f"lists and objects in it are nested more than {MOST_LEVELS} levels deep") from None
    return value


def _is_deep(value: Any) -> bool:
    """Whether there are more levels than may be. Asked level by level, for it may be too deep to recurse."""
    level = [value]
    for _ in range(MOST_LEVELS):
        inner = [part.values() if isinstance(part, dict) else part for part in level if isinstance(part, (dict, list))]
        level = [each for parts in inner for each in parts]
    return any(isinstance(part, (dict, list)) for part in level)
