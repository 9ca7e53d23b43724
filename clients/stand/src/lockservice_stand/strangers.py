"""Those who listen where a client expects lockservice, and are something else."""

import asyncio
from typing import Final, Literal

from lockservice_stand.service import free_port

Kind = Literal["http", "silent", "closed"]

_HTTP: Final = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 4\r\nConnection: close\r\n\r\nwhat"


class Stranger:
    """Listens on a port of its own, or leaves it to nobody.

    Args:
        kind: what it does with those who connect.
    """

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._server: asyncio.Server | None = None
        self.address = ""

    async def start(self) -> None:
        """Begins to listen."""
        port = free_port(["127.0.0.1"])
        self.address = f"127.0.0.1:{port}"
        if self._kind != "closed":
            self._server = await asyncio.start_server(self._meet, "127.0.0.1", port)

    def stop(self) -> None:
        """Ends."""
        if self._server is not None:
            self._server.close()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self._kind == "http":
                await reader.read(1)
                writer.write(_HTTP)
                await writer.drain()
            else:
                while await reader.read(1 << 16):
                    pass
        except ConnectionError:
            return
        finally:
            writer.close()
