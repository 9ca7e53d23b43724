"""Calls of a service that are recorded."""

import asyncio
from typing import Any

import grpc
from grpc_status import rpc_status

from harness.history import REFUSED, UNKNOWN, Call, Operation, Recorder
from harness.service import Service, reason_of
from lockservice.v1 import lockservice_pb2 as pb

# A waiter whose replica drains may be given the lease before it asks elsewhere.
MAY_BE_DONE = {"OUTCOME_UNKNOWN", "DRAINING"}


def outcome_of(error: Any) -> str:
    """Says whether an error means that nothing was done."""
    if rpc_status.from_call(error) is None:
        return UNKNOWN
    return UNKNOWN if reason_of(error) in MAY_BE_DONE else REFUSED


def _word(names: Any, outcome: int) -> str:
    return str(names.Name(outcome)).rpartition("_OUTCOME_")[2].lower()


class Recorded:
    """A service whose calls go into a history.

    Args:
        service: one replica.
        recorder: shared by all replicas and callers of a test.
    """

    def __init__(self, service: Service, recorder: Recorder) -> None:
        self.service = service
        self.recorder = recorder

    def history(self) -> list[Operation]:
        """Returns the calls until now."""
        return self.recorder.history()

    async def _ask(self, call: Call, answer: Any) -> Any:
        """Awaits an answer; an error is recorded and gives None, a cancel is recorded as unknown."""
        try:
            return await answer
        except grpc.aio.AioRpcError as error:
            call.end(outcome_of(error))
        except asyncio.CancelledError:
            call.end(UNKNOWN)
            raise
        return None

    async def _acquire(self, call: Call, resource: str, owner: str, how: dict[str, Any]) -> Any:
        response = await self._ask(call, self.service.acquire(resource, owner, **how))
        if response is None:
            return None
        granted = response.outcome == pb.ACQUIRE_OUTCOME_GRANTED
        token = response.lease.fencing_token if granted else response.holder.fencing_token
        call.end(_word(pb.AcquireOutcome, response.outcome), token or None)
        return response.lease if granted else None

    def _begin(self, resource: str, owner: str, ttl: float, how: dict[str, Any]) -> Call:
        request_id = how.get("request_id", "")
        return self.recorder.begin("acquire", resource, owner, ttl_ms=round(ttl * 1000), request_id=request_id)

    async def acquire(self, resource: str, owner: str, *, ttl: float = 10, **how: Any) -> Any:
        """Acquires, with arguments as Service.acquire has them; returns the lease, or None."""
        call = self._begin(resource, owner, ttl, how)
        return await self._acquire(call, resource, owner, {"ttl": ttl, **how})

    def waiting(self, resource: str, owner: str, *, ttl: float = 10, **how: Any) -> tuple[Call, asyncio.Task[Any]]:
        """Begins to acquire with a wait; the test tells the call when it has seen it in the queue."""
        call = self._begin(resource, owner, ttl, how)
        return call, asyncio.create_task(self._acquire(call, resource, owner, {"ttl": ttl, "wait": 20, **how}))

    async def renew(self, lease: Any, owner: str, *, ttl: float = 10) -> str:
        """Renews; returns the outcome."""
        token = lease.fencing_token
        call = self.recorder.begin("renew", lease.resource, owner, ttl_ms=round(ttl * 1000), token=token)
        outcome = await self._ask(call, self.service.renew(lease, ttl))
        if outcome is not None:
            call.end(_word(pb.RenewOutcome, outcome))
        return call.operation.outcome

    async def release(self, lease: Any, owner: str) -> str:
        """Releases; returns the outcome."""
        call = self.recorder.begin("release", lease.resource, owner, token=lease.fencing_token)
        outcome = await self._ask(call, self.service.release(lease))
        if outcome is not None:
            call.end(_word(pb.ReleaseOutcome, outcome))
        return call.operation.outcome

    async def dedupe(self, key: str, owner: str, **how: Any) -> str:
        """Claims an event key, with arguments as Service.dedupe has them; returns the outcome."""
        call = self.recorder.begin("dedupe", key, owner, request_id=how.get("request_id", ""))
        response = await self._ask(call, self.service.dedupe(key, owner=owner, **how))
        if response is not None:
            call.end(_word(pb.DedupeOutcome, response.outcome))
        return call.operation.outcome
