"""The URLs of shards: those that are fine work in redis-py, and those that it would misread are refused."""

import pytest
from redis.asyncio import ConnectionPool

from lockservice.shard_url import problem_with

FINE = [
    "redis://h",
    "redis://h:6379/0",
    "redis://h/",
    "redis://user:p%40ss%2Fw@[::1]:6379/15",
    "redis://h?db=2&username=u&password=p",
    "rediss://h?ssl_ca_certs=/ca.pem&ssl_certfile=/c.pem&ssl_keyfile=/k.pem&ssl_cert_reqs=required",
    "rediss://h?ssl_check_hostname=false&ssl_cert_reqs=none",
    "unix:///run/redis.sock",
    "unix://user:pw@/run/redis%20one.sock?db=1",
]


@pytest.mark.parametrize("url", FINE)
async def test_fine(url: str) -> None:
    """A URL without a problem makes a connection in redis-py."""
    assert problem_with(url) == ""
    pool = ConnectionPool.from_url(url)
    assert pool.make_connection()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis://h:0", "no server"),
        ("redis://h:port", "no server"),
        ("redis://:pass word@h", "no server"),
        ("redis://:pass#word@h", "no server"),
        ("redis://h\n", "no server"),
        ("unix://run/redis.sock", "no server"),
        ("redis://h/main", "number of a database"),
        ("redis://h/1/2", "number of a database"),
        ("redis://h?nonsense=1", "after ? come only"),
        ("redis://h?protocol=2", "after ? come only"),
        ("redis://h?db=x", "after ? come only"),
        ("redis://h?db=", "after ? come only"),
        ("redis://h?db", "after ? come only"),
        ("redis://h?ssl_ca_certs=/ca.pem", "after ? come only"),
        ("rediss://h?ssl_cert_reqs=perhaps", "after ? come only"),
        ("rediss://h?ssl_check_hostname=maybe", "after ? come only"),
    ],
)
def test_refused(url: str, said: str) -> None:
    """A URL of which redis-py would drop or misread a part is refused with what is allowed."""
    assert said in problem_with(url)


def test_redis_py_alone_would_not_do() -> None:
    """redis-py itself takes another database, or none, from URLs that are refused here."""
    assert ConnectionPool.from_url("redis://h/1/2").connection_kwargs["db"] == 12
    assert "db" not in ConnectionPool.from_url("redis://h/main").connection_kwargs


@pytest.mark.parametrize(
    "place", ["redis://:{}@", "redis://h/{}", "redis://h?{}=1", "redis://h:{}", "x{}://h", "redis://h#{}"]
)
def test_no_secret_in_a_message(place: str) -> None:
    """What is wrong is said without a part of the URL, as it may be a part of a password."""
    message = problem_with(place.format("s3cr3t"))
    assert message
    assert "s3cr3t" not in message
