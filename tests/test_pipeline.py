"""The pipeline: when calls leave together, their order, and calls that are cancelled."""

import asyncio
import random
import socket
import struct
import threading
import time

import pytest
import uvloop

from harness.redis_server import RedisServer
from lockservice.errors import OutcomeUnknown, ShardUnavailable
from lockservice.limits import BATCH_CALLS_MIN, GATHER_MS_MAX, QUIET_TURNS
from lockservice.shards import gathering
from lockservice.shards.confirmed import Confirmation, ConfirmedPipeline
from lockservice.shards.connection import connect
from lockservice.shards.pipeline import Pipeline, is_error


async def open_pipeline(
    server: RedisServer, sizes: list[int] | None = None, pipeline_type: type[Pipeline] = Pipeline
) -> Pipeline:
    """Connects, and notes the size of each write."""
    noted = sizes if sizes is not None else []
    pipeline = pipeline_type(timeout_s=0.25, on_push=lambda _push: None, on_batch=noted.append)
    await connect(server.url, pipeline)
    return pipeline


async def turns(count: int) -> None:
    """Lets the event loop make so many turns."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_many_calls_leave_in_full_writes(servers: list[RedisServer]) -> None:
    """Redis has the first of many calls of one turn while the others are still being prepared."""
    sizes: list[int] = []
    pipeline = await open_pipeline(servers[0], sizes)

    answers = await asyncio.gather(*(pipeline.call("ECHO", str(n)) for n in range(2 * BATCH_CALLS_MIN + 1)))

    assert answers == [str(n).encode() for n in range(2 * BATCH_CALLS_MIN + 1)]
    assert sizes == [BATCH_CALLS_MIN, BATCH_CALLS_MIN, 1]
    pipeline.close()


async def test_calls_that_come_one_by_one_share_a_write(
    servers: list[RedisServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write waits for as long as another call comes every few turns, and leaves when the loop has gone quiet."""
    # A moment in which this machine does other things shall not end it.
    monkeypatch.setattr(gathering, "GATHER_MS_MAX", 60_000)
    sizes: list[int] = []
    pipeline = await open_pipeline(servers[0], sizes)

    calls = []
    for number in range(4):
        calls.append(pipeline.call("ECHO", str(number)))
        await turns(QUIET_TURNS - 1)
    assert sizes == []
    await turns(3)
    assert sizes == [4]

    assert await asyncio.gather(*calls) == [b"0", b"1", b"2", b"3"]
    pipeline.close()


async def test_a_call_waits_no_longer_than_it_may_for_others(servers: list[RedisServer]) -> None:
    """Where turns take long, the time tells when to leave, though calls keep coming."""
    sizes: list[int] = []
    pipeline = await open_pipeline(servers[0], sizes)

    calls = []
    while not sizes:
        calls.append(pipeline.call("ECHO", "slow"))
        time.sleep(GATHER_MS_MAX / 1000 / 4)  # noqa: ASYNC251  this turn shall take long
        await turns(1)

    assert sizes == [len(calls)]
    assert len(calls) < BATCH_CALLS_MIN / 2
    await asyncio.gather(*calls)
    pipeline.close()


async def test_a_call_that_others_wait_for_waits_for_no_company(servers: list[RedisServer]) -> None:
    """It leaves at once, also when a write is on its way; what comes meanwhile leaves with the answer."""
    sizes: list[int] = []
    pipeline = await open_pipeline(servers[0], sizes)

    first = pipeline.call("ECHO", "release")
    pipeline.hurry()
    assert sizes == [1]
    others = [pipeline.call("ECHO", "acquire"), pipeline.call("ECHO", "release")]
    pipeline.hurry()
    assert sizes == [1, 2]
    last = pipeline.call("ECHO", "acquire")
    await asyncio.gather(first, *others)
    assert sizes == [1, 2, 1]
    assert await last == b"acquire"
    pipeline.close()


async def test_no_call_is_left_behind_whatever_the_timing(servers: list[RedisServer]) -> None:
    """Calls that come before, between and after writes and replies are all answered; none waits for a time-out."""
    pipeline = await open_pipeline(servers[0])
    await pipeline.subscribe("news")
    chance = random.Random(3)

    async def caller(number: int) -> None:
        for turn in range(100):
            word = f"{number}.{turn}"
            assert await pipeline.call("ECHO", word) == word.encode()
            # A message may arrive at any moment, also between a call and its write.
            await pipeline.call("PUBLISH", "news", word)
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)

    await asyncio.gather(*(caller(number) for number in range(20)))

    assert not pipeline.closed.done()
    assert not pipeline._on_its_way
    pipeline.close()


