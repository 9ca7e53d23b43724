"""A service with several workers, and a way to each of them."""

import tempfile
from pathlib import Path
from typing import Any

import aiohttp
import grpc
from prometheus_client.parser import text_string_to_metric_families

from harness.process import ServiceProcess
from harness.service import until
from lockservice.ops import ask
from lockservice.v1 import lockservice_pb2 as pb, lockservice_pb2_grpc as pb_grpc

WORKERS = 2
CHANNELS_MAX = 64
INSPECT = {"grpc_method": "Inspect"}


def total(exposition: str, name: str, **labels: str) -> float:
    """Sums the samples of a name that have these labels among theirs; -1 when there is none."""
    values = [
        sample.value
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    ]
    return sum(values) if values else -1


def children(pid: int) -> dict[int, list[str]]:
    """Returns the processes that a process has started, with their arguments."""
    found = {}
    for directory in Path("/proc").iterdir():
        try:
            parent = int((directory / "stat").read_text().rpartition(")")[2].split()[1])
            words = (directory / "cmdline").read_text().split("\0")
        except (OSError, ValueError, IndexError):
            continue
        if parent == pid:
            found[int(directory.name)] = words
    return found


class Workers(ServiceProcess):
    """`lockservice serve --workers 2`, and for each worker a connection that ends there."""

    def __init__(self, urls: list[str], *flags: str) -> None:
        super().__init__(urls, "--workers", str(WORKERS), *flags)
        self.urls = urls
        self.channels: list[grpc.aio.Channel] = []
        self.of_worker: dict[int, ServiceProcess] = {}
        self.private = Path(tempfile.gettempdir())

    async def __aexit__(self, *what: object) -> None:
        for channel in self.channels:
            await channel.close()
        await super().__aexit__(*what)

    def pids(self) -> dict[int, int]:
        """Returns the process of each worker by its number."""
        module = "lockservice.worker"
        found = children(self.process.pid).items()
        return {int(words[words.index(module) + 1]): pid for pid, words in found if module in words}

    async def page(self, path: str) -> tuple[int, str]:
        """Returns status and text of a path on the operators' port."""
        async with aiohttp.ClientSession() as session, session.get(f"http://{self.ready['ops']}{path}") as answer:
            return answer.status, await answer.text()

    async def is_ready(self) -> bool:
        """Says whether it is."""
        return (await self.page("/readyz"))[0] == 200

    async def total(self, name: str, **labels: str) -> float:
        """Reads a metric of all workers."""
        return total((await self.page("/metrics"))[1], name, **labels)

    async def own(self, name: str, **labels: str) -> dict[int, float]:
        """Reads a metric of each worker, at its unix socket."""
        sockets = {int(path.stem): path for path in self.private.glob("lockservice-*/*.sock")}
        return {number: total((await ask(path, "/metrics"))[1], name, **labels) for number, path in sockets.items()}

    async def connect(self) -> None:
        """Opens connections until there is one to each worker; `private` must be this service's TMPDIR."""
        for _ in range(CHANNELS_MAX):
            before = await self.own("grpc_server_handled_total", **INSPECT)
            # Otherwise gRPC uses one connection for all channels to an address.
            channel = grpc.aio.insecure_channel(self.ready["grpc"], options=[("grpc.use_local_subchannel_pool", 1)])
            self.channels.append(channel)
            way = Way(self, channel)
            await way.inspect()
            after: dict[int, float] = {}

            async def counted(before: Any = before, after: Any = after) -> bool:
                after.update(await self.own("grpc_server_handled_total", **INSPECT))
                return bool(after != before)

            await until(counted, "a worker that has counted the call")
            (number,) = [number for number in after if after[number] != before[number]]
            self.of_worker.setdefault(number, way)
            if len(self.of_worker) == WORKERS:
                return
        raise AssertionError(f"{CHANNELS_MAX} connections reached only {self.of_worker.keys()}")


class Way(ServiceProcess):
    """A connection to a service that runs, used as the service itself is."""

    def __init__(self, to: Workers, channel: grpc.aio.Channel) -> None:
        self.process, self.channel = to.process, channel
        self.locks = pb_grpc.LockServiceStub(channel)
        self.admin = pb_grpc.LockAdminServiceStub(channel)


def granted(response: Any) -> Any:
    """Returns the lease of an answer that must have one."""
    assert response.outcome == pb.ACQUIRE_OUTCOME_GRANTED, response
    return response.lease
