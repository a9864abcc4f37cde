"""aioimaplib: the client for asyncio, with what a program on it does; IDLE among it."""

import asyncio
import ssl

import pytest

from tests.support.server_process import Account, ServerProcess, make_message

SECONDS = 30.0

aioimaplib = pytest.importorskip("aioimaplib")


async def test_aioimaplib(server: ServerProcess, account: Account) -> None:
    for number in range(3):
        server.deliver(make_message(f"letter {number}", f"body {number}"), account.address)
    stored = server.messages(account)
    trust = ssl.create_default_context(cafile=server.certificate)
    client = aioimaplib.IMAP4_SSL("localhost", server.imaps_port, ssl_context=trust, timeout=SECONDS)
    await client.wait_hello_from_server()

    async def ok(command: str, *arguments: object) -> list[bytes]:
        result, lines = await getattr(client, command)(*arguments)
        assert result == "OK", lines
        return list(lines)

    await ok("login", account.address, account.password)
    assert client.has_capability("IDLE")
    assert b"3 EXISTS" in await ok("select", "INBOX")
    assert (await ok("uid_search", "SUBJECT", '"letter 1"'))[0].split() == [b"2"]
    assert bytes((await ok("uid", "fetch", "2", "(BODY.PEEK[])"))[1]) == stored[1]
    assert b"\\Flagged" in (await ok("store", "1", "+FLAGS", "\\Flagged"))[0]
    await ok("create", '"Made here"')
    await ok("append", make_message("written"), '"Made here"', "\\Seen")
    await ok("uid", "copy", "1", '"Made here"')
    await ok("move", "3", '"Made here"')
    with server.imap(account) as other:
        assert other.folder_status("Made here", ["MESSAGES", "UNSEEN"]) == {b"MESSAGES": 3, b"UNSEEN": 2}

    idle = await client.idle_start(timeout=SECONDS)
    await asyncio.to_thread(server.deliver, make_message("pushed"), account.address)
    pushed: list[bytes] = []
    while b"3 EXISTS" not in pushed:
        pushed += await client.wait_server_push(timeout=SECONDS)
    client.idle_done()
    await asyncio.wait_for(idle, SECONDS)
    await ok("logout")
