"""A caller that speaks HTTP/2 by hand, so that it may do what no gRPC library does."""

import asyncio
import struct
from collections import Counter
from typing import Self

from hpack import Encoder
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CANCEL = 8
_FRAME_HEADER_BYTES = 9
_CLIENT_PINGS = 1 << 32


def _headers() -> bytes:
    encoder = Encoder()
    # Without a table to remember names in, the same bytes do for every stream.
    encoder.header_table_size = 0
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": "/lockservice.v1.LockService/Acquire",
        ":authority": "hostile",
        "content-type": "application/grpc",
        "te": "trailers",
    }
    return encoder.encode(fields.items())


_HEADERS = _headers()


class Connection:
    """One connection, which counts the frames that come and answers pings as it must.

    Attributes:
        seen: how many frames of each kind came; answers to pings count as "pong".
        goaway: what the server said when it ended the connection.
        closed: set once the server has closed it.
    """

    def __init__(self, address: str) -> None:
        self._host, _, self._port = address.rpartition(":")
        self.seen: Counter[str] = Counter()
        self.goaway = ""
        self.closed = asyncio.Event()
        self._heard = asyncio.Event()
        self._polite = False

    async def open(self, *, polite: bool = True) -> Self:
        """Connects, and greets if it is polite; otherwise it says only what it is told to write."""
        self._polite = polite
        self._reader, self._writer = await asyncio.open_connection(self._host, int(self._port))
        if polite:
            self.write(PREFACE + SettingsFrame(0).serialize())
        self._reading = asyncio.create_task(self._read())
        return self

    async def _read(self) -> None:
        try:
            while True:
                self._take(await self._frame())
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed.set()
            self._heard.set()

    async def _frame(self) -> Frame:
        header = await self._reader.readexactly(_FRAME_HEADER_BYTES)
        frame, length = Frame.parse_frame_header(memoryview(header))
        frame.parse_body(memoryview(await self._reader.readexactly(length)))
        return frame

    def _take(self, frame: Frame) -> None:
        is_pong = isinstance(frame, PingFrame) and "ACK" in frame.flags
        self.seen["pong" if is_pong else type(frame).__name__] += 1
        self._heard.set()
        if isinstance(frame, GoAwayFrame):
            self.goaway = frame.additional_data.decode()
        if not self._polite:
            return
        if isinstance(frame, PingFrame) and "ACK" not in frame.flags:
            self._writer.write(PingFrame(0, opaque_data=frame.opaque_data, flags=["ACK"]).serialize())
        if isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
            self._writer.write(SettingsFrame(0, flags=["ACK"]).serialize())

    def write(self, data: bytes) -> None:
        """Sends bytes of any kind."""
        self._writer.write(data)

    def ping(self, number: int) -> None:
        """Sends a ping."""
        self.write(PingFrame(0, opaque_data=struct.pack(">Q", _CLIENT_PINGS + number)).serialize())

    async def pong(self, number: int) -> bool:
        """Returns once the ping of a number, from 0 on, was answered; False: the server ended the connection."""
        while self.seen["pong"] <= number and not self.closed.is_set():
            await self._heard.wait()
            self._heard.clear()
        return not self.closed.is_set()

    def begin(self, number: int) -> None:
        """Begins the call of a number, from 0 on, and does not say what it wants."""
        self.write(HeadersFrame(2 * number + 1, _HEADERS, flags=["END_HEADERS"]).serialize())

    def say(self, number: int, data: bytes) -> None:
        """Sends a part of a call's request."""
        self.write(DataFrame(2 * number + 1, data).serialize())

    def call(self, number: int, message: bytes) -> None:
        """Makes a unary call."""
        self.begin(number)
        length = struct.pack(">BI", 0, len(message))
        self.write(DataFrame(2 * number + 1, length + message, flags=["END_STREAM"]).serialize())

    def vanish(self) -> None:
        """Answers nothing any more, not even pings, but stays connected."""
        self._polite = False

    def reset(self, number: int) -> None:
        """Takes a call back."""
        self.write(RstStreamFrame(2 * number + 1, error_code=CANCEL).serialize())

    async def flushed(self) -> bool:
        """Returns once most of what was written has left, and whether the server still takes it."""
        try:
            await self._writer.drain()
        except ConnectionError:
            return False
        return not self.closed.is_set()

    async def close(self) -> None:
        """Ends the connection."""
        self._reading.cancel()
        self._writer.close()
        await asyncio.wait([self._reading])
