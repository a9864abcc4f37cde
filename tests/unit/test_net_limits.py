"""Connections of a network in all processes: who comes at once, a Redis that is gone or says nothing, who is spared."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager

import pytest
from redis.asyncio import Redis

from duckmail.errors import LimitReached
from duckmail.runtime.tasks import Tasks
from duckmail.services.connections import BATCH, Connections
from protocols.net.limits import Limits
from protocols.net.peer import Networks, Peer
from storage.redis.client import connect
from storage.redis.presence import Presence
from tests.support.net import client, echo, serving
from tests.support.waiting import PATIENCE, redis_has_time

CLIENT = Peer.of("192.0.2.7", 40000)
NEIGHBOUR = Peer.of("192.0.2.8", 40000)
LOCAL = Peer("", 0, unix=True)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    with redis_has_time():
        opened = connect(redis_url)
        yield opened
        await opened.aclose()


@pytest.fixture
def two(redis: Redis, redis_prefix: str) -> tuple[Connections, Connections]:
    here, there = (Connections(Presence(redis, redis_prefix, name)) for name in ("here", "there"))
    return here, there


async def placed(limits: Limits, peer: Peer, stack: ExitStack) -> bool:
    try:
        stack.enter_context(await limits.network(peer))
    except LimitReached:
        return False
    return True


async def test_who_comes_at_once_gets_no_more_than_there_is(two: tuple[Connections, Connections]) -> None:
    here, there = (Limits(0, per_network=5, everywhere=each) for each in two)
    with ExitStack() as stack:
        came = await asyncio.gather(*(placed(limits, CLIENT, stack) for limits in (here, there) * 10))
        found = sum(came)
        assert found <= 5
        # Those that were refused took nobody's place.
        while found < 5:
            assert await placed(here, CLIENT, stack)
            found += 1
        for limits in (here, there):
            with pytest.raises(LimitReached, match="Too many connections from your network"):
                await limits.network(CLIENT)
        assert await placed(there, NEIGHBOUR, stack)


async def test_what_is_told_is_in_order(two: tuple[Connections, Connections]) -> None:
    """Numbers that change while others are on their way: the last one stands."""
    here, there = two
    with ExitStack() as stack:
        for place in await asyncio.gather(*(here.take("u", 0) for _ in range(60))):
            stack.enter_context(place)
        assert await there.used("u") == 60
        places = await asyncio.gather(*(here.take(f"u{number % 7}", 0) for number in range(3 * BATCH)))
        for place in places:
            place.close()
        await here.tell()
        assert [await there.used(f"u{number}") for number in range(7)] == [0] * 7
        assert await there.used("u") == 60
    await here.tell()
    assert await there.used("u") == 0


async def test_it_is_told_by_itself_who_has_left(two: tuple[Connections, Connections], tasks: Tasks) -> None:
    here, there = two
    tasks.start(here.keep(), "keep")
    place = await here.take("u", 1)
    with pytest.raises(LimitReached):
        await there.take("u", 1)
    place.close()
    async with asyncio.timeout(PATIENCE):
        while await there.used("u"):
            await asyncio.sleep(0.01)


async def test_all_that_is_there_is_told_again(
    redis: Redis, two: tuple[Connections, Connections], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than goes at once; Redis has lost all of it."""
    monkeypatch.setattr("duckmail.services.connections.TOLD_SECONDS", 0.0)
    here, there = two
    units = [f"u{number}" for number in range(2 * BATCH + 1)]
    with ExitStack() as stack:
        for place in await asyncio.gather(*(here.take(unit, 0) for unit in units)):
            stack.enter_context(place)
        async for key in redis.scan_iter(match=f"{here._presence._prefix}*"):
            await redis.delete(key)
        assert await there.used(units[0]) == 0
        await here.tell()
        assert [await there.used(unit) for unit in units] == [1] * len(units)


