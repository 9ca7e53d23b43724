"""Abuse beside which others go on working: how to start it, and how to see what it costs them."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, Self

import grpc

from lockservice.v1 import lockservice_pb2 as pb, lockservice_pb2_grpc as pb_grpc

_TESTS = Path(__file__).parent.parent
_OPENING_S = 40.0
_ANSWER_S = 20.0


class Abuse:
    """A process that does one abuse until the end of the block; one that ends by itself is waited for.

    Attributes:
        report: what it met, after the block.
    """

    def __init__(self, kind: str, address: str, count: int, *, ends: bool = False, token: str = "") -> None:
        self._token = token
        self._words = (kind, address, str(count))
        self._ends = ends
        self.report: dict[str, Any] = {}

    async def __aenter__(self) -> Self:
        self._process = await asyncio.create_subprocess_exec(
            # It may have what the others leave over, so that the server is what they feel and not the machine.
            *("nice", "-n", "19", sys.executable, "-m", "harness.hostile", *self._words),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(_TESTS), "TOKEN": self._token},
        )
        assert self._process.stdout is not None
        if not self._ends:
            opened = await asyncio.wait_for(self._process.stdout.readline(), _OPENING_S)
            assert json.loads(opened)["opened"], "the abuse does not begin"
        return self

    async def __aexit__(self, *_: object) -> None:
        said, _unused = await self._process.communicate(b"")
        assert self._process.returncode == 0
        self.report = json.loads(said.splitlines()[-1])


class Neighbour:
    """Somebody else, who takes and gives back a lock of its own a hundred times a second while the block lasts.

    An error ends the block with it.

    Attributes:
        latencies: of each call, in seconds.
    """

    def __init__(self, address: str, pause_s: float = 0.01, token: str = "") -> None:
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._address = address
        self._pause_s = pause_s
        self.latencies: list[float] = []

    async def __aenter__(self) -> Self:
        self._ended = asyncio.Event()
        self._working = asyncio.create_task(self._work())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ended.set()
        await self._working

    async def _work(self) -> None:
        # A connection of its own: gRPC shares one among channels to an address.
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(self._address, options=options) as channel:
            locks = pb_grpc.LockServiceStub(channel)
            while not self._ended.is_set():
                ask = pb.AcquireRequest(resource="neighbour", owner="neighbour")
                taken = await self._timed(locks.Acquire(ask, timeout=_ANSWER_S, metadata=self._metadata))
                assert taken.outcome == pb.ACQUIRE_OUTCOME_GRANTED
                give_back = pb.ReleaseRequest(resource="neighbour", lease_id=taken.lease.lease_id)
                await self._timed(locks.Release(give_back, timeout=_ANSWER_S, metadata=self._metadata))
                await asyncio.sleep(self._pause_s)

    async def _timed(self, call: Any) -> Any:
        began = asyncio.get_running_loop().time()
        answer = await call
        self.latencies.append(asyncio.get_running_loop().time() - began)
        return answer


class Seen:
    """What a process uses, from /proc."""

    def __init__(self, pid: int) -> None:
        self._process = Path(f"/proc/{pid}")

    @property
    def megabytes(self) -> float:
        """Its memory."""
        status = (self._process / "status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    @property
    def processor_s(self) -> float:
        """Processor time that it has used."""
        fields = (self._process / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
