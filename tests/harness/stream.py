"""The caller's side of a Session, and short ways to write its operations."""

import asyncio
from typing import Any, Self

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.code_pb2 import Code
from google.rpc.error_details_pb2 import ErrorInfo

from harness.service import Service
from lockservice.v1 import lockservice_pb2 as pb


def acquire(number: int, resource: str = "order:1001", wait: int = 0, **how: Any) -> pb.Operation:
    """An operation that acquires."""
    span = Duration(seconds=wait) if wait else None
    request = pb.AcquireRequest(resource=resource, owner="worker", wait_timeout=span, **how)
    return pb.Operation(id=number, acquire=request)


def release(number: int, lease: Any) -> pb.Operation:
    """An operation that releases."""
    return pb.Operation(id=number, release=pb.ReleaseRequest(resource=lease.resource, lease_id=lease.lease_id))


def cancel(number: int) -> pb.Operation:
    """An operation that gives another up."""
    return pb.Operation(cancel=pb.CancelOperation(id=number))


def reason(result: pb.OperationResult) -> str:
    """Returns the reason of a result that is an error."""
    info = ErrorInfo()
    assert result.HasField("error"), result
    for detail in result.error.details:
        if detail.Unpack(info):
            return info.reason
    return Code.Name(result.error.code)


class Stream:
    """The caller's side of a Session."""

    def __init__(self, service: Service) -> None:
        self.call = service.locks.Session()
        self.frames: list[int] = []
        self._kept: list[pb.OperationResult] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.call.cancel()

    async def send(self, *operations: pb.Operation) -> None:
        """Sends one message."""
        await self.call.write(pb.SessionRequest(operations=operations))

    async def results(self, count: int) -> dict[int, pb.OperationResult]:
        """Reads so many results, by their ids."""
        found: list[pb.OperationResult] = []
        while len(found) < count:
            frame = await asyncio.wait_for(self.call.read(), 10)
            assert frame is not grpc.aio.EOF
            self.frames.append(len(frame.results))
            found += frame.results
        assert len(found) == count, found
        return {result.id: result for result in found}

    async def result(self) -> pb.OperationResult:
        """Reads one result."""
        (found,) = (await self.results(1)).values()
        return found
