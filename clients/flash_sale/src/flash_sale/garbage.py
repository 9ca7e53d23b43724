"""How often a process of the sale looks for garbage."""

import gc
from typing import Final

_ALLOCATIONS: Final = 50_000


def collect_seldom() -> None:
    """Looks for cycles seldom, and never among what is there already.

    Most of what they make is gone when its event is: looking more often cost a worker a seventh of its time.
    """
    gc.freeze()
    gc.set_threshold(_ALLOCATIONS, 20, 20)
