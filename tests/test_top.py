"""`lockctl top` on a real terminal: what it shows, that it fits, and that nothing can break the terminal."""

import asyncio
import re
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from harness import lockctl
from harness.redis_server import RedisServer
from harness.screen import TOLD, Screen
from harness.service import Service, until
from harness.tenant import AuthFile
from lockservice.v1 import lockservice_pb2 as pb
from lockservice_client.lockctl.picture import Look, Row, draw
from lockservice_client.lockctl.visible import fit, visible, width
from lockservice_client.values import Lock, Overview, Shard

HOSTILE = (
    "\x1b]0;owned\x07\x1b[2J",
    "\u202egnirts\u2066",
    "漢" * 300,
    "z" + "\u0301" * 300,
    "<b>\u200b\ufeff\u2028",
    "e" * 512,
    "\ud800",
    "",
)


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """A service on one shard."""
    server = RedisServer()
    async with Service([server.url]) as running:
        yield running
    server.remove()


def top(address: str, *words: str, columns: int = 100, lines: int = 30) -> Screen:
    """Runs top on a terminal."""
    return Screen(
        str(lockctl.PROGRAM), "--server", address, "top", "--interval", "0.2", *words, columns=columns, lines=lines
    )


def fits(screen: Screen) -> None:
    """The picture is no larger than the terminal, and the program told that nothing else than what it may."""
    assert 0 < len(screen.rows) <= screen.lines
    assert max(map(width, screen.rows)) <= screen.columns
    rest = TOLD.sub("", screen.written)
    assert not re.search(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u200b\u2028\u202a-\u202e\u2066-\u2069\ufeff]", rest)


async def test_it_is_live(service: Service) -> None:
    """A lease and a queue are shown within a second of each other, gone when they are, and q gives all back."""
    async with top(service.server.grpc_addr) as screen:
        await screen.shows("q quits")
        lease = await service.grant("order:7", "alice", ttl=30)
        waiting = service.waiting("order:7", "bob")
        await service.queued(1, "order:7")
        picture = await screen.shows("order:7")
        assert "alice" in picture
        await screen.shows("1 held, 1 waiting")
        fits(screen)
        await service.release(lease)
        await waiting
        await screen.shows("bob")
        screen.press("q")
        assert await asyncio.wait_for(screen.process.wait(), 10) == 0
        assert screen.written.endswith("\x1b[?7h\x1b[?25h\x1b[?1049l")
        assert screen.given_back


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 128 + signal.SIGTERM)])
async def test_signals_give_the_terminal_back(service: Service, number: signal.Signals, code: int) -> None:
    """Ctrl-C is a normal end; SIGTERM ends it too, and both leave the terminal as it was."""
    async with top(service.server.grpc_addr) as screen:
        await screen.shows("q quits")
        screen.process.send_signal(number)
        assert await asyncio.wait_for(screen.process.wait(), 10) == code
        assert screen.written.endswith("\x1b[?7h\x1b[?25h\x1b[?1049l")
        assert screen.given_back


async def test_hostile_names_are_text(service: Service) -> None:
    """Whatever a resource or its owner is called, the terminal stays in one piece, at any size."""
    names = [name for name in HOSTILE if name.isprintable() and 0 < len(name.encode()) <= 512]
    names += ["\u202egnirts", "a\u2066b", "漢" * 170]
    for name in names:
        await service.locks.Acquire(_asking(name))
    async with top(service.server.grpc_addr, columns=60, lines=18) as screen:
        await screen.shows("HELD LONGEST")
        await screen.shows("\\u202e")
        fits(screen)
        for columns, lines in ((20, 4), (200, 50), (1, 1)):
            screen.resize(columns, lines)
            before = len(screen.written)
            while (
                len(screen.rows) > lines or max(map(width, screen.rows)) != columns or len(screen.written) == before
            ):
                await asyncio.sleep(0.02)
            assert len(screen.rows) <= lines
            assert max(map(width, screen.rows)) <= columns


@pytest.mark.parametrize("told", [r"\033[2J", r"\033]0;owned\007", r"\342\200\256", "x" * 101, r"\r\n" * 31])
async def test_a_program_that_obeys_names_is_caught(told: str) -> None:
    """What fits() looks for is found in the output of a program that prints names as they are."""
    async with Screen("printf", rf"\033[H{told}\033[J", columns=100, lines=30) as screen:
        await screen.process.wait()
        await until(lambda: screen.rows, "printed")
        with pytest.raises(AssertionError):
            fits(screen)


