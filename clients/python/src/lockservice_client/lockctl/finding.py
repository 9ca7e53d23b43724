"""What the doctor found: one fact each, how bad it is, and what to do about it."""

from typing import Literal, NamedTuple

Level = Literal["ok", "warn", "fail"]


class Finding(NamedTuple):
    """One fact.

    Attributes:
        check: what was looked at.
        level: "warn": it works, and should be mended; "fail": it does not work, or cannot be trusted.
        found: what was seen, in words.
        advice: what to do; empty when all is well.
    """

    check: str
    level: Level
    found: str
    advice: str = ""


def ok(check: str, found: str) -> Finding:
    """Notes that something is as it should be."""
    return Finding(check, "ok", found)


def warn(check: str, found: str, advice: str) -> Finding:
    """Notes that something works and should be mended."""
    return Finding(check, "warn", found, advice)


def fail(check: str, found: str, advice: str) -> Finding:
    """Notes that something does not work, or cannot be trusted."""
    return Finding(check, "fail", found, advice)
