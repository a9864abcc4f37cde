"""Other people's clients over real sockets: imaplib with STARTTLS, IMAPClient with TLS; and big messages."""

import asyncio
import imaplib
import random
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from time import perf_counter
from typing import TypeVar

import pytest
from imapclient import IMAPClient

from protocols.imap.settings import ImapSettings
from tests.support.imap import MIB, ImapHouse, open_imap
from tests.support.net import client_context, serving, shared_contexts

T = TypeVar("T")

MESSAGE = (
    b"From: Anna <anna@example.com>\r\nTo: Bert <bert@example.com>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n"
    b"Date: Mon, 02 Nov 2026 10:00:00 +0100\r\nMessage-ID: <one@example.com>\r\n\r\nHello\r\n"
)


@pytest.fixture
async def house(mongo_uri: str, database_name: str, redis_url: str) -> AsyncIterator[ImapHouse]:
    async with open_imap(mongo_uri, database_name, redis_url, budget=64 * MIB) as opened:
        yield opened


@asynccontextmanager
async def listening(house: ImapHouse, *, implicit_tls: bool = False) -> AsyncIterator[int]:
    serve = house.serve(ImapSettings())
    async with serving(serve, tls=shared_contexts(), implicit_tls=implicit_tls) as (_, port):
        yield port


async def in_thread(play: Callable[[], T]) -> T:
    return await asyncio.wait_for(asyncio.to_thread(play), 60)


async def test_imaplib_with_starttls(house: ImapHouse) -> None:
    def play(port: int) -> None:
        with imaplib.IMAP4("127.0.0.1", port, timeout=60) as client:
            assert "LOGINDISABLED" in client.capabilities
            with pytest.raises(imaplib.IMAP4.error, match="PRIVACYREQUIRED"):
                client.login("anna", "secret")
            client.starttls(client_context())
            client.login("anna", "secret")
            assert client.select()[1] == [b"0"]
            assert client.append("INBOX", "\\Flagged", imaplib.Time2Internaldate(0), MESSAGE)[0] == "OK"
            client.noop()
            assert client.response("EXISTS")[1][-1] == b"1"
            assert client.search("UTF-8", "SUBJECT", '"GRÜßE"'.encode())[1] == [b"1"]
            assert client.fetch("1", "(RFC822)")[1][0][1] == MESSAGE
            assert client.store("1", "+FLAGS", "(\\Deleted)")[0] == "OK"
            assert client.expunge()[1] == [b"1"]
            assert client.list()[0] == "OK"
            assert client.status("INBOX", "(MESSAGES UIDNEXT)")[1] == [b"INBOX (MESSAGES 0 UIDNEXT 2)"]

    async with listening(house) as port:
        await in_thread(lambda: play(port))


async def test_imapclient_with_tls(house: ImapHouse) -> None:
    def play(port: int) -> None:
        with IMAPClient("127.0.0.1", port, ssl_context=client_context(), timeout=60) as client:
            client.login("anna", "secret")
            assert b"duckmail" in client.id_({"name": "test"})[0]
            assert client.find_special_folder(b"\\Sent") == "Sent Mail"
            assert client.namespace().personal == (("", "/"),)
            client.create_folder("Täglich/Über & unter")
            assert "Täglich/Über & unter" in [name for _, _, name in client.list_folders()]
            client.rename_folder("Täglich", "Z")
            assert client.folder_exists("Z/Über & unter")
            day = datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC)
            for number in range(5):
                client.append("INBOX", MESSAGE + b"x" * number, [b"\\Seen", b"$Label"], day)
            chosen = client.select_folder("INBOX")
            assert (chosen[b"EXISTS"], chosen[b"UIDNEXT"], chosen[b"READ-WRITE"]) == (5, 6, True)
            fetched = client.fetch(
                [1, 5], ["FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODYSTRUCTURE", "BODY[]"]
            )
            assert fetched[5][b"BODY[]"] == MESSAGE + b"xxxx"
            assert fetched[5][b"RFC822.SIZE"] == len(MESSAGE) + 4
            assert fetched[1][b"INTERNALDATE"].timestamp() == day.timestamp()
            assert fetched[1][b"ENVELOPE"].from_[0].mailbox == b"anna"
            assert fetched[1][b"BODYSTRUCTURE"][:2] == (b"TEXT", b"PLAIN")
            assert client.search(["OLDER", "1"]) == [1, 2, 3, 4, 5]
            assert client.search(["SINCE", date(2020, 2, 4)]) == []
            assert client.add_flags([2, 3], ["\\Deleted"])[2][-1] == b"\\Recent"
            client.uid_expunge([2])
            client.move([4], "Trash")
            assert client.search() == [1, 3, 5]
            client.copy([1, 5], "Trash")
            client.unselect_folder()
            assert client.folder_status("Trash", ["MESSAGES"]) == {b"MESSAGES": 3}
            client.subscribe_folder("Trash")
            client.delete_folder("Z/Über & unter")
            assert not client.folder_exists("Z/Über & unter")

    async with listening(house, implicit_tls=True) as port:
        await in_thread(lambda: play(port))


