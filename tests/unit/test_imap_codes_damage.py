"""The response codes (RFC 5530) of what is not the client's fault: no database, lost data, an admin who said no."""

from pathlib import Path

import pytest

from storage.mongo import client as mongo
from tests.support.imap import open_imap
from tests.support.imap_client import ImapClient
from tests.support.proxy import Loss, proxy


async def test_unavailable_while_the_database_is_away(
    mongo_uri: str, database_name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of a session, which goes on when the database is back."""
    async with proxy(mongo_uri, tmp_path) as wire, open_imap(wire.uri, database_name) as house:
        client = ImapClient(house)
        await client.log_in()
        await client.ok("APPEND INBOX {18+}\r\nSubject: a\r\n\r\nduck")
        await client.ok("SELECT INBOX")
        monkeypatch.setattr(mongo, "OPERATION_SECONDS", 1.0)
        wire.lose("find", Loss.REQUEST, times=1000)
        assert (await client.command("FETCH 1 BODY.PEEK[]"))[1].startswith("NO [UNAVAILABLE]")
        assert (await client.command("STATUS Trash (MESSAGES)"))[1].startswith("NO [UNAVAILABLE]")
        wire.lose_nothing_more()
        assert any("BODY[]" in line for line in await client.ok("FETCH 1 BODY.PEEK[]"))
        await client.vanish()


async def test_corruption_and_contactadmin(mongo_uri: str, database_name: str, redis_url: str) -> None:
    async with open_imap(mongo_uri, database_name, redis_url) as house:
        client = ImapClient(house)
        await client.log_in()
        await client.ok("APPEND INBOX {18+}\r\nSubject: a\r\n\r\nduck")
        await client.ok("SELECT INBOX")
        await house.store.database["contents"].delete_many({})
        assert (await client.command("FETCH 1 BODY.PEEK[]"))[1].startswith("NO [CORRUPTION]")
        assert (await client.ok("FETCH 1 UID")) == ["1 FETCH (UID 1)"]
        await client.vanish()
        await house.store.database["users"].update_one({"username": "bert"}, {"$set": {"disabledScopes": ["imap"]}})
        refused = ImapClient(house)
        await refused.line()
        assert (await refused.command("LOGIN bert secret"))[1].startswith("NO [CONTACTADMIN]")
        assert (await refused.command("LOGIN bert wrong"))[1].startswith("NO [AUTHENTICATIONFAILED]")
        await refused.vanish()
