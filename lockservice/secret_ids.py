"""Ids that nobody can guess: 131.9 random bits, written in 22 characters of URL-safe base64.

None begins with a hyphen, though a 64th of them would: a command line takes such a word for an option.
"""

import os
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from typing import Final

_ID_CHARACTERS: Final = 22
# So many bytes make two ids, with no bit left over.
_PAIR_BYTES: Final = 33
# So many are made at once: a system call for each made a twentieth of an operation's processor time.
_PAIRS_AT_ONCE: Final = 128


def _secret_ids() -> Iterator[str]:
    while True:
        text = urlsafe_b64encode(os.urandom(_PAIR_BYTES * _PAIRS_AT_ONCE)).decode()
        for start in range(0, len(text), _ID_CHARACTERS):
            if text[start] != "-":
                yield text[start : start + _ID_CHARACTERS]


next_secret_id: Callable[[], str] = _secret_ids().__next__
"""Returns a new id. For the event loop's thread only."""
