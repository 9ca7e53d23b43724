"""A name server on UDP, with one name for each service, and the same names as a hosts file."""

import asyncio
from pathlib import Path
from typing import Final

from dnslib import QTYPE, RCODE, RR, A, DNSRecord

# Replicas come and go: nobody shall remember for long where they were.
_TTL_S: Final = 1


class Names(asyncio.DatagramProtocol):
    """Answers for the names that it was given.

    Attributes:
        hosts: the file with the same names, for runtimes that cannot be told a name server.
        port: on 127.0.0.1.
    """

    def __init__(self, hosts: Path) -> None:
        self.hosts = hosts
        self.port = 0
        self._addresses: dict[str, list[str]] = {}
        self._transport: asyncio.DatagramTransport | None = None
        self._write()

    async def start(self) -> None:
        """Begins to listen."""
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", 0))
        self.port = self._transport.get_extra_info("sockname")[1]

    def stop(self) -> None:
        """Ends."""
        if self._transport is not None:
            self._transport.close()

    def give(self, name: str, hosts: list[str]) -> None:
        """Gives a name to hosts."""
        self._addresses[name] = hosts
        self._write()

    def take(self, name: str) -> None:
        """Takes a name back."""
        self._addresses.pop(name, None)
        self._write()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answers one question."""
        asked = DNSRecord.parse(data)
        name = str(asked.q.qname).rstrip(".").lower()
        answer = asked.reply()
        if name not in self._addresses:
            answer.header.rcode = RCODE.NXDOMAIN
        elif asked.q.qtype == QTYPE.A:
            for host in self._addresses[name]:
                answer.add_answer(RR(asked.q.qname, QTYPE.A, rdata=A(host), ttl=_TTL_S))
        assert self._transport is not None
        self._transport.sendto(answer.pack(), addr)

    def _write(self) -> None:
        lines = [f"{host} {name}" for name, hosts in self._addresses.items() for host in hosts]
        self.hosts.write_text("\n".join(["127.0.0.1 localhost", *lines, ""]), encoding="utf-8")
