"""Text of others on a terminal: shown as it is read, never obeyed, and never wider than it may be."""

import unicodedata
from typing import Final

# Control characters, invisible ones such as those that turn the direction of writing, and what no font can show.
_HIDDEN: Final = frozenset(("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"))
_ELLIPSIS: Final = "…"


def visible(text: str, *, keep: str = "") -> str:
    """Writes what a terminal would obey or hide as an escape, but for the characters to keep."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if c in keep or not _is_hidden(c) else c.encode("unicode_escape").decode() for c in text)


def _is_hidden(character: str) -> bool:
    return unicodedata.category(character) in _HIDDEN


def _columns_of(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def width(text: str) -> int:
    """Returns how many columns a visible text takes at most. Marks count as one each: terminals differ there."""
    return len(text) if text.isascii() else sum(map(_columns_of, text))


def fit(text: str, columns: int) -> str:
    """Makes a text visible in exactly so many columns, cut with an ellipsis or filled up with spaces."""
    # Every character counts for a column or more, so the rest is cut away in any case.
    shown = visible(text[: columns + 1])
    taken = width(shown)
    if taken <= columns:
        return shown + " " * (columns - taken)
    kept, left = [], columns - 1
    for character in shown:
        left -= _columns_of(character)
        if left < 0:
            break
        kept.append(character)
    cut = "".join(kept) + _ELLIPSIS if columns > 0 else ""
    return cut + " " * (columns - width(cut))
