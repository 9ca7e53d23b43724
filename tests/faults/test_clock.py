"""The clock of a Redis that a test moves while it runs."""

import time
from collections.abc import Iterator

import pytest

from harness.clock import Clock
from harness.redis_server import RedisServer

HOUR_S = 3600.0


@pytest.fixture
def clock() -> Iterator[Clock]:
    """A clock that can be moved."""
    with Clock() as made:
        yield made


@pytest.fixture
def server(kind: str, clock: Clock) -> Iterator[RedisServer]:
    """A Redis on that clock."""
    made = RedisServer(kind, launcher=clock.launcher)
    yield made
    made.remove()


def ahead_s(server: RedisServer) -> float:
    """Asks a Redis for the time, and says how far it is ahead of this machine's."""
    with server.connect() as connection:
        seconds, micros = connection.time()
    return float(seconds + micros / 1e6 - time.time())


def test_time_moves_while_redis_runs(server: RedisServer, clock: Clock) -> None:
    """Forward, back to before the true time, by fractions, and home again, each time at once."""
    for offset_s in (0.0, 60.0, -HOUR_S, 0.25, 0.0):
        clock.set_offset(offset_s)
        assert ahead_s(server) == pytest.approx(offset_s, abs=0.1)


def test_scripts_and_expiry_follow_the_clock(server: RedisServer, clock: Clock) -> None:
    """A key runs out early when the clock jumps forward, and late when it is put back: what faults rest on."""
    with server.connect() as connection:
        connection.set("early", 1, px=30_000)
        clock.set_offset(60)
        assert connection.get("early") is None
        assert float(connection.eval("return redis.call('TIME')[1]", 0)) == pytest.approx(time.time() + 60, abs=2)

        connection.set("late", 1, px=30_000)
        clock.set_offset(60 - HOUR_S)
        assert connection.pttl("late") > HOUR_S * 1000


def test_monotonic_time_stays(server: RedisServer, clock: Clock) -> None:
    """A blocked client's timeout is kept by the monotonic clock, so that jumps do not end or prolong it."""
    with server.connect() as connection:
        clock.set_offset(HOUR_S)
        started = time.monotonic()
        assert connection.blpop(["nothing"], timeout=0.3) is None
        assert 0.2 < time.monotonic() - started < 5


def test_each_clock_is_its_own(server: RedisServer, clock: Clock, kind: str) -> None:
    """A Redis without the clock, or with another, is not moved; one that starts again keeps the offset."""
    with Clock() as another:
        beside = [RedisServer(kind), RedisServer(kind, launcher=another.launcher)]
        try:
            clock.set_offset(HOUR_S)
            assert [ahead_s(one) for one in beside] == pytest.approx([0, 0], abs=0.1)
            server.stop()
            server.start()
            assert ahead_s(server) == pytest.approx(HOUR_S, abs=0.1)
        finally:
            for one in beside:
                one.remove()