async def test_a_lost_connection_is_survived(service: Service) -> None:
    """It says that it is stale, for how long and why, and goes on when the service is back."""
    urls = [shard.url for shard in service.server._settings.shards]
    async with Service(urls) as second:
        address = second.server.grpc_addr
        await second.grant("order:9", "alice", ttl=60)
        async with top(address) as screen:
            await screen.shows("order:9")
            await second.server.stop()
            picture = await screen.shows("STALE")
            assert "order:9" in picture
            assert "cannot be reached" in picture or "closed the connection" in picture
            async with Service(urls, grpc_addr=address):
                await screen.shows("the service answers again")
                await screen.shows("q quits")
                await screen.shows("another replica answers")
                fits(screen)
                screen.press("q")
                assert await asyncio.wait_for(screen.process.wait(), 10) == 0


async def test_a_shard_that_goes_down_is_told() -> None:
    """The row of the shard says so, and the list of what went wrong keeps it when it is up again."""
    server = RedisServer()
    async with Service([server.url]) as service, top(service.server.grpc_addr, columns=160) as screen:
        await screen.shows("s1           up")
        server.stop()
        # The replica is not ready then, and gRPC keeps workers away from it; operators must get to it all the more.
        await until(service.server.problems, "not ready")
        await screen.shows("DOWN")
        code, out, _ = await lockctl.run("--server", service.server.grpc_addr, "shards")
        assert (code, "DOWN" in out) == (0, True)
        server.start()
        await screen.shows("shard s1 is up again")
        await screen.shows("s1           up")
    server.remove()


async def test_one_shot_elsewhere(service: Service) -> None:
    """Into a pipe it is written once, as text without escapes or as a JSON object a line."""
    await service.grant("order:1", "alice\u202e", ttl=60)
    code, out, err = await lockctl.run("--server", service.server.grpc_addr, "top")
    assert (code, err) == (0, "")
    assert "order:1" in out
    assert "\x1b" not in out
    assert "\u202e" not in out
    code, objects = await lockctl.lines("--server", service.server.grpc_addr, "top")
    assert code == 0
    assert [entry["kind"] for entry in objects] == ["replica", "shard", "resource"]
    assert objects[2]["held"] >= 0
    code, _, err = await lockctl.run("--server", "127.0.0.1:1", "top")
    assert code == 1
    assert "cannot be reached" in err


async def test_who_may_not_look_is_told(service: Service, tmp_path: Path) -> None:
    """A credential that is not an operator's ends it with the reason, on a terminal too."""
    auth = AuthFile(tmp_path)
    token = auth.add("worker", "", roles=("worker",))
    urls = [shard.url for shard in service.server._settings.shards]
    async with Service(urls, auth_file=auth.path) as guarded:
        screen = top(guarded.server.grpc_addr)
        screen._variables["LOCKSERVICE_TOKEN"] = token
        async with screen:
            assert await asyncio.wait_for(screen.process.wait(), 20) == 1
            assert "operator" in screen.written


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("columns", [0, 1, 2, 7, 80])
def test_text_is_made_to_fit(text: str, columns: int) -> None:
    """Exactly so many columns, nothing that a terminal would obey or that has no place on it."""
    fitted = fit(text, columns)
    assert width(fitted) == columns
    assert fitted == visible(fitted)
    fitted.encode()


@pytest.mark.parametrize("size", [(1, 1), (10, 3), (40, 10), (80, 24), (300, 100)])
def test_a_picture_fits(size: tuple[int, int]) -> None:
    """Many shards, resources and problems never take more than the terminal has; without any it is drawn too."""
    shards = tuple(
        Shard(f"s{n}", f"10.0.0.{n}:6379", n % 2 == 0, 0.001, 0.02, 1, 2, "gone\x1b[2J", "primary", "fenced", (), n)
        for n in range(40)
    )
    locks = tuple(Lock(f"r{n}漢", "s1", None, n, None, None, float(n * 100)) for n in range(500))
    look = Look(Overview(shards, "0.1.0", "r", 1, datetime.now(UTC)), {"s1": 3.0}, locks)
    columns, lines = size
    for seen in (look, None):
        for problems in ((), ("bad \x07",) * 70):
            rows = draw(seen, Row("title " * 50), problems, columns=columns, lines=lines)
            assert 0 < len(rows) <= lines
            assert {width(row.text) for row in rows} == {columns}


def test_the_longest_come_first() -> None:
    """Queues by their length, leases by how long they are held."""
    locks = (
        Lock("short", "s1", None, 9, None, None, 1.0),
        Lock("long", "s1", None, 0, None, None, 4000.0),
        Lock("crowded", "s1", None, 70, None, None, 2.0),
    )
    look = Look(Overview((), "0.1.0", "r", 1, datetime.now(UTC)), {}, locks)
    text = "\n".join(row.text for row in draw(look, Row("t"), (), columns=90, lines=30))
    queues, held = text.split("LONGEST QUEUES")[1].split("HELD LONGEST")
    assert queues.index("crowded") < queues.index("short")
    assert "long" not in queues
    assert held.index("long") < held.index("crowded") < held.index("short")
    assert "1h06m" in held


def _asking(name: str) -> object:
    return pb.AcquireRequest(resource=name, owner=name[:60])
