"""Ids that nobody can guess: 128 random bits, written in 22 characters of unpadded URL-safe base64."""

import os
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import Final

_ID_BYTES: Final = 16
_ID_CHARACTERS: Final = 22
# The kernel is asked for so many at once: a system call for each made a twentieth of an operation's processor time.
_IDS_AT_ONCE: Final = 256


def _secret_ids() -> Iterator[str]:
    while True:
        random = os.urandom(_ID_BYTES * _IDS_AT_ONCE)
        for start in range(0, len(random), _ID_BYTES):
            yield urlsafe_b64encode(random[start : start + _ID_BYTES])[:_ID_CHARACTERS].decode()


next_secret_id: Callable[[], str] = _secret_ids().__next__
"""Returns a new id. For the event loop's thread only."""
