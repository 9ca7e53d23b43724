"""A stand as tests in Python use it."""

import os
import subprocess
import sys
from typing import Any, Final

import aiohttp

_END_S: Final = 60.0


class Stand:
    """Reaches the stand that LOCKSERVICE_STAND names, or starts one."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._url = os.environ.get("LOCKSERVICE_STAND", "")
        if not self._url:
            self._start()

    def _start(self) -> None:
        words = [sys.executable, "-m", "lockservice_stand", "serve"]
        self._process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self._url = self._process.stdout.readline().removeprefix("stand ").strip()

    async def call(self, verb: str, path: str, *, expect: int = 200, **body: Any) -> Any:
        """Asks for something, and returns the answer.

        Raises:
            RuntimeError: the answer has another status.
        """
        async with aiohttp.ClientSession() as http, http.request(verb, self._url + path, json=body) as response:
            answer = await response.json()
            if response.status != expect:
                raise RuntimeError(f"{verb} {path}: {response.status} {answer}")
            return answer

    def end(self) -> int:
        """Ends one that was started here, as its parent's death would, and returns its exit code."""
        if self._process is None:
            return 0
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        code = self._process.wait(_END_S)
        self._process.stdout.close()
        return code
