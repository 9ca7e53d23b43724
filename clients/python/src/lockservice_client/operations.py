"""What operators and tools ask of the service."""

from collections.abc import AsyncIterator
from typing import Final

import grpc

from lockservice_client import messages, values
from lockservice_client._stubs import lockservice_pb2 as pb
from lockservice_client.connection import CALL_S, Connection

_LIST_S: Final = 30.0


class Operations(Connection):
    """The calls of LockAdminService. They are not repeated."""

    async def inspect(self, resource: str) -> tuple[values.Lock, list[values.Waiter]]:
        """Shows a resource, and who waits for it in the order of their turn."""
        request = pb.InspectRequest(resource=resource)
        response, _ = await self._keeping.call("Inspect", request, timeout=CALL_S, retry_for=0.0)
        return messages.lock(response.lock), [messages.waiter(waiter) for waiter in response.waiters]

    async def list_locks(self, prefix: str = "", *, limit: int = 1_000) -> AsyncIterator[values.Lock]:
        """Yields the resources that are held or kept for a retry, at most limit."""
        request = pb.ListLocksRequest(prefix=prefix, limit=limit)
        try:
            async for response in self._keeping.stream("ListLocks", request, timeout=_LIST_S):
                for lock in response.locks:
                    yield messages.lock(lock)
        except grpc.aio.AioRpcError as error:
            raise self._keeping.fault(error) from None

    async def force_release(self, resource: str, fencing_token: int, *, reason: str) -> bool:
        """Takes a lease away from its holder, and says whether it was held under that token."""
        request = pb.ForceReleaseRequest(resource=resource, fencing_token=fencing_token, reason=reason)
        response, _ = await self._keeping.call("ForceRelease", request, timeout=CALL_S, retry_for=0.0)
        return bool(response.released)

    async def describe_shards(self) -> list[values.Shard]:
        """Shows the shards."""
        return list((await self.overview()).shards)

    async def overview(self) -> values.Overview:
        """Shows the shards, and the replica that answers."""
        request = pb.DescribeShardsRequest()
        response, _ = await self._keeping.call("DescribeShards", request, timeout=CALL_S, retry_for=0.0)
        return messages.overview(response)
