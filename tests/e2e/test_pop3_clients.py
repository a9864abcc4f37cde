"""The standard library's POP3 client over real sockets: STLS, TLS, dots, large messages, two clients at once."""

import asyncio
import poplib
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

import pytest

from protocols.pop3.settings import Pop3Settings
from tests.support.net import client_context, serving, shared_contexts
from tests.support.pop3 import Pop3House, open_pop3
from tests.support.stores import message

T = TypeVar("T")
HOST = "127.0.0.1"
DOTS = b"Subject: dots\r\n\r\n.\r\n..\r\n.x\r\nlast\r\n"
BARE = b"Subject: bare\r\n\r\nx\n.\n-ERR no\n"


@pytest.fixture
async def house(mongo_uri: str, database_name: str, redis_url: str) -> AsyncIterator[Pop3House]:
    async with open_pop3(mongo_uri, database_name, redis_url) as opened:
        yield opened


@asynccontextmanager
async def listening(house: Pop3House, *, implicit_tls: bool = False) -> AsyncIterator[int]:
    async with serving(house.serve(Pop3Settings()), tls=shared_contexts(), implicit_tls=implicit_tls) as (_, port):
        yield port


async def in_thread(play: Callable[[], T]) -> T:
    return await asyncio.wait_for(asyncio.to_thread(play), 60)


def connect(port: int, *, tls: bool = False) -> poplib.POP3:
    """Ready for passwords."""
    if tls:
        return poplib.POP3_SSL(HOST, port, context=client_context(), timeout=20)
    client = poplib.POP3(HOST, port, timeout=20)
    client.stls(client_context())
    return client


def fetch(client: poplib.POP3, number: int) -> bytes:
    """The message, as this client understands it: by LF, so it cannot tell CRLF from LF."""
    return b"".join(line + b"\n" for line in client.retr(number)[1])


def as_lines(octets: bytes) -> bytes:
    return b"".join(line + b"\n" for line in octets.replace(b"\r\n", b"\n").splitlines())


@pytest.mark.parametrize("tls", [False, True], ids=["stls", "tls"])
async def test_poplib(house: Pop3House, tls: bool) -> None:
    stored = [message(1), DOTS, message(2), BARE]
    await house.put(*stored)

    def play(port: int) -> None:
        client = connect(port, tls=tls)
        assert b"<" not in client.getwelcome()
        capabilities = client.capa()
        assert capabilities["SASL"] == ["PLAIN"]
        assert capabilities["EXPIRE"] == ["NEVER"]
        assert "STLS" not in capabilities
        client.user("anna")
        client.pass_("secret")
        assert client.stat() == (4, sum(map(len, stored)))
        assert client.list()[1] == [b"%d %d" % (number, len(octets)) for number, octets in enumerate(stored, 1)]
        assert len({line.split()[1] for line in client.uidl()[1]}) == 4
        assert [fetch(client, number) for number in (1, 2, 3)] == [as_lines(octets) for octets in stored[:3]]
        # It has one CRLF more, which the message itself lacks.
        assert fetch(client, 4) == BARE.replace(b"\r\n", b"\n") + b"\n"
        assert client.top(2, 1)[1] == [b"Subject: dots", b"", b"."]
        client.dele(1)
        client.dele(3)
        client.rset()
        client.dele(2)
        assert client.stat()[0] == 3
        assert client.quit().startswith(b"+OK")

    async with listening(house, implicit_tls=tls) as port:
        await in_thread(lambda: play(port))
    assert [octets for octets, _ in await house.stored("INBOX")] == [message(1), message(2), BARE]
    assert [octets for octets, _ in await house.stored("Trash")] == [DOTS]


async def test_no_password_in_plaintext(house: Pop3House) -> None:
    def play(port: int) -> None:
        client = poplib.POP3(HOST, port, timeout=20)
        assert "USER" not in client.capa()
        assert "SASL" not in client.capa()
        with pytest.raises(poplib.error_proto, match="STLS first"):
            client.user("anna")
        client.stls(client_context())
        assert client.user("anna").startswith(b"+OK")
        with pytest.raises(poplib.error_proto, match=r"\[AUTH\]"):
            client.pass_("wrong")
        client.utf8()
        client.user("anna")
        client.pass_("secret")
        client.quit()

    async with listening(house) as port:
        await in_thread(lambda: play(port))


async def test_octet_for_octet(house: Pop3House) -> None:
    """What a client sees that looks at octets, dots removed by the rule of RFC 1939 §3."""
    big = b"Subject: big\r\n\r\n" + b"".join(b".%d\r\n" % number for number in range(400_000))
    stored = [message(1), DOTS, big, b"\xff\x00\r\n" * 1000]
    await house.put(*stored)

    def play(port: int) -> list[bytes]:
        with socket.create_connection((HOST, port), 20) as sock, sock.makefile("rb") as file:
            file.readline()
            numbers = range(1, len(stored) + 1)
            commands = ["USER anna", "PASS secret", *(f"RETR {number}" for number in numbers), "QUIT"]
            sock.sendall("".join(f"{command}\r\n" for command in commands).encode())
            assert [file.readline()[:3] for _ in range(2)] == [b"+OK"] * 2
            found = []
            for _ in numbers:
                octets = b""
                size = int(file.readline().split()[1])
                pieces = []
                while (line := file.readline()) != b".\r\n":
                    pieces.append(line.removeprefix(b"."))
                octets = b"".join(pieces)
                assert len(octets) == size
                found.append(octets)
            assert file.readline().startswith(b"+OK")
            assert file.read() == b""
            return found

    async with serving(house.serve(replace(Pop3Settings(), plaintext_login=True))) as (_, port):
        assert await in_thread(lambda: play(port)) == stored


async def test_two_clients_on_one_maildrop(house: Pop3House) -> None:
    await house.put(*(message(number) for number in range(5)))

    def play(port: int) -> None:
        first, second = connect(port, tls=True), connect(port, tls=True)
        for client in (first, second):
            client.user("anna")
        first.pass_("secret")
        with pytest.raises(poplib.error_proto, match=r"\[IN-USE\]"):
            second.pass_("secret")
        first.dele(1)
        first.quit()
        second.user("anna")
        second.pass_("secret")
        assert second.stat()[0] == 4
        second.dele(1)
        second.close()  # no QUIT
        third = connect(port, tls=True)
        third.user("anna")
        third.pass_("secret")
        assert third.stat()[0] == 4
        third.quit()

    async with listening(house, implicit_tls=True) as port:
        await in_thread(lambda: play(port))


async def test_many_clients_fetch_everything_once(house: Pop3House) -> None:
    """Whoever gets in fetches and deletes: nothing twice, nothing lost."""
    count = 30
    await house.put(*(message(number) for number in range(count)))
    fetched: list[bytes] = []
    lock = threading.Lock()

    def play(port: int) -> None:
        for _ in range(200):
            client = connect(port, tls=True)
            client.user("anna")
            try:
                client.pass_("secret")
            except poplib.error_proto as error:
                if b"[IN-USE]" not in error.args[0]:
                    raise
                client.quit()
                continue
            there = client.stat()[0]
            for number in range(1, min(there, 4) + 1):
                octets = fetch(client, number)
                with lock:
                    fetched.append(octets)
                client.dele(number)
            client.quit()
            if not there:
                return

    async with listening(house, implicit_tls=True) as port:
        await asyncio.gather(*(in_thread(lambda: play(port)) for _ in range(3)))
    assert sorted(fetched) == sorted(as_lines(message(number)) for number in range(count))
    assert await house.stored("INBOX") == []
    assert len(await house.stored("Trash")) == count
