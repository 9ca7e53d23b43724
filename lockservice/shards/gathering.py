"""When commands that are to be written leave: once nobody adds to them any more.

A write costs this process and Redis a system call and a wake-up each, which is more than the commands in it cost.
Unary calls arrive one by one, a few turns of the event loop apart, so writes at the end of every turn would carry one
or two. The loop of a process that has nothing else to do makes a turn in a microsecond; that of a busy one takes as
long as the work of others that may be about to add a command. So turns, and not a timer, tell when to leave: whoever
is alone loses next to nothing, and under load more leave together.
"""

import asyncio
import time
from collections.abc import Callable

from lockservice.limits import GATHER_MS_MAX, QUIET_TURNS


class Gathering:
    """Waits until commands have stopped coming.

    Args:
        waiting: says how many commands are to be written, and 0 once they need not be waited for.
        leave: writes them.
    """

    def __init__(self, waiting: Callable[[], int], leave: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting = waiting
        self._leave = leave
        self._begun = False

    def begin(self) -> None:
        """Has them leave soon; nothing happens if there are none, or that is under way already."""
        if self._waiting() and not self._begun:
            self._begun = True
            until = time.perf_counter() + GATHER_MS_MAX / 1000
            self._loop.call_soon(self._turn, self._waiting(), QUIET_TURNS, until)

    def _turn(self, seen: int, turns: int, until: float) -> None:
        count = self._waiting()
        if count and turns and time.perf_counter() < until:
            self._loop.call_soon(self._turn, count, turns - 1 if count == seen else QUIET_TURNS, until)
            return
        self._begun = False
        if count:
            self._leave()
