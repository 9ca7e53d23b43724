"""Changing the shards of a running service: nothing is lost, nothing is in two places, nobody is refused."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Self

import grpc
import pytest

from harness.groups import Cluster
from harness.manifests import DEPLOY
from harness.process import ServiceProcess
from harness.redis_server import RedisServer
from harness.service import Service, reason_of, refused, settings
from lockservice.resharding import command
from lockservice.v1 import lockservice_pb2 as pb


@pytest.fixture
def servers() -> Iterator[list[RedisServer]]:
    """Three empty servers."""
    made = [RedisServer() for _ in range(3)]
    yield made
    for server in made:
        server.remove()


def words(servers: list[RedisServer]) -> list[str]:
    """Names servers as shards s1, s2 and so on."""
    return [word for n, server in enumerate(servers, 1) for word in ("--shard", f"s{n}={server.url}")]


async def begin(servers: list[RedisServer], *flags: str) -> asyncio.subprocess.Process:
    """Starts `lockservice reshard` to the servers."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "lockservice", "reshard", *words(servers), *flags),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


async def reshard(servers: list[RedisServer], *flags: str, code: int = 0) -> str:
    """Runs `lockservice reshard` to the servers, and returns what it said."""
    process = await begin(servers, *flags)
    said, _ = await process.communicate()
    assert process.returncode == code, said.decode()
    return said.decode()


WORK_S = 0.1


class Load:
    """Calls at a steady rate, each of which must succeed."""

    def __init__(self, service: Service, rate_s: float) -> None:
        self._service = service
        self._rate_s = rate_s
        self.latencies_s: list[float] = []
        self.errors: list[str] = []
        self.tokens: dict[str, int] = {}
        self.reversed = 0
        self._calls: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(*self._calls)

    async def _run(self) -> None:
        number, began = 0, time.monotonic()
        while True:
            while number < (time.monotonic() - began) * self._rate_s / 2:
                number += 1
                call = asyncio.create_task(self._one(number))
                self._calls.add(call)
                call.add_done_callback(self._calls.discard)
            await asyncio.sleep(0.005)

    async def _one(self, number: int) -> None:
        resource = f"order:{number % 499}"
        try:
            started = time.monotonic()
            lease = await self._service.grant(resource, f"w{number}", wait=5, ttl=5)
            self.latencies_s.append(time.monotonic() - started)
            self.reversed += lease.fencing_token <= self.tokens.get(resource, 0)
            self.tokens[resource] = lease.fencing_token
            # So that many are held whatever is moved at the moment.
            await asyncio.sleep(WORK_S)
            started = time.monotonic()
            assert await self._service.release(lease) == pb.RELEASE_OUTCOME_RELEASED
            self.latencies_s.append(time.monotonic() - started)
        except grpc.aio.AioRpcError as error:
            self.errors.append(f"{reason_of(error)} {error.details()}")
        except AssertionError as error:
            self.errors.append(str(error))


@pytest.fixture
async def service(servers: list[RedisServer]) -> AsyncIterator[ServiceProcess]:
    """A replica on the first server."""
    async with ServiceProcess([servers[0].url]) as running:
        yield running


