"""What a client's tests came to, from their JUnit files."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

_NUMBER: Final = re.compile(r"(?<![A-Za-z0-9])[Ss](\d\d)(?![0-9])|(?<=[Tt]est)S(\d\d)(?![0-9])")
_BAD: Final = frozenset({"failure", "error"})


class Results(NamedTuple):
    """Tests by how they ended, and the numbers of promises without a test that passed."""

    passed: int
    failed: list[str]
    skipped: int
    missing: list[str]


def read(files: Iterable[Path], promises: Iterable[str]) -> Results:
    """Reads JUnit files; a promise is kept by tests with its number in their name, none of which failed."""
    passed, failed, skipped = [], [], 0
    for file in files:
        # The file was written by the tests that were started here.
        for case in ET.parse(file).getroot().iter("testcase"):  # noqa: S314
            name = f"{case.get('classname', '')} {case.get('name', '')}".strip()
            tags = {child.tag for child in case}
            if tags & _BAD:
                failed.append(name)
            elif "skipped" in tags:
                skipped += 1
            else:
                passed.append(name)
    kept = numbers(passed) - numbers(failed)
    return Results(len(passed), failed, skipped, [promise for promise in promises if promise not in kept])


def numbers(names: Iterable[str]) -> set[str]:
    """Finds the numbers of promises in tests' names: `S07 …`, `test_s07_…`, `TestS07…`."""
    return {f"S{match[1] or match[2]}" for name in names for match in _NUMBER.finditer(name)}
