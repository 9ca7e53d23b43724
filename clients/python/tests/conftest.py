"""Fixtures: the service as a process, and clients of it, behind a proxy too."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc.status_pb2 import Status
from grpc_status import rpc_status

from lockservice_client import Client
from lockservice_client._stubs import lockservice_pb2 as pb

BIN = Path(sys.executable).parent


class Process:
    """`lockservice serve` on its embedded default."""

    def __init__(self, directory: str) -> None:
        self._log = Path(directory, "log").open("w+", encoding="utf-8")  # noqa: SIM115  open as long as the process
        addresses = ("--grpc-addr", "127.0.0.1:0", "--ops-addr", "127.0.0.1:0")
        settings = ("--data-dir", directory, "--embedded-shards", "1", "--log-format", "json")
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LOCKSERVICE_")}
        self._process = subprocess.Popen(
            [BIN / "lockservice", "serve", *addresses, *settings], stderr=self._log, env=clean
        )
        self.address = self._ready()

    def _ready(self) -> str:
        give_up = time.monotonic() + 20
        while time.monotonic() < give_up:
            for line in Path(self._log.name).read_text(encoding="utf-8").splitlines():
                event = json.loads(line)
                if event["event"] == "ready":
                    return str(event["grpc"])
            assert self._process.poll() is None, Path(self._log.name).read_text(encoding="utf-8")
            time.sleep(0.02)
        raise AssertionError("the service is not ready after 20 s")

    def freeze(self) -> None:
        """Stops the replica, not its Redis: leases go on running out."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Lets it go on."""
        self._process.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Ends it as an operator would."""
        self.thaw()
        self._process.terminate()
        self._process.wait(20)
        self._log.close()


@pytest.fixture(scope="session")
def service() -> Iterator[Process]:
    """One service for the session; a test that froze it has thawed it again."""
    with tempfile.TemporaryDirectory() as directory:
        process = Process(directory)
        yield process
        process.end()


@pytest.fixture
def frozen(service: Process) -> Iterator[Process]:
    """The service, for a test that freezes it."""
    yield service
    service.thaw()


@pytest.fixture
async def client(service: Process) -> AsyncIterator[Client]:
    """A client of the service."""
    async with Client(service.address, retry_for=2.0) as made:
        yield made


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
        raise Ended(Status(code=code.value[0], message=details))

    async def abort_with_status(self, status: Any) -> None:
        raise Ended(Status.FromString(dict(status.trailing_metadata)["grpc-status-details-bin"]))


class Proxy(grpc.GenericRpcHandler):
    """Passes unary calls and the operations of sessions on to the service, as unary calls.

    Attributes:
        seen: (method, request) of every attempt that came.
        fault: called with the method, the context and a function that passes the call on; returns the reply.
        frames: the messages of all sessions, in the order in which they came.
        streams: how many sessions there have been.
        no_sessions: sessions end in this, at once.
        live: the sessions that are open.
    """

    def __init__(self, address: str) -> None:
        self._channel = grpc.aio.insecure_channel(address)
        # As many a proxy in production limits it.
        self._server = grpc.aio.server(options=(("grpc.max_concurrent_streams", 100),))
        self._server.add_generic_rpc_handlers((self,))
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self.seen: list[tuple[str, bytes]] = []
        self.fault: Callable[[str, Any, Callable[[], Awaitable[bytes]]], Awaitable[bytes]] | None = None
        self.frames: list[pb.SessionRequest] = []
        self.streams = 0
        self.no_sessions: grpc.StatusCode | None = None
        self.live: list[SessionAtProxy] = []

    def service(self, handler_call_details: Any) -> Any:
        """Handles every method but the health check, which it does not have."""
        path = handler_call_details.method
        if "/lockservice.v1." not in path:
            return None
        method = path.rpartition("/")[2]
        if method == "Session":
            return grpc.stream_stream_rpc_method_handler(
                self._session, pb.SessionRequest.FromString, pb.SessionResponse.SerializeToString
            )

        async def handle(request: bytes, context: Any) -> bytes:
            try:
                return await self.pass_on(path, request, context)
            except grpc.aio.AioRpcError as error:
                return bytes(await context.abort(error.code(), error.details(), error.trailing_metadata()))

        return grpc.unary_unary_rpc_method_handler(handle)

    async def pass_on(self, path: str, request: bytes, context: Any) -> bytes:
        """Passes one call on, unless a fault does something else."""
        method = path.rpartition("/")[2]
        self.seen.append((method, request))

        async def pass_on() -> bytes:
            return bytes(await self._channel.unary_unary(path)(request))

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
        return [request for name, request in self.seen if name == method]

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
        try:
            reply = await self._proxy.pass_on(
                path, getattr(operation, kind).SerializeToString(), OperationContext(self)
            )
            getattr(result, kind).SetInParent()
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


@pytest.fixture
async def proxy(service: Process) -> AsyncIterator[Proxy]:
    """A proxy before the service."""
    made = Proxy(service.address)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture(params=["unary", "session"])
async def far_client(request: pytest.FixtureRequest, proxy: Proxy) -> AsyncIterator[Client]:
    """A client behind the proxy, by unary calls and by sessions."""
    async with Client(proxy.address, retry_for=2.0, unary=request.param == "unary") as made:
        yield made


@pytest.fixture
async def session_client(proxy: Proxy) -> AsyncIterator[Client]:
    """A client behind the proxy, with sessions."""
    async with Client(proxy.address, retry_for=2.0) as made:
        yield made


@pytest.fixture
def resource(request: pytest.FixtureRequest) -> str:
    """A name that no other test uses."""
    return str(request.node.name)


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    """Returns once a condition is true; fails when it is not within so many seconds."""

    async def wait(condition: Callable[[], Any], what: str, within: float = 5.0) -> None:
        give_up = time.monotonic() + within
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return
            assert time.monotonic() < give_up, f"not within {within} s: {what}"
            await asyncio.sleep(0.01)

    return wait


@pytest.fixture
def lockctl(service: Process) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Starts lockctl; whatever is left at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*words: str, **environment: str) -> "subprocess.Popen[str]":
        clean = {name: value for name, value in os.environ.items() if not name.startswith("LOCKSERVICE_")}
        process = subprocess.Popen(
            [BIN / "lockctl", *words],
            env={**clean, "LOCKSERVICE_ADDR": service.address, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            process.kill()
        process.communicate()