async def test_idle_is_told_at_once(house: ImapHouse) -> None:
    """DATA-to-EXISTS has no timer in it: some push of twenty through a second connection takes a few milliseconds, and
    half of them less than half of what a look every 2 s would."""
    delays: list[float] = []

    def play(port: int) -> None:
        with (
            IMAPClient("127.0.0.1", port, ssl_context=client_context(), timeout=60) as idler,
            IMAPClient("127.0.0.1", port, ssl_context=client_context(), timeout=60) as sender,
        ):
            for one in (idler, sender):
                one.login("anna", "secret")
            idler.select_folder("INBOX")
            idler.idle()
            for number in range(1, 21):
                sender.append("INBOX", MESSAGE)
                done = perf_counter()
                while (number, b"EXISTS") not in (said := idler.idle_check(timeout=40)):
                    assert said, "nothing comes"
                delays.append(perf_counter() - done)
            idler.idle_done()

    async with listening(house, implicit_tls=True) as port:
        await in_thread(lambda: play(port))
    assert min(delays) < 0.05
    assert sorted(delays)[len(delays) // 2] < 0.5


async def test_large_messages_come_back_exactly(house: ImapHouse) -> None:
    """Four at once, over a budget of three: they take turns, and every octet of every part of them returns."""
    size = 20 * MIB
    bodies = [random.Random(seed).randbytes(size // 2).hex().encode() + b"\r\n" for seed in range(4)]
    lock = threading.Lock()
    uids: dict[int, int] = {}

    def play(port: int, number: int) -> None:
        with IMAPClient("127.0.0.1", port, ssl_context=client_context(), timeout=60) as client:
            client.login("anna", "secret")
            message = b"Subject: big\r\n\r\n" + bodies[number]
            answer = client.append("INBOX", message)
            with lock:
                uids[number] = int(answer.split(b"]")[0].split()[-1])
            client.select_folder("INBOX", readonly=True)
            uid = uids[number]
            assert client.fetch(uid, ["BODY[]"])[uid][b"BODY[]"] == message
            start, count = 5_000_001, 70_000
            got = client.fetch(uid, [f"BODY.PEEK[]<{start}.{count}>"])[uid]
            assert got[f"BODY[]<{start}>".encode()] == message[start : start + count]

    async with listening(house, implicit_tls=True) as port:
        await asyncio.gather(*(in_thread(lambda number=number: play(port, number)) for number in range(4)))
    assert house.services.budget.used == 0


async def test_a_client_that_leaves_in_the_middle_of_a_message(house: ImapHouse) -> None:
    async with listening(house, implicit_tls=True) as port:
        for _ in range(3):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_context())
            writer.write(b"a LOGIN anna secret\r\nb APPEND INBOX {30000000+}\r\n" + b"x" * 1_000_000)
            await writer.drain()
            while not (await asyncio.wait_for(reader.readline(), 10)).startswith(b"a OK"):
                pass
            while not house.services.budget.used:
                await asyncio.sleep(0.01)
            writer.transport.abort()
            while house.services.budget.used:
                await asyncio.sleep(0.01)
    mail = await house.mail("anna")
    assert (await mail.mailbox("INBOX")).messages == 0
