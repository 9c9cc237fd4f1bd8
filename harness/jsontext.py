"""JSON that anybody may have written: it is read, or refused in words that say why."""

from __future__ import annotations

import json
import sys
from typing import Any


def loads(text: str) -> Any:
    """Return what the text means. Raises ``json.JSONDecodeError`` for what is no JSON, and ValueError for more than
    Python reads of it.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except ValueError:
        raise ValueError(f"a whole number in it has more than {sys.get_int_max_str_digits()} digits") from None
    except RecursionError:
        raise ValueError("lists and objects in it are nested too deeply") from None
