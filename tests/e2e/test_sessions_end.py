"""Open sessions of every mail protocol end as soon as their account says so, in whichever process they are."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from duckmail.app.listeners import IMAP
from duckmail.services import sessions as sessions_module
from tests.support.house import House, Lines, open_house
from tests.support.waiting import subscribers, until

POLLED = 2.5  # seconds in which it would be found by looking

GOODBYES = {"imap": "* BYE ", "pop3": "-ERR ", "submission": "421 4.7.0 "}


@pytest.fixture(params=["redis", "polled"])
async def houses(
    request: pytest.FixtureRequest,
    mongo_uri: str,
    database_name: str,
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[tuple[House, House, str]]:
    """Two processes, and the Redis between them or "". With it nobody looks for himself: what it does not bring never
    comes."""
    redis = redis_url if request.param == "redis" else ""
    if redis:
        monkeypatch.setattr(sessions_module, "POLL_SECONDS", 3600.0)
    async with (
        open_house(mongo_uri, database_name, redis, "first") as first,
        open_house(mongo_uri, database_name, redis, "second") as second,
    ):
        yield first, second, redis


async def _sessions(house: House, *names: str) -> dict[str, Lines]:
    opened = {}
    for name, beginning in (("imap", "a OK"), ("submission", "235"), ("pop3", "+OK")):
        if name not in (names or GOODBYES):
            continue
        lines, answer = await getattr(house, name)()
        assert answer.startswith(beginning), answer
        opened[name] = lines
    await opened["imap"].ask("b SELECT INBOX", "b ")
    await opened["imap"].ask("c IDLE")
    return opened


async def _subscribed(count: int, redis_url: str, user: str) -> None:
    """As many processes hear of what becomes of the account; without Redis nobody does."""
    if redis_url:
        await until(lambda: subscribers(redis_url, f"*:u:{user}") == count)


@pytest.mark.parametrize(
    ("method", "path", "body", "texts"),
    [
        pytest.param("PUT", "", {"disabled": True}, {}, id="disabled"),
        pytest.param("PUT", "", {"suspended": True}, {}, id="suspended"),
        pytest.param("PUT", "", {"password": "another one"}, {}, id="password"),
        pytest.param("PUT", "/logout", {"reason": "[Go] home,\r\nnöw"}, {"imap": "* BYE Go] home,??n?w"}, id="logout"),
        pytest.param("PUT", "/logout", {}, {"pop3": "-ERR Logout requested from API"}, id="logout-without-a-reason"),
        pytest.param("DELETE", "", None, {}, id="deleted"),
    ],
)
async def test_sessions_of_all_processes_end(
    houses: tuple[House, House, str], method: str, path: str, body: object, texts: dict[str, str]
) -> None:
    first, second, redis = houses
    user = await first.make_user()
    await first.make_user("bert")
    # A maildrop is for one session at a time.
    here, there = await _sessions(first, "imap", "submission"), await _sessions(second)
    neighbour, _ = await second.imap("bert")
    await _subscribed(2, redis, user)
    assert (await first.call(method, f"/users/{user}{path}", body)).status == 200
    for opened in (here, there):
        for name, lines in opened.items():
            said = await lines.line()
            assert said.startswith(texts.get(name, GOODBYES[name])), said
            assert await lines.line() == ""
    assert (await neighbour.ask("d NOOP")).startswith("d OK")


async def test_a_disabled_scope_ends_only_its_own_sessions(houses: tuple[House, House, str]) -> None:
    first, second, redis = houses
    user = await first.make_user()
    opened = await _sessions(second)
    await _subscribed(1, redis, user)
    assert (await first.call("PUT", f"/users/{user}", {"disabledScopes": ["imap"]})).status == 200
    assert await opened["imap"].line() == "* BYE Access to requested service disabled"
    await asyncio.sleep(POLLED)
    assert (await opened["pop3"].ask("NOOP")).startswith("+OK")
    assert (await opened["submission"].ask("NOOP")).startswith("250 ")


async def test_what_does_not_concern_sign_ins_ends_nothing(houses: tuple[House, House, str]) -> None:
    first, second, _ = houses
    user = await first.make_user()
    opened = await _sessions(second)
    await first.call("PUT", f"/users/{user}", {"name": "Anna", "quota": 10**9, "spamLevel": 3})
    await asyncio.sleep(POLLED)
    await opened["imap"].send("DONE")
    assert (await opened["imap"].line()).startswith("c OK")


async def test_a_session_that_was_ended_is_forgotten_and_a_new_login_works(mongo_uri: str, database_name: str) -> None:
    async with open_house(mongo_uri, database_name) as house:
        user = await house.make_user()
        await _sessions(house)
        await house.call("PUT", f"/users/{user}/logout")
        await until(lambda: not house.services.sessions.users)
        again, answer = await house.imap()
        assert answer.startswith("a OK")
        await asyncio.sleep(POLLED)
        assert (await again.ask("b NOOP")).startswith("b OK")
        await again.close()
        await until(lambda: not house.services.sessions.users)


async def test_a_session_that_waits_for_a_literal_ends_and_stores_nothing(mongo_uri: str, database_name: str) -> None:
    async with open_house(mongo_uri, database_name) as house:
        user = await house.make_user()
        lines, _ = await house.imap()
        await lines.send("b APPEND INBOX {20}")
        assert (await lines.line()).startswith("+")
        await house.call("PUT", f"/users/{user}/logout")
        assert await lines.line() == "* BYE Logout requested from API"
        assert await lines.line() == ""
        again, _ = await house.imap()
        assert await again.ask("c STATUS INBOX (MESSAGES)") == "* STATUS INBOX (MESSAGES 0)"


async def test_logout_of_nobody(mongo_uri: str, database_name: str) -> None:
    async with open_house(mongo_uri, database_name) as house:
        gone = await house.call("PUT", f"/users/{'0' * 24}/logout", {"reason": "x"})
        assert (gone.status, gone.json) == (500, {"error": "User not found", "code": "UserNotFound"})
        long = await house.call("PUT", f"/users/{'0' * 24}/logout", {"reason": "x" * 129})
        assert long.status == 400
        assert house.ports[IMAP]