@pytest.mark.parametrize(
    ("settings", "peers", "fits"),
    [
        pytest.param({}, [CLIENT, CLIENT, NEIGHBOUR], [True, False, True], id="an-address"),
        pytest.param({"wide": True}, [CLIENT, NEIGHBOUR], [True, False], id="a-wide-network"),
        pytest.param({"exempt": Networks(("192.0.2.7",))}, [CLIENT, CLIENT, NEIGHBOUR, NEIGHBOUR],
                     [True, True, True, False], id="exempt"),
        pytest.param({"exempt": Networks(("192.0.2.7",))}, [LOCAL, LOCAL, LOCAL], [True] * 3, id="unix-has-no-network"),
        pytest.param({"per_network": 0}, [CLIENT, CLIENT], [True, True], id="no-limit"),
    ],
)  # fmt: skip
async def test_whose_connections_count(
    two: tuple[Connections, Connections], settings: dict[str, object], peers: list[Peer], fits: list[bool]
) -> None:
    """Each at another process than the one before."""
    both = [Limits(0, everywhere=each, **{"per_network": 1, **settings}) for each in two]  # type: ignore[arg-type]
    with ExitStack() as stack:
        found = [await placed(both[number % 2], peer, stack) for number, peer in enumerate(peers)]
    assert found == fits


async def test_wide_networks_and_narrow_ones_are_not_the_same(two: tuple[Connections, Connections]) -> None:
    """Of IPv6 both are a /64: a client of the MX listener is counted by the listener and by the server behind it."""
    peer = Peer.of("2001:db8::1", 40000)
    narrow, wide = (Limits(0, per_network=1, wide=wide, everywhere=two[0]) for wide in (False, True))
    with ExitStack() as stack:
        assert await placed(narrow, peer, stack)
        assert await placed(wide, peer, stack)


# Without Redis


@asynccontextmanager
async def gone() -> AsyncIterator[str]:
    """The URL of a Redis that was stopped."""
    with socket.socket() as nobody:  # bound, and does not listen: connections are refused, and nobody else takes it
        nobody.bind(("127.0.0.1", 0))
        yield f"redis://127.0.0.1:{nobody.getsockname()[1]}"


@asynccontextmanager
async def silent() -> AsyncIterator[str]:
    """The URL of a Redis that takes connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("away", [pytest.param(gone, id="stopped"), pytest.param(silent, id="silent")])
async def test_without_redis_each_process_has_its_own_limit(
    away: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # From its own timeouts Redis is not asked again: none of those that follow waits.
    monkeypatch.setattr("storage.redis.presence.DOWN_SECONDS", 3600.0)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(away())  # type: ignore[operator]
        redis = connect(url)
        stack.push_async_callback(redis.aclose)
        limits = Limits(0, per_network=3, everywhere=Connections(Presence(redis, "x:", "one")))
        _, port = await stack.enter_async_context(serving(echo, limits=limits))
        said = []
        async with asyncio.timeout(PATIENCE):
            for _ in range(5):
                reader, writer = await stack.enter_async_context(client(port))
                said.append(await reader.readline())
                if len(said) == 3:
                    first = writer
            assert said == [b"hello\r\n"] * 3 + [b"* BYE full\r\n"] * 2
            first.close()
            while True:
                reader, _ = await stack.enter_async_context(client(port))
                if await reader.readline() == b"hello\r\n":
                    break
    away_said = [record for record in caplog.records if re.match("redis is away", record.getMessage())]
    assert len(away_said) == 1


async def test_who_waits_for_its_place_does_not_hold_up_the_end(redis_prefix: str) -> None:
    with redis_has_time():
        async with silent() as url:
            redis = connect(url)
            limits = Limits(0, per_network=3, everywhere=Connections(Presence(redis, redis_prefix, "one")))
            async with asyncio.timeout(PATIENCE / 2):  # half of what Redis is waited for
                async with serving(echo, limits=limits) as (_, port):
                    reader, writer = await asyncio.open_connection("127.0.0.1", port)
                    while not limits._counts:
                        await asyncio.sleep(0.01)
                assert await reader.read() == b""
            assert not limits._counts
            assert limits.connections == 0
            writer.close()
            await redis.aclose()
