"""A terminal that is drawn over again and again, and given back as it was."""

import os
import select
import shutil
import signal
import sys
import termios
import tty
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, Self

from lockservice_client.lockctl.picture import Row

# The other screen, no cursor, and nothing that is too long runs on in the next line; and back.
_ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[?7l"
_LEAVE: Final = "\x1b[?7h\x1b[?25h\x1b[?1049l"
_HOME: Final = "\x1b[H"
_REST_OF_LINE: Final = "\x1b[K"
_REST_OF_SCREEN: Final = "\x1b[J"
_PLAIN: Final = "\x1b[0m"
_STYLES: Final = {"": "", "head": "\x1b[1m", "bad": "\x1b[1;31m"}


class Terminal:
    """Takes the terminal, and gives it back at the end of the block, whatever ends it but SIGKILL."""

    def __init__(self) -> None:
        self._keys = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None
        self._before: list[Any] = []

    def __enter__(self) -> Self:
        """Takes it."""
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        if self._keys is not None:
            self._before = termios.tcgetattr(self._keys)
            tty.setcbreak(self._keys)
        self._write(_ENTER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Gives it back."""
        self._write(_LEAVE)
        if self._keys is not None:
            termios.tcsetattr(self._keys, termios.TCSADRAIN, self._before)

    @property
    def size(self) -> os.terminal_size:
        """Its columns and lines now."""
        return shutil.get_terminal_size()

    def show(self, rows: Sequence[Row]) -> None:
        """Draws rows from the top, and clears what is left of the screen."""
        drawn = [f"{_STYLES[row.style]}{row.text}{_PLAIN}{_REST_OF_LINE}" for row in rows]
        self._write(_HOME + "\n".join(drawn) + _REST_OF_SCREEN)

    def key(self, timeout: float) -> str:
        """Returns a key that is pressed within so many seconds; empty: none is."""
        if self._keys is None:
            select.select([], [], [], timeout)
            return ""
        ready, _, _ = select.select([self._keys], [], [], timeout)
        return os.read(self._keys, 64).decode(errors="replace") if ready else ""

    @staticmethod
    def _write(text: str) -> None:
        # Whatever its encoding, a name that it has no letters for must not end the program.
        sys.stdout.buffer.write(text.encode(sys.stdout.encoding or "ascii", errors="replace"))
        sys.stdout.buffer.flush()
