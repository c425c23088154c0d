"""How values are written in the text of a graph; `text.py` reads them back."""

from __future__ import annotations

import json
from typing import Any

from spikec.ir.op import AttrValue


def attribute_text(value: AttrValue) -> str:
    """An attribute: a word, a number, a quoted string or a list of integers."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return f"[{', '.join(map(repr, value))}]"
    if isinstance(value, float):
        return repr(float(value))
    return json.dumps(value) if isinstance(value, str) else repr(value)


def array_text(value: Any) -> str:
    """A number, or nested lists of numbers."""
    if isinstance(value, list):
        return f"[{', '.join(map(array_text, value))}]"
    return repr(value)
