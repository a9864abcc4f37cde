"""The updates of an account as server-sent events, and one truth for those who follow by API and by IMAP."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from aiohttp import ClientResponse

from tests.support.api import TOKEN
from tests.support.house import PASSWORD, WAIT, House, open_house

MESSAGE = b"From: a@b.example\r\nSubject: x\r\n\r\nhello\r\n"


@dataclass(slots=True)
class Stream:
    response: ClientResponse

    async def line(self) -> str:
        """ "" at the end."""
        raw = await asyncio.wait_for(self.response.content.readline(), WAIT)
        return raw.decode()

    async def event(self) -> tuple[dict[str, Any], str]:
        """The next event and its id; comments are passed over. ({}, "") at the end."""
        data, identifier = "", ""
        while line := await self.line():
            if line.startswith("data: "):
                data += line.removeprefix("data: ")
            elif line.startswith("id: "):
                identifier = line.removeprefix("id: ").strip()
            elif line == "\n" and data:
                return orjson.loads(data), identifier
        return {}, ""

    async def until(self, command: str) -> tuple[list[dict[str, Any]], str]:
        """The events up to the first `command`, and the id of that."""
        events = []
        while True:
            event, identifier = await self.event()
            assert event, events
            events.append(event)
            if event["command"] == command:
                return events, identifier


@asynccontextmanager
async def following(
    house: House, user: str, last: str = "", token: str = TOKEN, query: str = ""
) -> AsyncIterator[Stream]:
    headers = {"X-Access-Token": token, **({"Last-Event-ID": last} if last else {})}
    async with house.session.get(f"{house.base}/users/{user}/updates{query}", headers=headers) as response:
        assert (response.status, response.content_type) == (200, "text/event-stream")
        stream = Stream(response)
        assert await stream.line() == ": idling 1\n"
        assert await stream.line() == "\n"
        yield stream


@pytest.fixture
async def house(mongo_uri: str, database_name: str, redis_url: str) -> AsyncIterator[House]:
    async with open_house(mongo_uri, database_name, redis_url) as opened:
        yield opened


async def append(house: House, client: Any, tag: str = "p") -> None:
    await client.send(f"{tag} APPEND INBOX {{{len(MESSAGE)}+}}\r\n{MESSAGE.decode()}")
    while not (await client.line()).startswith(f"{tag} OK"):
        pass


async def inbox_of(house: House, user: str) -> str:
    listed = await house.call("GET", f"/users/{user}/mailboxes")
    return str(listed.json["results"][0]["id"])


async def test_what_imap_does_is_told(house: House) -> None:
    user = await house.make_user()
    inbox = await inbox_of(house, user)
    imap, _ = await house.imap()
    async with following(house, user) as stream:
        await append(house, imap)
        events, identifier = await stream.until("COUNTERS")
        assert [event["command"] for event in events] == ["EXISTS", "COUNTERS"]
        assert (events[0]["mailbox"], events[0]["uid"]) == (inbox, 1)
        assert events[1] == {"command": "COUNTERS", "mailbox": inbox, "total": 1, "unseen": 1}
        assert len(identifier) == 24
        await imap.ask("s SELECT INBOX", "s ")
        await imap.ask("f STORE 1 +FLAGS (\\Seen $Forwarded)", "f ")
        events, _ = await stream.until("COUNTERS")
        assert events[0]["command"] == "FETCH"
        assert set(events[0]["flags"]) == {"\\Seen", "$Forwarded"}
        assert events[1]["unseen"] == 0
        await imap.ask("d STORE 1 +FLAGS (\\Deleted)", "d ")
        assert (await stream.event())[0]["command"] == "FETCH"  # which changes no counter
        await imap.ask("e EXPUNGE", "e ")
        events, _ = await stream.until("COUNTERS")
        assert [(event["command"], event.get("uid")) for event in events] == [("EXPUNGE", 1), ("COUNTERS", None)]


async def test_what_the_api_does_is_told_to_idle(house: House) -> None:
    user = await house.make_user()
    inbox = await inbox_of(house, user)
    imap, _ = await house.imap()
    await append(house, imap)
    await imap.ask("s SELECT INBOX", "s ")
    await imap.ask("i IDLE", "+ ")
    reply = await house.call("PUT", f"/users/{user}/mailboxes/{inbox}/messages/1", {"flagged": True})
    assert reply.status == 200
    assert "\\Flagged" in await imap.line()


async def _expunged(imap: Any) -> None:
    """The client in IDLE is told so, behind what else it may be told."""
    while (line := await imap.line()) != "* 1 EXPUNGE":
        assert line.startswith("* 1 FETCH"), line


async def test_one_truth_with_pop3(house: House) -> None:
    """What POP3 deletes is told to SSE and to IDLE; what IMAP and the API do is in the next POP3 session."""
    user = await house.make_user()
    inbox = f"/users/{user}/mailboxes/{await inbox_of(house, user)}/messages"
    imap, _ = await house.imap()
    await append(house, imap)
    assert (await house.call("POST", inbox, {"raw": MESSAGE.decode()})).status == 200
    await imap.ask("s SELECT INBOX", "s ")
    await imap.ask("i IDLE", "+ ")
    async with following(house, user) as stream:
        pop3, said = await house.pop3()
        assert said.startswith("+OK")
        assert (await pop3.ask("STAT")).startswith("+OK 2 ")
        assert (await pop3.ask("DELE 1")).startswith("+OK")
        assert (await pop3.ask("QUIT")).startswith("+OK")
        events, _ = await stream.until("EXPUNGE")
        assert events[-1]["uid"] == 1
        await _expunged(imap)
    assert [row["id"] for row in (await house.call("GET", inbox)).json["results"]] == [2]
    assert (await house.call("DELETE", f"{inbox}/2")).status == 200
    await _expunged(imap)
    pop3, _ = await house.pop3()
    assert (await pop3.ask("STAT")).startswith("+OK 0 ")


async def test_a_client_comes_back_to_where_it_was(house: House) -> None:
    user = await house.make_user()
    imap, _ = await house.imap()
    async with following(house, user) as stream:
        await append(house, imap)
        _, last = await stream.until("COUNTERS")
    await append(house, imap)
    await append(house, imap)
    await imap.ask("s SELECT INBOX", "s ")
    await imap.ask("f STORE 1 +FLAGS (\\Deleted)", "f ")
    await imap.ask("e EXPUNGE", "e ")
    made = await house.call("POST", f"/users/{user}/mailboxes", {"path": "new"})
    for way in ({"last": last}, {"query": f"?Last-Event-ID={last}"}):
        async with following(house, user, **way) as stream:
            events, later = await stream.until("COUNTERS")
        told = [(event["command"], event.get("uid")) for event in events]
        assert told == [("CREATE", None), ("EXPUNGE", 1), ("EXISTS", 2), ("EXISTS", 3), ("COUNTERS", None)]
        assert events[0]["path"] == "new"
        assert events[0]["mailbox"] == made.json["id"]
    async with following(house, user, later) as stream:
        await append(house, imap)
        assert (await stream.event())[0]["uid"] == 4


async def test_folders_are_told(house: House) -> None:
    user = await house.make_user()
    mailboxes = f"/users/{user}/mailboxes"
    async with following(house, user) as stream:
        made = (await house.call("POST", mailboxes, {"path": "one"})).json["id"]
        assert (await stream.event())[0] == {"command": "CREATE", "mailbox": made, "path": "one"}
        await house.call("PUT", f"{mailboxes}/{made}", {"path": "two"})
        assert (await stream.event())[0] == {"command": "RENAME", "mailbox": made, "path": "two"}
        await house.call("DELETE", f"{mailboxes}/{made}")
        assert (await stream.event())[0] == {"command": "DELETE", "mailbox": made}


async def test_another_process_and_one_without_redis(mongo_uri: str, database_name: str, redis_url: str) -> None:
    async with (
        open_house(mongo_uri, database_name, redis_url) as first,
        open_house(mongo_uri, database_name, redis_url, slot="second") as second,
        open_house(mongo_uri, database_name, slot="third") as third,
    ):
        user = await first.make_user()
        imap, _ = await second.imap()
        async with following(first, user) as near, following(third, user) as far:
            await append(second, imap)
            for stream in (near, far):
                events, _ = await stream.until("COUNTERS")
                assert events[0]["command"] == "EXISTS"


async def test_it_ends_with_the_account_and_the_token(house: House) -> None:
    house.services.updates._idle = 0.2
    user = await house.make_user()
    sign_in = {"username": "anna", "password": PASSWORD, "token": True}
    token = (await house.call("POST", "/authenticate", sign_in)).json["token"]
    async with following(house, "me", token=token) as stream, following(house, user) as other:
        assert (await house.call("DELETE", "/authenticate", token=token)).status == 200
        events, _ = await stream.until("LOGOUT")
        assert await stream.event() == ({}, "")
        assert (await other.line()).startswith(": idling ")
        await house.call("PUT", f"/users/{user}/logout", {"reason": "bye"})
        events, identifier = await other.until("LOGOUT")
        assert (events[-1], identifier) == ({"command": "LOGOUT", "reason": "bye"}, "")
        assert await other.event() == ({}, "")
    await house.call("PUT", f"/users/{user}", {"disabled": True})
    async with asyncio.timeout(WAIT):
        while house.services.updates.followers:
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("role", ["user", "root"])
async def test_a_token_that_is_revoked_lets_go_at_once(house: House, role: str) -> None:
    """By the end of sessions, as IMAP's: not by a sign of life, which here would come after an hour."""
    house.services.updates._idle = 3600.0
    user = await house.make_user()
    owner = await house.services.store.users.get(user) if role == "user" else None
    token, kept = [await house.services.tokens.issue(role, owner) for _ in range(2)]
    async with following(house, user, token=token) as stream, following(house, user, token=kept) as other:
        await house.services.tokens.revoke_named(hashlib.sha256(token.encode()).hexdigest())
        events, _ = await stream.until("LOGOUT")
        assert events == [{"command": "LOGOUT", "reason": "Log in again"}]
        assert await stream.event() == ({}, "")
        await house.call("POST", f"/users/{user}/mailboxes", {"path": "New"})
        assert (await other.until("CREATE"))[0][-1]["path"] == "New"


async def test_refusals(house: House) -> None:
    user, other = await house.make_user(), await house.make_user("bert")
    sign_in = {"username": "bert", "password": PASSWORD, "token": True}
    token = (await house.call("POST", "/authenticate", sign_in)).json["token"]
    assert (await house.call("GET", f"/users/{user}/updates", token=token)).status == 403
    missing = await house.call("GET", f"/users/{'0' * 24}/updates")
    assert (missing.status, missing.json["code"]) == (404, "UserNotFound")
    assert (await house.call("GET", f"/users/{other}/updates?Last-Event-ID=x")).status == 400
    async with following(house, user, "f" * 24):  # not known any more: from now on
        pass


async def test_a_position_of_another_account_is_none(house: House) -> None:
    user, other = await house.make_user(), await house.make_user("bert")
    imap, _ = await house.imap()
    async with following(house, user) as stream:
        await append(house, imap)
        _, last = await stream.until("COUNTERS")
    store = house.services.store
    assert await store.positions.load(user, last) is not None
    assert await store.positions.load(other, last) is None
