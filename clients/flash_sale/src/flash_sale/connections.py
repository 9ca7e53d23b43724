"""The shop's connections to the receiver, each kept open from one webhook to the next."""

import asyncio
import re
from collections.abc import Mapping
from typing import Final, cast
from urllib.parse import urlsplit

# As the shop does: 1 s to connect, and 5 s to be answered.
_CONNECT_S: Final = 1.0
_ANSWER_S: Final = 5.0
_END: Final = b"\r\n\r\n"
_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class Connections:
    """Posts to one URL. A client for any server there is took half of the shop's time.

    Args:
        url: with a host, a port and a path.
    """

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        assert where.hostname is not None
        assert where.port is not None
        self._host, self._port = where.hostname, where.port
        self._begin = f"POST {where.path} HTTP/1.1\r\nHost: {where.netloc}\r\nContent-Type: application/json\r\n"
        self._idle: list[_Connection] = []

    async def post(self, headers: Mapping[str, str], body: bytes) -> int:
        """Sends a body, and returns the status of the answer; 0: there was none in time."""
        lines = "".join(f"{name}: {text}\r\n" for name, text in headers.items())
        request = f"{self._begin}{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body
        try:
            connection = await self._take()
        except (OSError, TimeoutError):
            return 0
        status = await connection.exchange(request)
        if connection.is_open:
            self._idle.append(connection)
        return status

    async def _take(self) -> "_Connection":
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open:
                return connection
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(_CONNECT_S):
            _, connection = await loop.create_connection(_Connection, self._host, self._port)
        return connection

    def close(self) -> None:
        """Closes those that carry nothing."""
        for connection in self._idle:
            connection.close()


class _Connection(asyncio.Protocol):
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[int] | None = None
        self._heard = b""
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's are no subclass of it.
        self._transport = cast("asyncio.Transport", transport)
        self.is_open = True

    async def exchange(self, request: bytes) -> int:
        self._answer, self._heard = self._loop.create_future(), b""
        late = self._loop.call_later(_ANSWER_S, self.close)
        self._transport.write(request)
        try:
            return await self._answer
        except asyncio.CancelledError:
            self.close()
            raise
        finally:
            late.cancel()

    def data_received(self, data: bytes) -> None:
        self._heard += data
        head, end, body = self._heard.partition(_END)
        if not end:
            return
        length = _LENGTH.search(head + b"\r\n")
        if length is None:
            # Its end would be that of the connection: nothing that the receiver does.
            self.close()
        elif len(body) >= int(length[1]):
            self._end(int(head.split(b" ", 2)[1]))
            if b"\r\nconnection: close" in head.lower():
                self.close()

    def connection_lost(self, reason: Exception | None) -> None:
        self.is_open = False
        self._end(0)

    def close(self) -> None:
        self.is_open = False
        self._transport.abort()

    def _end(self, status: int) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(status)
