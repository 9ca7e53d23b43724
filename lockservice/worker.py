"""One of several workers that share a port: a whole replica, started and ended by the supervisor.

Run as `python -m lockservice.worker NUMBER PARENT_PID`, with its settings, pickled, on standard input. It writes one
line to standard output once it serves.
"""

import logging
import os
import pickle
import sys
from typing import Final

from lockservice import logs, process
from lockservice.config import Settings
from lockservice.console.relay import Answering
from lockservice.console.routes import Problems
from lockservice.console.source import Here
from lockservice.credentials import Credentials
from lockservice.ops import Part
from lockservice.server import Server

SERVES: Final = b"serves\n"


class Worker(Server):
    """A server that answers to a supervisor instead of an operator.

    Args:
        settings: with the port that all workers share, and the unix socket of this one's operators' port.
        parent_pid: the supervisor.
    """

    def __init__(self, settings: Settings, parent_pid: int) -> None:
        super().__init__(settings)
        self._parent_pid = parent_pid

    def announce(self) -> None:
        """Tells the supervisor, which speaks for all workers."""
        os.write(sys.stdout.fileno(), SERVES)

    def _console(self, here: Here, problems: Problems, credentials: Credentials | None) -> Part:
        return Answering(here)

    async def drain(self) -> None:
        """Drains, unless the signal came from the kernel because the supervisor was killed."""
        if os.getppid() != self._parent_pid:
            # Its successor needs the port, and the embedded shards have ended with it.
            self.abandon()
        await super().drain()


def main() -> None:
    """Serves until the supervisor says otherwise."""
    number, parent_pid = (int(word) for word in sys.argv[1:])
    settings: Settings = pickle.load(sys.stdin.buffer)  # noqa: S301  from the supervisor
    logs.set_up(settings.log_format, settings.log_level)

    def with_worker(record: logging.LogRecord) -> bool:
        record.worker = number
        return True

    for handler in logging.getLogger().handlers:
        handler.addFilter(with_worker)
    sys.exit(process.run(Worker(settings, parent_pid)))


if __name__ == "__main__":
    main()
