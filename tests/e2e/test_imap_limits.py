"""What an account may fetch, and how many sessions it may have: counted over all processes, and told by the API."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import pytest

from duckmail.errors import LimitReached
from duckmail.services.connections import Connections
from storage.redis.client import connect
from storage.redis.counters import Count, Counters
from storage.redis.presence import Presence
from storage.redis.traffic import Traffic
from tests.support.house import House, Lines, open_house
from tests.support.stores import message
from tests.support.waiting import redis_has_time

WAIT = 15.0


async def limits(house: House, user: str) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = (await house.call("GET", f"/users/{user}")).json["limits"]
    return found


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(WAIT):
        while not await condition():
            await asyncio.sleep(0.02)


async def filled(house: House, number: int = 3) -> Lines:
    """Equal messages in INBOX, which is selected."""
    lines, _ = await house.imap()
    octets = message(1)
    for _ in range(number):
        await lines.ask(f"b APPEND INBOX {{{len(octets)}+}}\r\n{octets.decode()}", "b OK")
    await lines.ask("s SELECT INBOX", "s ")
    return lines


async def fetch(lines: Lines, command: str) -> tuple[list[str], str]:
    """The untagged responses to a FETCH, their first lines, and the tagged one."""
    await lines.send(f"f {command}")
    said = [await lines.line()]
    while not said[-1].startswith("f ") and len(said) < 200:
        said.append(await lines.line())
    return [line for line in said if line.startswith("* ")], said[-1]


SIZE = len(message(1))
BODY = SIZE - message(1).index(b"\r\n\r\n") - 4


@pytest.mark.parametrize(
    ("items", "counted"),
    [
        pytest.param("(FLAGS RFC822.SIZE ENVELOPE BODYSTRUCTURE)", 0, id="metadata"),
        pytest.param("BODY.PEEK[HEADER.FIELDS (SUBJECT)]", 0, id="header-fields"),
        pytest.param("BODY.PEEK[HEADER]", 0, id="header"),
        pytest.param("BINARY.SIZE[1]", 0, id="binary-size"),
        pytest.param("BODY.PEEK[]", SIZE, id="whole"),
        pytest.param("RFC822", SIZE, id="rfc822"),
        pytest.param("BODY.PEEK[TEXT]", BODY, id="text"),
        pytest.param("BODY.PEEK[]<2.5>", 5, id="partial"),
        pytest.param("BINARY.PEEK[1]", BODY, id="binary"),
        pytest.param("BODY.PEEK[7]", 0, id="no-such-part"),
    ],
)
async def test_what_counts_as_fetched(house_of_all: tuple[House, str, Lines], items: str, counted: int) -> None:
    house, user, lines = house_of_all
    before = (await limits(house, user))["imapDownload"]["used"]
    assert (await fetch(lines, f"FETCH 1:2 {items}"))[1].startswith("f OK")
    assert (await limits(house, user))["imapDownload"]["used"] - before == 2 * counted


@pytest.fixture(scope="module")
async def house_of_all(mongo_uri: str, databases: object) -> AsyncIterator[tuple[House, str, Lines]]:
    name = databases.take("limits")  # type: ignore[attr-defined]
    async with open_house(mongo_uri, name) as opened:
        user = await opened.make_user()
        yield opened, user, await filled(opened)
    databases.give_back(name)  # type: ignore[attr-defined]


async def test_a_day_has_its_octets(house: House) -> None:
    user = await house.make_user(imap_max_download=SIZE + 1)
    lines = await filled(house)
    # One octet that is left is enough for one more message, and then it is over; what came before is whole.
    told, end = await fetch(lines, "FETCH 1:3 BODY.PEEK[]")
    assert end.startswith("f NO [UNAVAILABLE] Download was rate limited. Try again in ")
    assert len(told) == 2
    # RFC 3501 §6.4.5: \Seen is of what was fetched: a command that is refused changes nothing.
    assert (await fetch(lines, "FETCH 1 BODY[]"))[1].startswith("f NO [UNAVAILABLE]")
    assert (await fetch(lines, "FETCH 1 (FLAGS BODY.PEEK[HEADER])"))[1].startswith("f OK")
    assert "\\Seen" not in (await fetch(lines, "FETCH 1 FLAGS"))[0][0]
    found = (await limits(house, user))["imapDownload"]
    assert found["used"] == 2 * SIZE
    assert 86_000 < found["ttl"] <= 86_400
    # Another limit begins the day anew.
    assert (await house.call("PUT", f"/users/{user}", {"imapMaxDownload": 10 * SIZE})).status == 200
    other, _ = await house.imap()
    await other.ask("s SELECT INBOX", "s ")
    assert (await fetch(other, "FETCH 1 BODY.PEEK[]"))[1].startswith("f OK")
    found = (await limits(house, user))["imapDownload"]
    assert (found["allowed"], found["used"]) == (10 * SIZE, SIZE)


@asynccontextmanager
async def two_houses(mongo_uri: str, name: str, redis_url: str) -> AsyncIterator[tuple[House, House]]:
    with redis_has_time():
        async with (
            open_house(mongo_uri, name, redis_url) as one,
            open_house(mongo_uri, name, redis_url, "second") as other,
        ):
            yield one, other


async def test_sessions_of_two_processes(mongo_uri: str, database_name: str, redis_url: str) -> None:
    async with two_houses(mongo_uri, database_name, redis_url) as (one, other):
        user = await one.make_user(imap_max_connections=3)
        sessions = []
        for house in (one, other, one):
            lines, said = await house.imap()
            assert said.startswith("a OK")
            sessions.append(lines)
        for house in (one, other):
            lines, said = await house.imap()
            assert said == "a NO [ALERT] Too many simultaneous connections"
            assert (await limits(house, user))["imapMaxConnections"] == {"allowed": 3, "used": 3}
            assert (await lines.ask("b CAPABILITY", "b ")).startswith("b OK")  # the connection is as before
        # What one process counts of downloads is told by the other.
        octets = message(1)
        await sessions[1].ask(f"b APPEND INBOX {{{len(octets)}+}}\r\n{octets.decode()}", "b OK")
        await sessions[1].ask("s SELECT INBOX", "s ")
        assert (await fetch(sessions[1], "FETCH 1 BODY.PEEK[]"))[1].startswith("f OK")

        async def told() -> bool:
            return (await limits(one, user))["imapDownload"]["used"] == SIZE

        await until(told)
        await sessions[1].ask("l LOGOUT", "l ")

        async def left() -> bool:
            return (await limits(one, user))["imapMaxConnections"]["used"] == 2

        await until(left)
        assert (await one.imap())[1].startswith("a OK")
    async with open_house(mongo_uri, database_name, redis_url, "third") as third:
        assert (await limits(third, user))["imapMaxConnections"]["used"] == 0


async def test_a_dead_process_is_forgotten_or_comes_back(
    redis_url: str, redis_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = connect(redis_url)
    try:
        dead, alive = (Presence(redis, f"{redis_prefix}dead:", name) for name in ("dead", "alive"))
        await dead.meet({"u": 2})
        connections = Connections(alive)
        with pytest.raises(LimitReached):
            await connections.take("u", 2)
        assert await connections.used("u") == 2
        assert await Connections(Presence(redis, f"{redis_prefix}dead:", "dead")).used("u") == 0
        monkeypatch.setattr("storage.redis.presence.FORGOTTEN_SECONDS", -1)
        with await connections.take("u", 1):
            assert await connections.used("u") == 1
        assert await connections.used("u") == 0
    finally:
        await redis.aclose()


async def test_traffic_is_counted_without_redis_and_in_batches() -> None:
    class Watched(Counters):
        calls = 0

        async def add(self, amounts: Mapping[str, int], window: int) -> dict[str, Count]:
            self.calls += 1
            return await super().add(amounts, window)

    counters = Watched(None)
    traffic = Traffic(counters)
    for _ in range(1000):
        traffic.took("a", 3)
        traffic.took("b", 1)
    assert (await traffic.used("a")).value == 3000
    assert counters.calls == 0
    await traffic.flush()
    await traffic.flush()
    assert (counters.calls, (await counters.get("a")).value, (await counters.get("b")).value) == (1, 3000, 1000)
    assert (await traffic.used("a")).value == 3000
    await counters.incr("a", 60, 5)  # another process; known to this one with what it adds next
    traffic.took("a", 2)
    await traffic.flush()
    assert (await traffic.used("a")).value == 3007


async def test_what_the_day_does_not_reach_is_not_seen(house: House) -> None:
    await house.make_user(imap_max_download=SIZE + 1)
    lines = await filled(house, 4)
    other, _ = await house.imap()
    await other.ask("s SELECT INBOX", "s ")
    told, end = await fetch(lines, "FETCH 1:4 BODY[]")
    assert end.startswith("f NO [UNAVAILABLE]")
    bodies = [line for line in told if "BODY[]" in line]
    assert len(bodies) == 2
    assert all("FLAGS (\\Seen" in line for line in bodies)
    for each in (lines, other):
        flags = [line for line in (await fetch(each, "FETCH 1:4 FLAGS"))[0] if "FETCH (FLAGS" in line]
        assert ["\\Seen" in line for line in flags] == [True, True, False, False]