@pytest.mark.timeout(120)
async def test_one_to_two_to_three_and_back_under_load(servers: list[RedisServer]) -> None:
    """At 1,000 calls/s no call fails, p99 stays under 100 ms, and no token goes back."""
    # A machine of two cores may keep Redis waiting for longer than the usual time-out.
    async with ServiceProcess([servers[0].url], "--redis-timeout", "2s") as service, Load(service, 1_000) as load:
        for count in (2, 3, 2, 1):
            said = await reshard(servers[:count])
            assert "done:" in said, said
        await asyncio.sleep(0.2)
    latencies = sorted(load.latencies_s)

    assert not load.errors, load.errors[:5]
    assert load.reversed == 0
    assert len(latencies) > 5_000
    assert latencies[len(latencies) * 99 // 100] < 0.1


async def test_everything_that_is_remembered_moves_along(servers: list[RedisServer], service: ServiceProcess) -> None:
    """Leases, holds, queues in their order, versions, events, claims and results are all there afterwards."""
    held, versions, events, claims, done, holds = {}, [], [], {}, [], []
    waiting = {}
    for n in range(40):
        held[n] = await service.grant(f"held:{n}", ttl=60)
        waiting[n] = [service.waiting(f"held:{n}", f"w{m}", version=m, request_id=f"r{m}", wait=60) for m in (2, 1)]
        lease = await service.grant(f"version:{n}", version=7)
        await service.release(lease)
        versions.append(f"version:{n}")
        await service.release(await service.grant(f"event:{n}", event_id="e"))
        events.append(f"event:{n}")
        claims[n] = await service.dedupe(f"claim:{n}", claim_ttl=60)
        first = await service.dedupe(f"done:{n}", claim_ttl=60)
        await service.settle(f"done:{n}", first.claim_id, result=b"result")
        done.append(f"done:{n}")
        kept = await service.grant(f"hold:{n}", event_id="retry")
        request = pb.ReleaseRequest(resource=kept.resource, lease_id=kept.lease_id, disposition=pb.DISPOSITION_RETRY)
        request.hold.FromSeconds(60)
        await service.locks.Release(request)
        holds.append(f"hold:{n}")
    for n in range(40):
        await service.queued(2, f"held:{n}")

    await reshard(servers[:2])

    for n in range(40):
        assert (await service.acquire(f"held:{n}", "other")).outcome == pb.ACQUIRE_OUTCOME_HELD
        assert (await service.acquire(f"hold:{n}", "other")).outcome == pb.ACQUIRE_OUTCOME_HELD
        assert (await service.acquire(f"hold:{n}", "again", event_id="retry")).outcome == pb.ACQUIRE_OUTCOME_GRANTED
        assert (await service.acquire(versions[n], version=6)).outcome == pb.ACQUIRE_OUTCOME_STALE
        assert (await service.acquire(events[n], event_id="e")).outcome == pb.ACQUIRE_OUTCOME_DUPLICATE
        assert (await service.dedupe(f"claim:{n}", claim_ttl=60)).outcome == pb.DEDUPE_OUTCOME_IN_PROGRESS
        assert await service.settle(f"claim:{n}", claims[n].claim_id) == pb.SETTLE_OUTCOME_SETTLED
        assert (await service.dedupe(done[n])).result == b"result"
        assert await service.renew(held[n]) == pb.RENEW_OUTCOME_RENEWED
        await service.release(held[n])
        first = (await waiting[n][1]).lease
        assert first.fencing_token > held[n].fencing_token
        assert not waiting[n][0].done()
        await service.release(first)
        assert (await waiting[n][0]).lease.fencing_token > first.fencing_token


async def test_a_dry_run_says_what_moves_and_changes_nothing(
    servers: list[RedisServer], service: ServiceProcess
) -> None:
    """It counts buckets and resources, and the service goes on with the map that it has."""
    for n in range(50):
        await service.grant(f"order:{n}", ttl=60)
    said = await reshard(servers[:2], "--dry-run")

    assert "from [s1] to [s1 s2]: 128 of 256 buckets move" in said
    assert "s1 to s2: 128 buckets" in said
    with servers[1].connect() as connection:
        assert connection.dbsize() == 0
    assert len((await service.admin.DescribeShards(pb.DescribeShardsRequest())).shards) == 1


@pytest.mark.timeout(120)
async def test_it_can_be_killed_at_any_moment_and_goes_on(
    servers: list[RedisServer], service: ServiceProcess
) -> None:
    """Killed again and again, by SIGKILL and by SIGINT, it gets there in the end; meanwhile no call fails."""
    leases = {n: await service.grant(f"held:{n}", ttl=60) for n in range(300)}
    async with Load(service, 200) as load:
        for turn in range(6):
            process = await begin(servers[:2])
            assert process.stdout is not None
            async for line in process.stdout:
                if b"of 128 buckets have moved" in line and int(line.split()[0]) > turn * 15 + 5:
                    break
            process.send_signal(signal.SIGINT if turn % 2 else signal.SIGKILL)
            said, _ = await process.communicate()
            if turn % 2:
                assert process.returncode == 1
                assert b"interrupted" in said
            else:
                with servers[0].connect() as connection:
                    connection.delete("ls:{b0}:mover")
        assert "done: 128 buckets" in await reshard(servers[:2])
    shards = (await service.admin.DescribeShards(pb.DescribeShardsRequest())).shards

    assert not load.errors, load.errors[:5]
    assert load.reversed == 0
    assert sorted(shard.name for shard in shards) == ["s1", "s2"]
    for n, lease in leases.items():
        assert await service.renew(lease) == pb.RENEW_OUTCOME_RENEWED, n


async def test_a_replica_that_missed_it_is_fenced_off(servers: list[RedisServer], service: ServiceProcess) -> None:
    """One that was frozen all the time serves nothing from the old place, and follows when it wakes."""
    async with ServiceProcess([servers[0].url]) as frozen:
        lease = await service.grant("order:1", ttl=60)
        frozen.signal(signal.SIGSTOP)
        await reshard(servers[:2])
        await service.release(lease)
        newer = await service.grant("order:1", ttl=60)
        frozen.signal(signal.SIGCONT)

        for n in range(1, 30):
            again = await frozen.acquire(f"order:{n}", "other", wait=5 if n > 1 else None)
            if n == 1:
                assert again.outcome == pb.ACQUIRE_OUTCOME_HELD
                assert again.holder.fencing_token == newer.fencing_token


async def test_a_replica_with_the_old_names_is_refused_afterwards(
    servers: list[RedisServer], service: ServiceProcess
) -> None:
    """Started with the shards before the change it is not ready; with those after it, it is."""
    await reshard(servers[:2])
    async with Service([servers[0].url]) as old:
        assert reason_of(await refused(old.acquire())) == "SHARD_MAP_MISMATCH"
    async with Service([server.url for server in servers[:2]]) as new:
        await new.grant()
        assert new.server.problems() == []


async def test_a_shard_with_other_data_is_refused(servers: list[RedisServer], service: ServiceProcess) -> None:
    """A target that serves leases of its own is not touched."""
    async with Service([servers[1].url]) as other:
        for n in range(100):
            await other.grant(f"theirs:{n}", ttl=60)
    said = await reshard(servers[:2], code=1)

    assert "empty it first" in said or "shard map" in said
    await service.grant("order:5")


async def test_a_move_that_does_not_watch_loses_leases(
    servers: list[RedisServer], service: ServiceProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The broken variant that the load catches: what changed after it was first copied is forgotten."""
    monkeypatch.setattr("lockservice.resharding.watch.Watch._hear", lambda _watch, _push: None)
    wanted = settings([server.url for server in servers[:2]])
    async with Load(service, 1_000) as load:
        await asyncio.sleep(0.5)
        await command.reshard(command.Order(wanted, (), "", "", dry_run=False))

    assert load.errors


async def test_from_one_redis_to_a_cluster_and_back() -> None:
    """A shard of another kind takes its buckets like any other, and gives them back."""
    server = RedisServer("redis")
    try:
        with Cluster() as cluster:
            async with ServiceProcess([server.url]) as service:
                leases = [await service.grant(f"held:{n}", ttl=60) for n in range(100)]
                urls = ("--shard", f"s1={server.url}", "--shard", f"s2={cluster.url}")
                async with Load(service, 300) as load:
                    await reshard([], *urls)
                    assert sum(node.connect().dbsize() for node in cluster.primaries()) > 100
                    await reshard([server], "--current", f"s2={cluster.url}")
                renewed = [await service.renew(lease) for lease in leases]
    finally:
        server.remove()

    assert not load.errors, load.errors[:5]
    assert load.reversed == 0
    assert set(renewed) == {pb.RENEW_OUTCOME_RENEWED}


async def test_with_the_rights_of_acl_conf(tmp_path: Path) -> None:
    """The user of the service cannot move buckets; that of resharding can, and replicas are given the other's URL."""
    users = [line for line in (DEPLOY / "redis/acl.conf").read_text().splitlines() if line.startswith("user ")]
    (tmp_path / "users.acl").write_text("\n".join(users) + "\n")
    made = [RedisServer("redis", aclfile=str(tmp_path / "users.acl")) for _ in range(2)]
    password = tmp_path / "password"
    password.write_text("CHANGE-THIS-PASSWORD-THREE\n")
    urls = [f"unix://lockservice:CHANGE-THIS-PASSWORD@{server.socket}" for server in made]
    shards = [word for n, url in enumerate(urls, 1) for word in ("--shard", f"s{n}={url}")]
    try:
        async with Service(urls[:1]) as service:
            lease = await service.grant(ttl=60)
            said = await reshard([], *shards, code=1)
            assert "permission" in said.lower()
            said = await reshard([], *shards, "--user", "reshard", "--password-file", str(password))
            assert "done: 128 buckets" in said
            assert await service.renew(lease) == pb.RENEW_OUTCOME_RENEWED
            assert service.server.problems() == []
            assert len((await service.admin.DescribeShards(pb.DescribeShardsRequest())).shards) == 2
    finally:
        for server in made:
            server.remove()


async def test_a_change_that_has_begun_can_be_taken_back(servers: list[RedisServer], service: ServiceProcess) -> None:
    """Killed in the middle, it can be undone instead: every bucket is at the old shard again, with all it held."""
    leases = [await service.grant(f"held:{n}", ttl=60) for n in range(300)]
    async with Load(service, 200) as load:
        process = await begin(servers[:2])
        assert process.stdout is not None
        async for line in process.stdout:
            if b"of 128 buckets have moved" in line and int(line.split()[0]) > 30:
                break
        process.kill()
        await process.wait()
        with servers[0].connect() as connection:
            connection.delete("ls:{b0}:mover")
        assert "has not ended" in await reshard(servers[:3], code=1)
        assert "done:" in await reshard(servers[:1])
    renewed = [await service.renew(lease) for lease in leases]

    assert not load.errors, load.errors[:5]
    assert load.reversed == 0
    assert set(renewed) == {pb.RENEW_OUTCOME_RENEWED}


async def test_servers_that_cannot_read_each_other_are_found_before_anything_moves(
    servers: list[RedisServer],
) -> None:
    """What Valkey 9 dumps Redis 7.0 cannot read: it is said at once, and the map stays as it is."""
    old = RedisServer("redis")
    try:
        async with Service([servers[0].url]) as service:
            said = await reshard([servers[0], old], code=1)
            assert "what s1 writes s2 cannot read" in said
            await service.grant()
        async with Service([servers[0].url]) as service:
            await service.grant("order:2")
    finally:
        old.remove()
