"""NOTIFY (RFC 5465) where it is too much, where the client is slow, and where another process does it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from duckmail.model.message import NewMessage
from duckmail.services.mail import Mail
from protocols.imap import gathering
from tests.support.imap import ImapHouse, open_imap
from tests.support.imap_client import ImapClient
from tests.support.stores import open_store

MAIL = b"Subject: duck\r\n\r\n"
WATCH = "NOTIFY SET (selected (MessageNew (BODY.PEEK[]) MessageExpunge FlagChange)) (personal (MailboxName))"


async def watching(house: ImapHouse) -> ImapClient:
    client = ImapClient(house)
    await client.log_in()
    await client.ok("SELECT INBOX")
    await client.ok(WATCH)
    return client


async def append(mail: Mail, octets: bytes = MAIL) -> None:
    await mail.append("INBOX", [NewMessage(await mail.prepare(octets), (), None)])


async def heard(client: ImapClient, what: str) -> list[str]:
    """All lines up to one with `what` in it."""
    lines = [await client.line()]
    while what not in lines[-1]:
        lines.append(await client.line())
    return lines


async def test_overflow_ends_it(
    mongo_uri: str, database_name: str, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 5465 §5.8: and then it is as after NOTIFY NONE; the client may ask again."""
    monkeypatch.setattr(gathering, "MOST_OCTETS", 500)
    async with open_imap(mongo_uri, database_name, redis_url) as house:
        client, mail = await watching(house), await house.mail("anna")
        await append(mail)
        assert "FETCH" in (await heard(client, "FETCH"))[-1]
        await heard(client, ")")
        await append(mail, MAIL + b"x" * 500)
        lines = await heard(client, "NOTIFICATIONOVERFLOW")
        assert lines[-1].startswith("* OK [NOTIFICATIONOVERFLOW]")
        assert "* 2 EXISTS" in lines
        await mail.create("Lists")
        await append(mail)
        told = await client.ok("NOOP")
        assert "3 EXISTS" in told
        assert not any(line.startswith("LIST") or "BODY" in line for line in told)
        await client.ok("NOTIFY SET (personal (MailboxName))")
        await mail.create("Lists/duck")
        assert "* LIST" in (await heard(client, "Lists/duck"))[-1]
        await client.vanish()


async def until(done: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while not await done():
            await asyncio.sleep(0.01)


async def test_a_slow_client_is_told_later_in_fewer_words(mongo_uri: str, database_name: str, redis_url: str) -> None:
    """Nothing is written for who does not read; the state at the end is told, not each step to it."""
    async with open_imap(mongo_uri, database_name, redis_url) as house:
        client, mail = await watching(house), await house.mail("anna")
        client.connection.outgoing.limit = -1  # whatever is waiting, it is too much
        for number in range(20):
            await append(mail)
            await mail.create(f"Lists/{number}")
            await mail.delete(f"Lists/{number}")
        await mail.create("last")

        async def known() -> bool:
            return len(await mail.mailboxes()) > 0 and not client.connection.outgoing.buffer

        await until(known)
        client.connection.outgoing.limit = 256 * 1024
        lines = await heard(client, "last")
        assert not any("Lists/1" in line for line in lines if line.startswith("* LIST"))
        lines += await heard(client, "* 20 FETCH") if not any("* 20 FETCH" in line for line in lines) else []
        assert sum("EXISTS" in line for line in lines) == 1
        assert sum(" FETCH " in line for line in lines) == 20
        await client.vanish()


async def test_another_process_is_heard(mongo_uri: str, database_name: str, redis_url: str) -> None:
    async with (
        open_imap(mongo_uri, database_name, redis_url) as house,
        open_store(mongo_uri, database_name, redis_url, "other") as second,
    ):
        client = await watching(house)
        elsewhere = Mail(second, await house.services.auth.login("anna", "secret", "imap", "", "test"))
        await append(elsewhere)
        assert "* 1 EXISTS" in await heard(client, "FETCH")
        await heard(client, ")")
        await elsewhere.create("Lists")
        await heard(client, "LIST")
        await client.ok("UID SEARCH RETURN (UPDATE) UNSEEN")
        await append(elsewhere)
        assert "ADDTO (0 2)" in (await heard(client, "ESEARCH"))[-1]
        await client.vanish()
