"""What a dialog file cannot say: time, failing parts, slow clients, several processes, the log."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from duckmail.model.flags import SEEN
from duckmail.services.access import SYSTEM
from duckmail.services.users import NewUser
from protocols.pop3.commands import COMMANDS
from protocols.pop3.session import State
from storage.blobs.files import WINDOW
from tests.support.pop3 import SETTINGS, Pop3House, open_pop3
from tests.support.stores import message
from tests.support.waiting import until

BEFORE, AFTER = {State.AUTHORIZATION}, {State.TRANSACTION}
LARGE = b"Subject: large\r\n\r\n" + b".line of sixteen\r\n" * 60_000


@pytest.fixture
async def house(mongo_uri: str, database_name: str, redis_url: str) -> AsyncIterator[Pop3House]:
    async with open_pop3(mongo_uri, database_name, redis_url) as opened:
        yield opened


@pytest.mark.parametrize(
    ("names", "states"),
    [
        pytest.param({"USER", "PASS", "AUTH", "STLS", "UTF8"}, BEFORE, id="authorization"),
        pytest.param({"STAT", "LIST", "RETR", "DELE", "NOOP", "RSET", "TOP", "UIDL"}, AFTER, id="transaction"),
        pytest.param({"CAPA", "QUIT"}, BEFORE | AFTER, id="both"),
    ],
)
def test_the_table(names: set[str], states: set[State]) -> None:
    """RFC 1939 §4-§7, RFC 2449 §5, RFC 2595 §4, RFC 5034 §4, RFC 6856 §2."""
    assert {name for name, command in COMMANDS.items() if command.states == states} == names


# Logging in


async def test_names_and_passwords_in_utf_8(house: Pop3House) -> None:
    await house.users.create(NewUser(username="kaethe", password="geheim ß€"), SYSTEM)
    client = house.connect()
    await client.line()
    answer = await client.ask("USER kaethe", "PASS geheim ß€")
    assert answer == "+OK Logged in, 0 messages (0 octets)"
    assert await client.quit() == "+OK Bye"


async def test_refused_logins(house: Pop3House) -> None:
    """RFC 3206 §4: AUTH asks for other credentials, SYS/TEMP for patience, SYS/PERM for somebody who looks after it."""
    users = house.store.database["users"]
    client = house.connect()
    await client.line()
    await users.update_one({"username": "bert"}, {"$set": {"disabledScopes": ["pop3"]}})
    assert await client.ask("USER bert", "PASS secret") == "-ERR [AUTH] Access to requested service disabled"
    await users.update_one({"username": "bert"}, {"$set": {"disabledScopes": [], "disabled": True}})
    assert await client.ask("USER bert", "PASS secret") == "-ERR [AUTH] Authentication failed"
    await house.store.database["mailboxes"].delete_many({"path": "INBOX"})
    assert await client.ask("USER anna", "PASS secret") == "-ERR [SYS/PERM] No such mailbox"
    for _ in range(12):
        await client.ask("USER anna", "PASS wrong")
    assert await client.ask("USER anna", "PASS secret") == "-ERR [SYS/TEMP] Authentication was rate limited"
    await client.vanish()
    assert await house.store.database["maildrops"].count_documents({}) == 0


async def test_one_time_limit_for_all_before_login(house: Pop3House) -> None:
    begun = time.monotonic()
    client = house.connect(replace(SETTINGS, login_timeout=1.0))
    while not client.task.done():
        client.connection.incoming.write(b"CAPA\r\n" if time.monotonic() - begun < 0.2 else b"C")
        await asyncio.sleep(0.02)
        assert time.monotonic() - begun < 30, "it would go on like that"
    assert (await client.client.unread()).endswith(b"IMPLEMENTATION duckmail-1.0\r\n.\r\n"), "it ends without a word"


async def test_one_octet_now_and_then_is_no_command(house: Pop3House) -> None:
    client = house.connect(replace(SETTINGS, idle_timeout=0.4))
    await client.login()
    begun = time.monotonic()
    while not client.task.done():
        client.connection.incoming.write(b"N")
        await asyncio.sleep(0.02)
        assert time.monotonic() - begun < 30, "it would go on like that"
    assert await client.client.unread() == b""


async def test_each_command_begins_the_time_anew(house: Pop3House) -> None:
    client = house.connect(replace(SETTINGS, idle_timeout=2.0, login_timeout=30))
    await client.login()
    for _ in range(4):
        await asyncio.sleep(0.6)
        assert await client.ask("NOOP") == "+OK"
    assert await client.quit() == "+OK Bye"


# Several at once


async def test_two_processes(house: Pop3House, mongo_uri: str, database_name: str, redis_url: str) -> None:
    await house.put(message(1), message(2))
    async with open_pop3(mongo_uri, database_name, redis_url, accounts=()) as other:
        client = house.connect()
        assert (await client.login()).startswith("+OK")
        rival = other.connect()
        assert (await rival.login()).startswith("-ERR [IN-USE]")
        assert await client.ask("DELE 1") == "+OK Message 1 deleted"
        # As if this process had died: its lease runs out, and the other one has the maildrop.
        past = datetime.now(UTC) - timedelta(seconds=1)
        await house.store.database["maildrops"].update_many({}, {"$set": {"expires": past}})
        assert (
            await rival.ask("USER anna", "PASS secret") == f"+OK Logged in, 2 messages ({2 * len(message(1))} octets)"
        )
        assert (await client.quit()).startswith("-ERR [IN-USE]"), "it was only stalled: it changes nothing"
        assert await rival.quit() == "+OK Bye"
    assert len(await house.stored("INBOX")) == 2


# What is seen


async def test_quit_marks_what_was_retrieved(house: Pop3House) -> None:
    await house.put(message(1), message(2), message(3), prefix=b"Received: here\r\n")
    client = house.connect()
    await client.login()
    assert await client.retrieve(1) == b"Received: here\r\n" + message(1)
    assert await client.listing("TOP 2 0")
    await client.ask("DELE 3")
    assert [flags for _, flags in await house.stored("INBOX")] == [0, 0, 0]
    assert await client.quit() == "+OK Bye"
    assert [flags for _, flags in await house.stored("INBOX")] == [SEEN, 0]
    assert await house.stored("Trash") == [(b"Received: here\r\n" + message(3), SEEN)]


async def test_a_lost_connection_changes_nothing(house: Pop3House) -> None:
    await house.put(message(1), message(2))
    client = house.connect()
    await client.login()
    await client.retrieve(1)
    await client.ask("DELE 2")
    await client.send("NOOP")
    await client.client.send(b"QUIT\r")  # no line
    await client.vanish()
    assert [flags for _, flags in await house.stored("INBOX")] == [0, 0]
    assert await house.stored("Trash") == []


async def test_a_quit_that_was_sent_counts(house: Pop3House) -> None:
    """Also when the client does not wait for its answer."""
    await house.put(message(1))
    client = house.connect()
    await client.login()
    await client.send("DELE 1", "QUIT")
    await client.vanish()
    assert await house.stored("INBOX") == []


async def test_the_maildrop_is_free_before_the_answer_to_quit(house: Pop3House) -> None:
    """A client that comes back at once must not find it in use by itself."""
    for _ in range(5):
        client = house.connect()
        await client.login()
        assert await client.ask("QUIT") == "+OK Bye"
        assert await house.store.database["maildrops"].find_one({}) is None


async def test_a_commit_that_fails_is_not_pretended(house: Pop3House) -> None:
    await house.put(message(1))
    client = house.connect()
    await client.login()
    await client.ask("DELE 1")
    await house.store.database["mailboxes"].update_one(
        {"specialUse": "\\Trash", "user": {"$exists": True}}, {"$unset": {"uidnext": 1}}
    )
    answer = await client.quit()
    assert answer == "-ERR [SYS/TEMP] Internal error, it has been logged"
    assert len(await stored_uids(house)) == 1
    assert await house.store.database["maildrops"].count_documents({}) == 0


async def stored_uids(house: Pop3House) -> list[int]:
    return [row["uid"] async for row in house.store.database["messages"].find({})]


# Slow clients


async def test_a_client_that_does_not_read_is_left(house: Pop3House) -> None:
    await house.put(LARGE)
    client = house.connect(replace(SETTINGS, write_timeout=0.2))
    await client.login()
    await client.send("RETR 1", "QUIT")
    await asyncio.wait_for(client.task, 30)
    assert len(client.connection.outgoing.buffer) == 0, "cut: what could not be sent is dropped"
    assert [flags for _, flags in await house.stored("INBOX")] == [0]
    again = house.connect()
    assert (await again.login()).startswith("+OK")
    assert await again.quit() == "+OK Bye"


async def test_octets_wait_for_their_reader(house: Pop3House) -> None:
    await house.put(LARGE)
    client = house.connect()
    await client.login()
    await client.send("RETR 1")
    await until(lambda: len(client.connection.outgoing.buffer) > 256 * 1024)
    await asyncio.sleep(0.1)  # in which more could come
    waiting = len(client.connection.outgoing.buffer)
    assert waiting < 800 * 1024
    assert (await client.line()) == f"+OK {len(LARGE)} octets"
    assert await client.body() == LARGE
    assert await client.quit() == "+OK Bye"


async def test_the_server_stops_while_a_message_is_sent(house: Pop3House) -> None:
    """The response is whole before the goodbye, and no later command is carried out."""
    await house.put(LARGE)
    client = house.connect()
    await client.login()
    await client.send("RETR 1", "DELE 1", "QUIT")
    await until(lambda: client.connection.outgoing.buffer)
    assert client.connection.on_drain is not None
    client.connection.on_drain()
    assert (await client.line()).startswith("+OK")
    assert await client.body() == LARGE
    assert await client.line() == "-ERR [SYS/TEMP] Server shutting down"
    assert await client.line() == ""
    assert [flags for _, flags in await house.stored("INBOX")] == [0]


async def test_the_server_stops_in_an_authentication(house: Pop3House) -> None:
    client = house.connect()
    await client.line()
    assert await client.ask("AUTH PLAIN") == "+ "
    assert client.connection.on_drain is not None
    client.connection.on_drain()
    assert await client.line() == "-ERR [SYS/TEMP] Server shutting down"
    assert await client.line() == ""


# Failing parts


async def test_half_a_message_is_never_taken_for_a_whole(house: Pop3House, caplog: pytest.LogCaptureFixture) -> None:
    lines = b"".join(b"%076d\r\n" % number for number in range(20_000))
    await house.put(
        b"Subject: big\r\nMIME-Version: 1.0\r\nContent-Type: application/octet-stream\r\n"
        b"Content-Transfer-Encoding: base64\r\n\r\n" + lines
    )
    lost = await house.store.database["blobs.chunks"].delete_many({"n": {"$gte": WINDOW}})
    assert lost.deleted_count == 1
    client = house.connect()
    await client.login()
    await client.send("RETR 1", "NOOP")
    said = b""
    while line := await client.client.line(10):
        said += line
    assert not said.endswith(b".\r\n")
    await asyncio.wait_for(client.task, 30)
    assert await house.store.database["maildrops"].count_documents({}) == 0
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_what_cannot_be_read_is_said_before_it_begins(house: Pop3House) -> None:
    await house.put(message(1))
    client = house.connect()
    await client.login()
    await house.store.database["contents"].delete_many({})
    assert await client.ask("RETR 1") == "-ERR [SYS/PERM] The data is damaged"
    assert await client.ask("NOOP") == "+OK"
    assert await client.quit() == "+OK Bye"
    assert [row["flags"] async for row in house.store.database["messages"].find({})] == [0]


async def test_a_defect_is_logged_and_the_session_goes_on(house: Pop3House, caplog: pytest.LogCaptureFixture) -> None:
    await house.put(message(1))
    await house.store.database["messages"].update_many({}, {"$set": {"size": "no number"}})
    client = house.connect()
    assert await client.login() == "-ERR [SYS/TEMP] Internal error, it has been logged"
    assert await client.ask("USER bert", "PASS secret") == "+OK Logged in, 0 messages (0 octets)"
    assert await client.quit() == "+OK Bye"
    assert [record.levelno for record in caplog.records if record.exc_info] == [logging.ERROR]


async def test_the_log_has_a_line_for_each_command_and_no_secret(
    house: Pop3House, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "duckmail")
    await house.put(b"Subject: private\r\n\r\nwords\r\n")
    client = house.connect()
    await client.line()
    await client.ask("AUTH PLAIN AGFubmEAd3Jvbmc=", "USER anna", "PASS secret", "PASSWORD secret", "PASS\tsecret")
    await client.retrieve(1)
    assert await client.quit() == "+OK Bye"
    lines = [record.fields for record in caplog.records if record.getMessage() == "command"]  # type: ignore[attr-defined]
    assert [(line["command"], line["result"]) for line in lines] == [
        ("AUTH", "ERR"), ("USER", "OK"), ("PASS", "OK"), ("unknown", "ERR"), ("unknown", "ERR"), ("RETR", "OK"),
        ("QUIT", "OK"),
    ]  # fmt: skip
    assert lines[5]["user"] == "anna"
    assert lines[5]["octets"] == len("+OK 27 octets\r\nSubject: private\r\n\r\nwords\r\n.\r\n")
    text = " ".join(f"{record.getMessage()} {record.__dict__}" for record in caplog.records)
    for secret in ("secret", "AGFubm", "private", "words"):
        assert secret not in text
