"""A command that runs under a lease: started, signalled, stopped in time."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Sequence
from typing import Final

from lockservice_client.lease import Lease
from lockservice_client.lockctl import guarded

_FORWARDED: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGQUIT)
# A terminal sends these to its whole foreground group, the command included.
_OF_TERMINAL: Final = (signal.SIGINT, signal.SIGQUIT)
_SIGNALLED: Final = 128
# The command is asked to end when this part of the ttl is left, and killed when half of that is.
_STOP_PART: Final = 1 / 6
_KILL_S_MIN: Final = 0.01


class Child:
    """A command and whatever it starts.

    On a terminal it stays in the terminal's foreground group, so that it can be typed to, and only the command itself
    is signalled. Elsewhere it has a group of its own, which is signalled as a whole.
    """

    def __init__(self, words: Sequence[str], environment: dict[str, str]) -> None:
        self._words = words
        self._environment = environment
        self._grouped = not os.isatty(sys.stdin.fileno()) if sys.stdin is not None else True
        self._process: asyncio.subprocess.Process | None = None
        self._stopped = False

    async def run(self, lease: Lease, ttl: float) -> tuple[int, bool]:
        """Returns its exit code, 128+n for a signal, and whether it was stopped because the lease was ending."""
        lifeline, ours = os.pipe()
        try:
            await self._start(lifeline)
            for number in _FORWARDED:
                if self._grouped or number not in _OF_TERMINAL:
                    asyncio.get_running_loop().add_signal_handler(number, self._signal, number)
                else:
                    signal.signal(number, lambda *_: None)
            stopper = asyncio.create_task(self._stop_in_time(lease, ttl))
            assert self._process is not None
            code = await self._process.wait()
            if self._stopped and self._grouped:
                # What the command left behind must be gone too.
                self._signal(signal.SIGKILL)
            stopper.cancel()
            await asyncio.wait((stopper,))
            os.write(ours, b".")
        finally:
            os.close(lifeline)
            os.close(ours)
        return (code if code >= 0 else _SIGNALLED - code), self._stopped

    async def _start(self, lifeline: int) -> None:
        reach = "group" if self._grouped else "alone"
        guard = (sys.executable, "-I", "-S", guarded.__file__, str(os.getpid()), str(lifeline), reach)
        self._process = await asyncio.create_subprocess_exec(
            *guard,
            *self._words,
            env=self._environment,
            pass_fds=(lifeline,),
            process_group=0 if self._grouped else None,
        )

    async def _stop_in_time(self, lease: Lease, ttl: float) -> None:
        """Stops the command while the lease still holds: first asks it to end, then ends it."""
        while lease.remaining > ttl * _STOP_PART:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(lease.lost.wait(), lease.remaining - ttl * _STOP_PART)
        sys.stderr.write(f"lockctl: the lease on {lease.resource} is being lost, stopping the command\n")
        self._stopped = True
        self._signal(signal.SIGTERM)
        await asyncio.sleep(max(_KILL_S_MIN, min(lease.remaining, ttl * _STOP_PART) / 2))
        self._signal(signal.SIGKILL)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            if self._grouped:
                os.killpg(self._process.pid, number)
            else:
                os.kill(self._process.pid, number)
