"""The SMTP client against aiosmtpd, over plain TCP, STARTTLS and implicit TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.smtp import SMTP, AuthResult

from duckmail.model.queue import Destination, Letter
from protocols.net.tls import server_context
from tests.support.letters import MESSAGE, Pieces, courier, letter, recipients
from tests.support.net import make_certificate

HOST = "mx.example"


@dataclass
class Sink:
    """aiosmtpd's handler: keeps what arrives; refuses recipients and senders that say so."""

    mails: list[tuple[str, list[str], bytes, list[str]]] = field(default_factory=list)
    logins: list[tuple[bytes, bytes]] = field(default_factory=list)
    secure: bool = False

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if address.startswith("no"):
            return "550 5.1.1 No such user"
        if address.startswith("later"):
            return "451 4.7.1 Greylisted"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        self.secure = session.ssl is not None
        self.mails.append((envelope.mail_from, envelope.rcpt_tos, envelope.original_content, envelope.mail_options))
        return "250 2.0.0 Taken"

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        self.logins.append((data.login, data.password))
        return AuthResult(success=data.password == b"secret", handled=False)


@asynccontextmanager
async def aiosmtpd(sink: Sink, context: ssl.SSLContext | None = None, **options: Any) -> AsyncIterator[int]:
    """A server; gives its port. `context`: of implicit TLS."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: SMTP(sink, hostname=HOST, loop=loop, timeout=20, **options), "127.0.0.1", 0, ssl=context
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await asyncio.sleep(0.05)  # for the sessions to hear of QUIT


async def test_plaintext() -> None:
    sink = Sink()
    async with aiosmtpd(sink) as port:
        to = recipients("c@d.example", "no@d.example", "e@d.example", "later@d.example", "f@d.example")
        got = await courier().send(Destination(HOST, port), letter(prefix=b"Received: here\r\n"), to)
    assert [(one.code, one.status, one.text) for one in got] == [
        (250, "2.0.0", "Taken"),
        (550, "5.1.1", "No such user"),
        (250, "2.0.0", "Taken"),
        (451, "4.7.1", "Greylisted"),
        (250, "2.0.0", "Taken"),
    ]
    [(sender, taken, octets, options)] = sink.mails
    assert (sender, taken) == ("a@b.example", ["c@d.example", "e@d.example", "f@d.example"])
    assert octets == b"Received: here\r\n" + MESSAGE
    assert options == [f"SIZE={len(octets)}"]
    assert not sink.secure


async def test_smtputf8() -> None:
    sink = Sink()
    async with aiosmtpd(sink, enable_SMTPUTF8=True) as port:
        message = letter("Subject: ü\r\n\r\nü\r\n".encode(), sender="ä@bücher.example", body="8BITMIME", smtputf8=True)
        [got] = await courier().send(Destination(HOST, port), message, recipients("ö@d.example"))
    assert got.accepted
    [(sender, taken, octets, options)] = sink.mails
    assert (sender, taken, octets) == ("ä@bücher.example", ["ö@d.example"], "Subject: ü\r\n\r\nü\r\n".encode())
    assert "SMTPUTF8" in options
    assert "BODY=8BITMIME" in options


async def test_a_large_message_arrives_as_it_was() -> None:
    octets = b"".join(b".line %d\r\n" % number for number in range(100_000))
    sink = Sink()
    async with aiosmtpd(sink) as port:
        message = letter()
        message = Letter(message.envelope, len(octets), b"", Pieces(octets, piece=65_537))
        [got] = await courier(end_timeout=20.0).send(Destination(HOST, port), message, recipients())
    assert got.accepted
    assert sink.mails[0][2] == octets


async def test_a_message_too_large_is_not_sent() -> None:
    sink = Sink()
    async with aiosmtpd(sink, data_size_limit=20) as port:
        [got] = await courier().send(Destination(HOST, port), letter(), recipients())
    assert (got.code, got.status) == (552, "5.3.4")
    assert sink.mails == []


@pytest.mark.parametrize("tls", ["may", "verify", "implicit"])
async def test_tls(tls: str, tmp_path: Path) -> None:
    files = make_certificate(tmp_path, HOST)
    context = server_context(files)
    sink = Sink()
    options = {"context": context} if tls == "implicit" else {"tls_context": context, "require_starttls": True}
    async with aiosmtpd(sink, **options) as port:
        [got] = await courier(authorities=files.certificate).send(Destination(HOST, port, tls), letter(), recipients())
    assert got.accepted
    assert sink.mails[0][2] == MESSAGE
    assert tls == "implicit" or sink.secure


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
@pytest.mark.parametrize(("password", "status"), [("secret", "2.0.0"), ("wrong", "4.7.8")])
async def test_login(mechanism: str, password: str, status: str, tmp_path: Path) -> None:
    files = make_certificate(tmp_path, HOST)
    sink = Sink()
    other = {"PLAIN": "LOGIN", "LOGIN": "PLAIN"}[mechanism]
    async with aiosmtpd(
        sink,
        tls_context=server_context(files),
        auth_required=True,
        authenticator=sink.authenticate,
        auth_exclude_mechanism=[other],
    ) as port:
        target = Destination(HOST, port, "may", "jöe", password)
        [got] = await courier(authorities=files.certificate).send(target, letter(), recipients())
    assert got.status == status
    assert sink.logins == [("jöe".encode(), password.encode())]
    assert len(sink.mails) == (password == "secret")


async def test_many_at_once() -> None:
    sink = Sink()
    async with aiosmtpd(sink) as port:
        one = courier()
        letters = [letter(b"number %d\r\n" % number) for number in range(30)]
        got = await asyncio.gather(*(one.send(Destination(HOST, port), each, recipients()) for each in letters))
    assert all(outcome.accepted for [outcome] in got)
    assert sorted(octets for _, _, octets, _ in sink.mails) == sorted(b"number %d\r\n" % number for number in range(30))
