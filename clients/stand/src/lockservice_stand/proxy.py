"""A proxy before a replica, which passes operations on one by one, so that each of them can have a fault."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, NamedTuple

import grpc
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from lockservice.v1 import lockservice_pb2 as pb

# As many a proxy in production limits it.
STREAMS_MAX: Final = 100
_BYTES_MAX: Final = 64 << 20

PassOn = Callable[[], Awaitable[bytes]]
# Called with the method, the context and a function that passes the call on; returns the reply.
Fault = Callable[[str, Any, PassOn], Awaitable[bytes]]


class Seen(NamedTuple):
    """An attempt that came: its method, its request, and whether it was a call of its own."""

    method: str
    request: bytes
    unary: bool


class Ended(Exception):
    """An operation of a session ended in an error."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.message)
        self.status = status


class OperationContext:
    """Does for an operation of a session what gRPC's context does for a unary call.

    Attributes:
        session: the stream that it came on.
    """

    def __init__(self, session: "SessionAtProxy") -> None:
        self.session = session

    async def abort(self, code: grpc.StatusCode, details: str = "") -> None:
        """Ends the operation in a code."""
        raise Ended(Status(code=code.value[0], message=details))

    async def abort_with_status(self, status: Any) -> None:
        """Ends the operation in a code with details."""
        raise Ended(Status.FromString(dict(status.trailing_metadata)["grpc-status-details-bin"]))


class Proxy(grpc.GenericRpcHandler):
    """Passes unary calls and the operations of sessions on to the service, as unary calls.

    Attributes:
        address: HOST:PORT.
        seen: every attempt that came.
        fault: what happens to the next ones; None: nothing.
        frames: the messages of all sessions, in the order in which they came.
        streams: how many sessions there have been.
        no_sessions: sessions end in this, at once.
        live: the sessions that are open.
    """

    def __init__(self, address: str) -> None:
        sizes = (("grpc.max_receive_message_length", _BYTES_MAX),)
        self._channel = grpc.aio.insecure_channel(address, options=sizes)
        self._server = grpc.aio.server(options=(("grpc.max_concurrent_streams", STREAMS_MAX), *sizes))
        self._server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self.seen: list[Seen] = []
        self.fault: Fault | None = None
        self.frames: list[pb.SessionRequest] = []
        self.streams = 0
        self.no_sessions: grpc.StatusCode | None = None
        self.live: list[SessionAtProxy] = []

    def service(self, handler_call_details: Any) -> Any:
        """Handles every method but the health check, which it does not have."""
        path = handler_call_details.method
        if "/lockservice.v1." not in path:
            return None
        if path.endswith("/Session"):
            return grpc.stream_stream_rpc_method_handler(
                self._session, pb.SessionRequest.FromString, pb.SessionResponse.SerializeToString
            )

        async def handle(request: bytes, context: Any) -> bytes:
            try:
                return await self.pass_on(path, request, context, unary=True)
            except grpc.aio.AioRpcError as error:
                return bytes(await context.abort(error.code(), error.details(), tuple(error.trailing_metadata())))

        return grpc.unary_unary_rpc_method_handler(handle)

    async def pass_on(self, path: str, request: bytes, context: Any, *, unary: bool) -> bytes:
        """Passes one call on, unless a fault does something else."""
        method = path.rpartition("/")[2]
        self.seen.append(Seen(method, request, unary))

        async def pass_on() -> bytes:
            call: Any = self._channel.unary_unary(path)
            return bytes(await call(request))

        return await (pass_on() if self.fault is None else self.fault(method, context, pass_on))

    async def _session(self, _: Any, context: Any) -> None:
        self.streams += 1
        if self.no_sessions is not None:
            await context.abort(self.no_sessions, "no sessions here")
        session = SessionAtProxy(self, context)
        self.live.append(session)
        try:
            await session.serve()
        finally:
            self.live.remove(session)

    def requests(self, method: str) -> list[bytes]:
        """Returns the requests of a method, an attempt each."""
        return [seen.request for seen in self.seen if seen.method == method]

    async def start(self) -> None:
        """Begins to listen."""
        await self._server.start()

    async def stop(self) -> None:
        """Ends."""
        await self._server.stop(None)
        await self._channel.close()


class SessionAtProxy:
    """One stream: each operation becomes a unary call of its own."""

    def __init__(self, proxy: Proxy, context: Any) -> None:
        self._proxy = proxy
        self._context = context
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._results: list[pb.OperationResult] = []
        self._ready = asyncio.Event()
        self._end: grpc.StatusCode | None = None

    def end(self, code: grpc.StatusCode = grpc.StatusCode.OK) -> None:
        """Has the stream end in a code, whatever is open."""
        self._end = code
        self._ready.set()

    async def serve(self) -> None:
        """Answers until the caller has closed its half and everything is answered."""
        reader = asyncio.create_task(self._read())
        try:
            while self._end is None and not (reader.done() and not self._tasks and not self._results):
                await self._ready.wait()
                self._ready.clear()
                results, self._results = self._results, []
                if results:
                    await self._context.write(pb.SessionResponse(results=results))
        finally:
            for task in (reader, *self._tasks.values()):
                task.cancel()
        if self._end not in (None, grpc.StatusCode.OK):
            await self._context.abort(self._end, "cut")

    async def _read(self) -> None:
        while (frame := await self._context.read()) is not grpc.aio.EOF:
            self._proxy.frames.append(frame)
            for operation in frame.operations:
                if operation.HasField("cancel"):
                    if operation.cancel.id in self._tasks:
                        self._tasks[operation.cancel.id].cancel()
                else:
                    self._tasks[operation.id] = asyncio.create_task(self._run(operation))
        self._ready.set()

    async def _run(self, operation: pb.Operation) -> None:
        kind = operation.WhichOneof("kind")
        assert kind is not None
        result = pb.OperationResult(id=operation.id)
        path = f"/lockservice.v1.LockService/{kind.title().replace('_', '')}"
        request = getattr(operation, kind).SerializeToString()
        try:
            reply = await self._proxy.pass_on(path, request, OperationContext(self), unary=False)
            # An empty reply is one of no kind that is known.
            if reply:
                getattr(result, kind).MergeFromString(reply)
        except Ended as ended:
            result.error.CopyFrom(ended.status)
        except grpc.aio.AioRpcError as error:
            status = rpc_status.from_call(error)  # type: ignore[arg-type]  # it takes this too
            result.error.CopyFrom(status or Status(code=error.code().value[0], message=error.details()))
        except asyncio.CancelledError:
            result.error.CopyFrom(Status(code=grpc.StatusCode.CANCELLED.value[0], message="cancelled"))
        del self._tasks[operation.id]
        self._results.append(result)
        self._ready.set()
