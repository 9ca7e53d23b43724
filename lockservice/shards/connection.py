"""Connects pipelines: redis-py reads the URL, speaks TLS and authenticates."""

import asyncio
from typing import cast

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import Connection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.maint_notifications import MaintNotificationsConfig

from lockservice.errors import ShardUnavailable
from lockservice.shards.pipeline import Pipeline


async def connect(url: str, pipeline: Pipeline) -> None:
    """Connects a pipeline to the Redis at a redis-py URL, within the pipeline's timeout.

    Raises:
        ShardUnavailable: it cannot be reached in time, or refuses the credentials.
    """
    try:
        connection = _make(url, pipeline.timeout_s)
    except (ValueError, TypeError) as error:
        raise ShardUnavailable(f"its URL cannot be used: {error}") from error
    try:
        async with asyncio.timeout(pipeline.timeout_s):
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py annotates only a part
    except (RedisError, OSError, RuntimeError, TimeoutError) as error:
        # uvloop raises RuntimeError for a write after the server has reset the connection.
        await connection.disconnect(nowait=True)
        raise ShardUnavailable(f"cannot connect: {error or type(error).__name__}") from error
    pipeline.attach(connection)


def _make(url: str, timeout_s: float) -> Connection:
    pool = ConnectionPool.from_url(
        url,
        protocol=3,
        socket_connect_timeout=timeout_s,
        socket_timeout=timeout_s,
        # redis-py would send a command a second time by itself; only whoever holds the request's ids may do that.
        retry=Retry(NoBackoff(), 0),
        client_name="lockservice",
        maint_notifications_config=MaintNotificationsConfig(enabled=False),
    )
    return cast("Connection", pool.make_connection())  # type: ignore[no-untyped-call]  # as above