async def test_a_message_between_a_call_and_its_write(servers: list[RedisServer]) -> None:
    """A message that arrives then sends the call early; the count of what is on its way must not lose it."""
    pipeline = await open_pipeline(servers[0])

    first = pipeline.call("ECHO", "first")
    pipeline.data_received(b">3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nx\r\n")
    second = pipeline.call("ECHO", "second")

    assert (await first, await second) == (b"first", b"second")
    assert await pipeline.call("ECHO", "third") == b"third"
    pipeline.close()


async def test_a_message_is_heard_in_its_place_among_the_replies(servers: list[RedisServer]) -> None:
    """Whoever waits for a reply goes on before a message that came behind it in the same read is heard."""
    heard: list[str] = []
    pipeline = Pipeline(timeout_s=5, on_push=lambda _push: heard.append("message"), on_batch=lambda _size: None)
    await connect(servers[0].url, pipeline)
    call = pipeline.call("BLPOP", "nothing", 0)
    pipeline.hurry()

    async def ask() -> None:
        await call
        heard.append("reply")

    asking = asyncio.create_task(ask())
    await turns(1)
    pipeline.data_received(b"$1\r\nx\r\n>3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$1\r\nx\r\n")
    await asking
    await turns(2)

    assert heard == ["reply", "message"]
    pipeline.close()


async def test_a_refused_subscription_takes_only_its_own_place(servers: list[RedisServer]) -> None:
    """An error in answer to SUBSCRIBE never shifts the replies of other calls."""
    with servers[0].connect() as connection:
        connection.execute_command("ACL", "SETUSER", "deaf", "on", ">secret", "~*", "+@all", "-subscribe")
    url = servers[0].url.replace("unix://", "unix://deaf:secret@")
    pipeline = Pipeline(timeout_s=0.25, on_push=lambda _push: None, on_batch=lambda _size: None)
    await connect(url, pipeline)

    refused = pipeline.subscribe("ls:inbox:x")
    echo, ping = pipeline.call("ECHO", "a"), pipeline.call("PING")

    assert is_error(await refused)
    assert (await echo, await ping) == (b"a", b"PONG")
    pipeline.close()
    with servers[0].connect() as connection:
        connection.execute_command("ACL", "DELUSER", "deaf")


@pytest.mark.parametrize("pipeline_type", [Pipeline, ConfirmedPipeline])
async def test_a_call_that_has_not_left_was_not_done(
    servers: list[RedisServer], pipeline_type: type[Pipeline]
) -> None:
    """When the connection breaks, only of what was sent is the outcome unknown."""
    sizes: list[int] = []
    pipeline = await open_pipeline(servers[0], sizes, pipeline_type)
    if isinstance(pipeline, ConfirmedPipeline):
        pipeline.confirm_by(Confirmation(("PING",), lambda reply: reply == b"PONG", "not at all"), lambda: None)
    sent = pipeline.answer("ECHO", "early")
    pipeline.hurry()
    left = sum(sizes)
    unsent = pipeline.answer("ECHO", "late")
    assert sum(sizes) == left

    pipeline.close()

    with pytest.raises(OutcomeUnknown):
        await sent
    with pytest.raises(ShardUnavailable):
        await unsent


async def test_silence_ends_every_call(servers: list[RedisServer]) -> None:
    """When no answer comes within the time-out, all that wait are told that their outcome is unknown."""
    pipeline = await open_pipeline(servers[0])
    calls = [pipeline.call("DEBUG", "SLEEP", "1"), pipeline.call("PING")]

    for call in calls:
        with pytest.raises(OutcomeUnknown):
            await asyncio.wait_for(call, 0.6)

    assert pipeline.closed.done()


def test_a_server_that_resets_connections_cannot_be_reached() -> None:
    """At whatever moment the reset comes, it is said so; uvloop has an error of its own for some of them."""
    at_once = struct.pack("ii", 1, 0)

    def reset(listening: socket.socket) -> None:
        for _ in range(attempts):
            accepted, _ = listening.accept()
            accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, at_once)
            accepted.close()

    async def connect_again_and_again() -> None:
        for _ in range(attempts):
            pipeline = Pipeline(timeout_s=1, on_push=lambda _push: None, on_batch=lambda _size: None)
            with pytest.raises(ShardUnavailable):
                await connect(url, pipeline)

    attempts = 200
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"redis://127.0.0.1:{listening.getsockname()[1]}"
        server = threading.Thread(target=reset, args=[listening], daemon=True)
        server.start()
        uvloop.run(connect_again_and_again())
        server.join()
