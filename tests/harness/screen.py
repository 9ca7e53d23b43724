"""A terminal of so many columns and lines that a program runs on, and what is on it."""

import asyncio
import codecs
import fcntl
import os
import pty
import re
import struct
import termios
from typing import Final, Self

from harness.lockctl import environment
from harness.service import until

# All that the program may tell the terminal: go home, clear, change colours, take the other screen and give it back.
TOLD: Final = re.compile(r"\x1b\[(H|K|J|\d+(;\d+)*m|\?(1049|25|7)[hl])")
_HOME: Final = "\x1b[H"


class Screen:
    """Runs a program on a pseudo-terminal."""

    def __init__(self, *words: str, columns: int, lines: int, **variables: str) -> None:
        self._words = words
        self._variables = variables
        self._ours, self._theirs = pty.openpty()
        self.resize(columns, lines)
        self.written = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()

    def resize(self, columns: int, lines: int) -> None:
        """Gives the terminal another size."""
        self.columns, self.lines = columns, lines
        fcntl.ioctl(self._theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    async def __aenter__(self) -> Self:
        self.modes = termios.tcgetattr(self._theirs)
        plain = {name: text for name, text in environment().items() if name not in {"COLUMNS", "LINES"}}
        self.process = await asyncio.create_subprocess_exec(
            *self._words,
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            env={**plain, "TERM": "xterm", "PYTHONUTF8": "1", **self._variables},
            start_new_session=True,
        )
        asyncio.get_running_loop().add_reader(self._ours, self._read)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        asyncio.get_running_loop().remove_reader(self._ours)
        os.close(self._ours)
        os.close(self._theirs)

    def _read(self) -> None:
        self.written += self._decoder.decode(os.read(self._ours, 65_536))

    def press(self, key: str) -> None:
        """Types a key."""
        os.write(self._ours, key.encode())

    @property
    def given_back(self) -> bool:
        """Whether its modes are as they were."""
        return termios.tcgetattr(self._theirs) == self.modes

    @property
    def rows(self) -> list[str]:
        """The last picture that is complete."""
        pictures = self.written.split(_HOME)[1:]
        complete = [picture for picture in pictures if "\x1b[J" in picture]
        return [TOLD.sub("", row) for row in complete[-1].split("\x1b[J")[0].split("\r\n")] if complete else []

    async def shows(self, text: str, within: float = 15.0) -> str:
        """Returns the picture once it has a text in it."""
        try:
            await until(lambda: text in "\n".join(self.rows), "on the screen", within)
        except AssertionError as error:
            raise AssertionError(f"{text!r} not within {within} s: {self.rows}") from error
        return "\n".join(self.rows)
