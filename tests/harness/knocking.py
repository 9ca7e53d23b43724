"""Callers in a process of their own, who take no offence at errors: `python knocking.py ADDRESS RESOURCE...`."""

import asyncio
import contextlib
import sys

import grpc

from lockservice.v1 import lockservice_pb2 as pb, lockservice_pb2_grpc as pb_grpc

# Calls that fail cost a caller in Python a multiple of the others: more of them would measure the two cores instead.
PAUSE_S = 0.05


async def knock(address: str, resources: list[str]) -> None:
    """Takes and releases leases of each resource, all the time."""
    async with grpc.aio.insecure_channel(address) as channel:
        locks = pb_grpc.LockServiceStub(channel)

        async def caller(resource: str) -> None:
            while True:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    taken = await locks.Acquire(pb.AcquireRequest(resource=resource, owner="knocking"))
                    await locks.Release(pb.ReleaseRequest(resource=resource, lease_id=taken.lease.lease_id))
                await asyncio.sleep(PAUSE_S)

        await asyncio.gather(*(caller(resource) for resource in resources))


if __name__ == "__main__":
    asyncio.run(knock(sys.argv[1], sys.argv[2:]))
