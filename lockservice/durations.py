"""Durations as people write them: `250ms`, `10s`, `5m`, `1h`, `1d`."""

import re
from typing import Final

_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PATTERN: Final = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)(ms|s|m|h|d)")


def parse_ms(text: str) -> int:
    """Reads a duration into whole milliseconds. Raises ValueError."""
    match = _PATTERN.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no duration: write a number and ms, s, m, h or d, such as 250ms")
    return round(float(match[1]) * _MS[match[2]])


def format_ms(ms: int) -> str:
    """Writes milliseconds with the largest unit that divides them."""
    for unit, size in reversed(_MS.items()):
        if ms and ms % size == 0:
            return f"{ms // size}{unit}"
    return "0s" if not ms else f"{ms}ms"
