"""An empty handler: what a unary call costs in Python, whatever it does. Run as a process; prints its port."""

import asyncio

import grpc
import uvloop

from lockservice_client._stubs import lockservice_pb2 as pb


async def _release(_request: pb.ReleaseRequest, _context: object) -> pb.ReleaseResponse:
    return pb.ReleaseResponse()


async def _serve() -> None:
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    handler: grpc.RpcMethodHandler[pb.ReleaseRequest, pb.ReleaseResponse] = grpc.unary_unary_rpc_method_handler(
        _release,
        request_deserializer=pb.ReleaseRequest.FromString,
        response_serializer=lambda message: message.SerializeToString(),
    )
    service = "lockservice.v1.LockService"
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Release": handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    print(port, flush=True)  # noqa: T201  the parent reads it
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve())
