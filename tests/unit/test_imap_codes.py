"""Which response code (RFC 5530) a command that fails is answered with."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from duckmail.model.flags import MAX_KEYWORDS
from duckmail.services.mail import Mail
from tests.support.imap import ImapHouse, open_imap
from tests.support.imap_client import ImapClient

QUOTA = 1000
LARGE = "x" * (QUOTA + 1)
KEYWORDS = " ".join(f"k{number}" for number in range(MAX_KEYWORDS + 1))


@pytest.fixture
async def client(mongo_uri: str, database_name: str, redis_url: str) -> AsyncIterator[ImapClient]:
    """In INBOX is one message of 600 octets of the 1000 that may be stored."""
    async with open_imap(mongo_uri, database_name, redis_url) as house:
        services = replace(house.services, mail=lambda principal: Mail(house.store, principal, QUOTA))
        imap = ImapClient(ImapHouse(house.store, house.users, services))
        await imap.log_in()
        await imap.ok("CREATE here/below")
        await imap.ok("APPEND INBOX {600+}\r\n" + "x" * 600)
        await imap.ok("SELECT INBOX")
        yield imap
        await imap.vanish()


CODES = [
    *(
        (f"{command}", "NONEXISTENT")
        for command in (
            "SELECT none", "EXAMINE none", "STATUS none (MESSAGES)", "DELETE none", "RENAME none other",
            "SUBSCRIBE none",
        )
    ),
    *(
        (f"{command}", "TRYCREATE")
        for command in (
            "APPEND none {1+}\r\nx", "COPY 1 none", "UID COPY 1 none", "MOVE 1 none", "UID MOVE 1 none",
            "REPLACE 1 none {1+}\r\nx",
        )
    ),
    ("CREATE INBOX", "ALREADYEXISTS"),
    ("CREATE here", "ALREADYEXISTS"),
    ("RENAME here INBOX", "ALREADYEXISTS"),
    ("RENAME here/below here", "ALREADYEXISTS"),
    ("CREATE here//below", "CANNOT"),
    ("DELETE INBOX", "CANNOT"),
    ("RENAME here here/below/again", "CANNOT"),
    (f"APPEND INBOX {{{len(LARGE)}+}}\r\n{LARGE}", "OVERQUOTA"),
    ("COPY 1 here", "OVERQUOTA"),
    ("UID COPY 1 INBOX", "OVERQUOTA"),
    (f"REPLACE 1 here {{{len(LARGE)}+}}\r\n{LARGE}", "OVERQUOTA"),
    (f"STORE 1 +FLAGS ({KEYWORDS})", "LIMIT"),
]  # fmt: skip


async def test_the_code_says_why(client: ImapClient) -> None:
    answers = {command: (await client.command(command))[1] for command, _ in CODES if command[:7] not in _LEAVES}
    for command in (each for each, _ in CODES if each[:7] in _LEAVES):
        answers[command] = (await client.command(command))[1]
    told = {command[:40]: answer[: answer.find("]") + 1] or answer for command, answer in answers.items()}
    assert told == {command[:40]: f"NO [{code}]" for command, code in CODES}


_LEAVES = ("SELECT ", "EXAMINE")  # the selected mailbox, so they come last


@pytest.mark.parametrize("command", ["STORE 1 +FLAGS (\\Seen)", "EXPUNGE", "UID EXPUNGE 1", "MOVE 1 here"])
async def test_an_examined_mailbox_is_read_only(client: ImapClient, command: str) -> None:
    await client.ok("EXAMINE INBOX")
    assert (await client.command(command))[1].startswith("NO [READ-ONLY]")


async def test_nothing_was_stored_over_quota(client: ImapClient) -> None:
    await client.command("COPY 1 here")
    assert await client.ok("STATUS here (MESSAGES)") == ["STATUS here (MESSAGES 0)"]


async def test_a_charset_under_imap4rev2(client: ImapClient) -> None:
    """RFC 9051 §6.4.4 demands UTF-8 and US-ASCII; what other charsets say is still understood there."""
    await client.ok("DELETE here/below")
    await client.ok("UID STORE 1 +FLAGS.SILENT (\\Deleted)")
    await client.ok("EXPUNGE")
    text = "Subject: =?utf-8?q?K=C3=BCken?=\r\n\r\n"
    await client.ok(f"APPEND INBOX {{{len(text)}+}}\r\n{text}")
    await client.ok("UNSELECT")
    await client.ok("ENABLE IMAP4rev2")
    await client.ok("SELECT INBOX")
    heard = await client.ok("UID SEARCH CHARSET ISO-8859-1 SUBJECT {5+}\r\nK\xfcken")
    assert any(line.endswith("UID ALL 2") for line in heard)
    await client.ok("UNSELECT")
    await client.ok("ENABLE UTF8=ACCEPT")
    await client.ok("SELECT INBOX")
    assert (await client.command("SEARCH CHARSET ISO-8859-1 ALL"))[1].startswith("BAD")  # RFC 6855 §3
