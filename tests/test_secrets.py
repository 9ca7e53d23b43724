"""A whole run leaves no secret behind: not in its log, nor in errors, metrics, settings or the list of processes."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import grpc
import pytest

from harness.redis_server import RedisServer
from harness.service import until
from harness.stream import Stream, acquire
from harness.tenant import AuthFile, Authority, Caller
from lockservice.credentials import new_token
from lockservice.v1 import lockservice_pb2 as pb

PASSWORD = "pa55-of-the-shard"
WRONG_PASSWORD = "pa55-that-is-wrong"
# Renewing is a bug that shows a trace, and a thread dies with a secret among its variables.
PROGRAM = """
import os, sys, threading
from lockservice.locks import Locks
sys.argv = ["lockservice", *sys.argv[1:]]

async def renew(self, *request):
    password = os.environ["SECRET_OF_THE_TEST"]
    raise ValueError("boom")

def crash():
    password = os.environ["SECRET_OF_THE_TEST"]
    raise ValueError("boom")

Locks.renew = renew
from lockservice import logs
set_up = logs.set_up
def set_up_and_crash(*arguments):
    set_up(*arguments)
    threading.Thread(target=crash).start()
logs.set_up = set_up_and_crash
from lockservice.cli import run
run()
"""


@pytest.fixture
def shard() -> Any:
    """A Redis that wants a password."""
    server = RedisServer()
    with server.connect() as connection:
        connection.config_set("requirepass", PASSWORD)
    yield f"unix://:{PASSWORD}@{server.socket}"
    server.remove()


async def _said(call: Callable[[], Awaitable[Any]]) -> str:
    try:
        return str(await call())
    except grpc.aio.AioRpcError as error:
        return f"{error.details()} {error.debug_error_string()} {error.trailing_metadata()}"


async def _force(caller: Caller, name: str) -> pb.ForceReleaseRequest:
    token = (await caller.inspect(name)).lock.holder.fencing_token
    return pb.ForceReleaseRequest(resource=name, fencing_token=token, reason="stuck")


async def _use(run: SimpleNamespace, auth: AuthFile, tls: grpc.ChannelCredentials, wrong: str) -> list[str]:
    """Does everything that has to do with a secret, and returns what callers were told."""
    told = []
    async with (
        Caller(run, auth.tokens["shop"], tls=tls) as shop,  # type: ignore[arg-type]  # only its address is used
        Caller(run, wrong, tls=tls) as stranger,  # type: ignore[arg-type]  # as above
        Caller(run, metadata=[("authorization", f"Basic {wrong}")], tls=tls) as odd,  # type: ignore[arg-type]  # as above
    ):
        number = 0
        while "lease_id" not in (said := await _said(lambda number=number: shop.acquire(f"order:{number}"))):
            # Half of the names belong to the shard that cannot be reached.
            told.append(said)
            number += 1
        name = f"order:{number}"
        await shop.admin.ForceRelease(await _force(shop, name))
        lease, claim = await shop.grant(name), await shop.dedupe(name, claim_ttl=30)
        run.secrets += [lease.lease_id, claim.claim_id]
        calls = (
            lambda: shop.acquire("stock:1"),
            lambda: shop.acquire(name, ttl=-1),
            lambda: shop.renew(lease),
            lambda: stranger.acquire(name),
            lambda: stranger.inspect(name),
            lambda: odd.acquire(name),
        )
        told += [await _said(call) for call in calls]
        async with Stream(shop) as stream:
            await stream.send(acquire(1, "stock:1"), acquire(2, name))
            told += [str(result.error) for result in (await stream.results(2)).values()]
        told.append(str(await shop.inspect(name)))
        await shop.admin.ForceRelease(await _force(shop, name))
        told.append(str(await shop.admin.DescribeShards(pb.DescribeShardsRequest())))
    return told


async def _pages(ops: str) -> list[str]:
    async with aiohttp.ClientSession() as http:
        found = []
        for path in ("/", "/metrics", "/readyz", "/livez"):
            async with http.get(f"http://{ops}{path}") as answer:
                found.append(await answer.text())
        return found


def _processes(log: Path) -> str:
    """Returns the command line of this user's processes."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = process.read_bytes()
        except OSError:
            continue
        if b"lockservice" in words:
            found.append(words.decode(errors="replace"))
    return "\n".join(found)


async def _run(shards: str, directory: Path, *flags: str, program: str = PROGRAM) -> tuple[str, list[str]]:
    """Runs a service through all of it, and returns whatever it let out, and the secrets that it had."""
    auth, authority = AuthFile(directory), Authority(directory)
    auth.add("shop", "shop", prefixes=["order:"])
    wrong = new_token()[0]
    log = directory / "log"
    environment = os.environ | {
        "LOCKSERVICE_SHARDS": shards,
        "LOCKSERVICE_AUTH_FILE": str(auth.path),
        "LOCKSERVICE_TLS_CERT": str(authority.cert),
        "LOCKSERVICE_TLS_KEY": str(authority.key),
        "SECRET_OF_THE_TEST": PASSWORD,
    }
    words = [
        sys.executable, "-c", program, "serve", "--grpc-addr", "127.0.0.1:0", "--ops-addr", "127.0.0.1:0",
        "--log-level", "debug", "--log-format", "json", *flags,
    ]  # fmt: skip
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(*words, stdout=out, stderr=out, env=environment)
    try:
        await until(lambda: '"ready"' in log.read_text() or process.returncode is not None, "ready", within=30)
        ready = next(json.loads(line) for line in log.read_text().splitlines() if '"ready"' in line)
        run = SimpleNamespace(grpc_addr=ready["grpc"], secrets=[*auth.tokens.values(), wrong])
        outward = await _use(run, auth, authority.channel(), wrong)
        outward += await _pages(ready["ops"])
        outward.append(_processes(log))
        for broken in (
            f'token = "{wrong}"',
            f'[[credential]]\nname = "x"\ntoken-sha256 = ["{wrong}"]\nnamespace = ""',
        ):
            auth.write(broken)
            problems = log.read_text().count("last good one")
            await until(lambda before=problems: log.read_text().count("last good one") > before, "seen", within=10)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 30) == 0, log.read_text()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return log.read_text() + "\n".join(outward), [*run.secrets, PASSWORD, WRONG_PASSWORD, authority.key.read_text()]


def _leaks(text: str, secrets: list[str]) -> list[str]:
    return [secret for secret in secrets if secret in text]


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_run_leaves_no_secret(shard: str, tmp_path: Path, workers: int) -> None:
    """Good and bad credentials, errors, traces, a crash, a broken auth file, at debug level: it has no secret."""
    shards = f"{shard} redis://:{WRONG_PASSWORD}@127.0.0.1:1"
    text, secrets = await _run(shards, tmp_path, "--workers", str(workers))

    for said in ("boom", "crashed", "refused", "force-release", "not usable", "last good one"):
        assert said in text, f"the run did not come to where it says {said}"
    assert not _leaks(text, secrets)


async def test_a_secret_would_be_found(shard: str, tmp_path: Path) -> None:
    """The broken variant: an error that says the password."""
    text, secrets = await _run(shard, tmp_path, program=PROGRAM.replace('ValueError("boom")', "ValueError(password)"))

    assert _leaks(text, secrets) == [PASSWORD]
