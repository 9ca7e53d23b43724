"""Tokens at the store: in SQLite, PostgreSQL and Redis, on real ones, a later holder's writes are the last."""

import os
import shutil
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from lockservice_client.fencing import FENCES, StaleToken, admit, write_redis, write_redis_async

RESOURCE = "order:1001"
Connect = Callable[[], Any]


def _postgres_program(name: str) -> str:
    found = shutil.which(name) or next(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), None)
    if found is None:
        assert os.environ.get("CI") != "true", "CI needs PostgreSQL"
        pytest.skip("PostgreSQL is not installed")
    return found


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """A PostgreSQL of its own, on a unix socket."""
    initdb, server = _postgres_program("initdb"), _postgres_program("postgres")
    directory = Path(tempfile.mkdtemp(prefix="ls-pg-"))
    # It refuses to run as root.
    who: dict[str, Any] = {"user": "postgres"} if os.geteuid() == 0 else {}
    if who:
        shutil.chown(directory, "postgres")
    subprocess.run(
        [initdb, "-D", directory / "data", "-A", "trust", "-U", "test"],
        check=True,
        stdout=subprocess.DEVNULL,
        cwd="/",
        **who,
    )
    words = [server, "-D", directory / "data", "-k", directory, "-c", "listen_addresses=", "-c", "fsync=off"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/", **who)
    until = time.monotonic() + 20
    where = f"host={directory} user=test dbname=postgres"
    while True:
        try:
            psycopg.connect(where).close()
            break
        except psycopg.OperationalError:
            assert time.monotonic() < until, "PostgreSQL does not start"
            time.sleep(0.05)
    yield where
    process.terminate()
    process.wait()
    shutil.rmtree(directory)


@pytest.fixture(params=["sqlite", "postgres"])
def sql(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Connect, str]:
    """A way to connect to an empty SQL store, and its mark."""
    if request.param == "sqlite":

        def connect() -> Any:
            return sqlite3.connect(tmp_path / "store", timeout=10)

        mark = "?"
    else:
        where = request.getfixturevalue("postgres")

        def connect() -> Any:
            return psycopg.connect(where)

        mark = "%s"
    store = connect()
    store.execute("DROP TABLE IF EXISTS fences")
    store.execute("DROP TABLE IF EXISTS orders")
    store.execute(FENCES)
    store.execute("CREATE TABLE orders (state TEXT)")
    store.execute("INSERT INTO orders VALUES ('paid')")
    store.commit()
    store.close()
    return connect, mark


def state(connect: Connect) -> str:
    """Reads what the store holds."""
    store = connect()
    found = store.execute("SELECT state FROM orders").fetchone()[0]
    store.close()
    return str(found)


def write(connect: Connect, mark: str, token: int, what: str, before_commit: float = 0) -> None:
    """Writes as a holder should, with time to be overtaken."""
    store = connect()
    try:
        admit(store, RESOURCE, token, mark=mark)
        store.execute(f"UPDATE orders SET state = {mark}", (what,))
        time.sleep(before_commit)
        store.commit()
    finally:
        store.close()


def test_sql_takes_no_stale_write(sql: tuple[Connect, str]) -> None:
    """The same holder writes again, a later one too, and the one before is refused from then on."""
    connect, mark = sql
    write(connect, mark, 5, "first")
    write(connect, mark, 5, "again")
    write(connect, mark, 6, "later")
    with pytest.raises(StaleToken, match="a higher token than 5"):
        write(connect, mark, 5, "lost update")

    assert state(connect) == "later"


def test_sql_lets_nobody_in_between(sql: tuple[Connect, str]) -> None:
    """A later holder waits for the transaction that was admitted before it, so its writes are the last."""
    connect, mark = sql
    slow = threading.Thread(target=write, args=(connect, mark, 5, "slow", 0.5))
    slow.start()
    time.sleep(0.2)
    write(connect, mark, 6, "later")
    slow.join()

    assert state(connect) == "later"


def test_sql_that_looks_before_it_writes_loses_updates(sql: tuple[Connect, str]) -> None:
    """The broken variant that these checks catch: between a look and a write there is room for another holder."""
    connect, mark = sql
    slow = connect()
    seen = slow.execute("SELECT max(token) FROM fences").fetchone()[0] or 0
    slow.commit()
    write(connect, mark, 6, "later")
    assert seen <= 5
    slow.execute("UPDATE orders SET state = 'lost update'")
    slow.commit()
    slow.close()

    assert state(connect) == "lost update"


def test_sql_that_is_shown_the_token_at_the_read_takes_no_write_from_before(sql: tuple[Connect, str]) -> None:
    """What a later holder has read stays as it was until it writes."""
    connect, mark = sql
    write(connect, mark, 4, "before")
    reader = connect()
    admit(reader, RESOURCE, 6, mark=mark)
    read = reader.execute("SELECT state FROM orders").fetchone()[0]
    reader.commit()
    reader.close()
    with pytest.raises(StaleToken):
        write(connect, mark, 5, "unread")
    write(connect, mark, 6, f"{read}, later")

    assert state(connect) == "before, later"


def test_sql_that_is_shown_the_token_at_the_write_alone_loses_updates(sql: tuple[Connect, str]) -> None:
    """The broken variant: the write of the holder before is taken, and overwritten by one that has not read it."""
    connect, mark = sql
    read = state(connect)
    write(connect, mark, 5, "unread")
    write(connect, mark, 6, f"{read}, later")

    assert state(connect) == "paid, later"


def test_redis_that_is_shown_the_token_at_the_read_takes_no_write_from_before(store: redis.Redis) -> None:
    """The same in Redis, where showing it is a write of nothing."""
    write_redis(store, "fence", 4, ("SET", "stock", 12))
    write_redis(store, "fence", 6)
    read = int(store.get("stock") or 0)
    with pytest.raises(StaleToken):
        write_redis(store, "fence", 5, ("SET", "stock", 99))
    write_redis(store, "fence", 6, ("SET", "stock", read - 1))

    assert store.get("stock") == "11"


def test_redis_takes_no_stale_write(store: redis.Redis) -> None:
    """All commands of a holder are done at once, or none."""
    write_redis(store, "fence", 2**53 - 2, ("SET", "stock", 12), ("RPUSH", "log", "a", "b"))
    write_redis(store, "fence", 2**53 - 1, ("DECR", "stock"))
    with pytest.raises(StaleToken):
        write_redis(store, "fence", 2**53 - 2, ("SET", "stock", 99), ("DEL", "log"))

    assert store.get("stock") == "11"
    assert store.lrange("log", 0, -1) == ["a", "b"]
    assert store.get("fence") == str(2**53 - 1)


async def test_redis_takes_no_stale_write_from_asyncio(store: redis.Redis) -> None:
    """The same from an asyncio client."""
    path = store.connection_pool.connection_kwargs["path"]
    async with redis.asyncio.Redis(unix_socket_path=path, decode_responses=True) as client:
        await write_redis_async(client, "fence", 6, ("SET", "stock", 11))
        with pytest.raises(StaleToken):
            await write_redis_async(client, "fence", 5, ("SET", "stock", 12))

        assert await client.get("stock") == "11"


def test_redis_that_looks_before_it_writes_loses_updates(store: redis.Redis) -> None:
    """The broken variant: a look and a write by themselves."""
    seen = int(store.get("fence") or 0)
    write_redis(store, "fence", 6, ("SET", "stock", 11))
    assert seen <= 5
    store.set("stock", 12)

    assert store.get("stock") == "12"
