"""What a dialog file cannot say: time, failing parts, room for large messages, a real handshake, the log."""

import asyncio
import logging
import smtplib
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import replace
from email.message import EmailMessage
from typing import Any

import pytest

from duckmail.errors import LimitReached, Unavailable
from duckmail.model.account import Principal
from duckmail.model.queue import Notify
from duckmail.services.queue.queue import NewMail, SentCopy
from duckmail.services.sendinglimit import recipients_key
from duckmail.services.submission import Policy, Submission
from protocols.net.connection import Connection
from protocols.submission.server import SubmissionServer
from protocols.submission.settings import SubmissionSettings
from tests.support.net import client_context, serving, shared_contexts
from tests.support.submission import HOSTNAME, PLAIN, SubmissionHouse, shared_submission

SETTINGS = SubmissionSettings(HOSTNAME, size_limit=1_000_000)
MESSAGE = b"From: anna@example.com\r\nSubject: secret words\r\n\r\nsecret body\r\n"


@pytest.fixture(scope="module")
async def shared_house(mongo_uri: str) -> AsyncIterator[SubmissionHouse]:
    async with shared_submission(mongo_uri) as opened:
        yield opened


@pytest.fixture
async def house(shared_house: SubmissionHouse) -> SubmissionHouse:
    """With an empty queue."""
    await shared_house.store.database["queue"].delete_many({})
    return shared_house


def with_queue(house: SubmissionHouse, queue: Any, **settings: Any) -> SubmissionServer:
    """A server over another queue."""
    server = house.server(replace(SETTINGS, **settings))
    submission = Submission(house.store, house.delivery, queue, house.pool, Policy(HOSTNAME))
    return replace(server, services=replace(server.services, submission=submission))


class Slow:
    """Hands on to the real queue when it may."""

    def __init__(self, queue: Any) -> None:
        self.queue = queue
        self.asked = asyncio.Event()
        self.go = asyncio.Event()

    async def submit(self, message: NewMail, copy: SentCopy | None = None) -> str:
        self.asked.set()
        await self.go.wait()
        return await self.queue.submit(message, copy)  # type: ignore[no-any-return]


class Broken:
    def __init__(self, error: Exception) -> None:
        self.error = error

    async def submit(self, message: NewMail, copy: SentCopy | None = None) -> str:
        raise self.error


# Time


@pytest.mark.parametrize("said", [(), ("EHLO client.example",), ("EHLO client.example", "AUTH LOGIN")])
async def test_who_does_not_log_in_in_time(house: SubmissionHouse, said: tuple[str, ...]) -> None:
    async with house.session(house.server(replace(SETTINGS, login_timeout=0.8))) as client:
        await client.replies("220")
        await client.send(*said)
        await client.replies(*("250", "334")[: len(said)], "421 4.4.2 ", "")


async def test_small_talk_does_not_put_the_login_off(house: SubmissionHouse) -> None:
    async with house.session(house.server(replace(SETTINGS, login_timeout=0.3))) as client:
        await client.replies("220")
        async with asyncio.timeout(40):
            while (said := await client.ask("NOOP")).startswith("250"):
                await asyncio.sleep(0.01)
        assert said.startswith("421 4.4.2 ")


async def test_after_the_login_there_is_time(house: SubmissionHouse) -> None:
    async with house.session(house.server(replace(SETTINGS, login_timeout=3.0, command_timeout=60.0))) as client:
        await client.login()
        await asyncio.sleep(3.1)
        assert (await client.ask("NOOP")).startswith("250")


async def test_idle_for_too_long(house: SubmissionHouse) -> None:
    async with house.session(house.server(replace(SETTINGS, command_timeout=1.5))) as client:
        await client.login()
        await client.replies("421 4.4.2 ", "")


@pytest.mark.parametrize("limit", ["data_timeout", "message_timeout"])
async def test_message_octets_that_take_too_long(house: SubmissionHouse, limit: str) -> None:
    async with house.session(house.server(replace(SETTINGS, **{limit: 0.3}))) as client:
        await client.login()
        await client.send("MAIL FROM:<anna@example.com>", "RCPT TO:<x@remote.example>", "DATA")
        await client.replies("250", "250", "354")
        await client.octets(MESSAGE)
        if limit == "message_timeout":
            for _ in range(8):
                await client.octets(b"x")
                await asyncio.sleep(0.05)
        await client.replies("421 4.4.2 ", "")
    assert await house.queued() == []


async def test_the_end_of_the_stream_is_not_the_end_of_the_data(house: SubmissionHouse) -> None:
    async with house.session() as client:
        await client.login()
        await client.send("MAIL FROM:<anna@example.com>", "RCPT TO:<x@remote.example>", "DATA")
        await client.replies("250", "250", "354")
        await client.octets(MESSAGE)
        client.end()
        await client.replies("")
    assert await house.queued() == []


async def test_what_is_being_queued_is_answered_before_the_goodbye(house: SubmissionHouse) -> None:
    queue = Slow(house.queue)
    async with house.session(with_queue(house, queue)) as client:
        await client.login()
        await client.send("MAIL FROM:<anna@example.com>", "RCPT TO:<x@remote.example>", "DATA")
        await client.replies("250", "250", "354")
        await client.octets(MESSAGE + b".\r\n")
        await asyncio.wait_for(queue.asked.wait(), 40)
        assert client.connection.on_drain is not None
        client.connection.on_drain()
        assert await client.silent()
        queue.go.set()
        await client.replies("250 2.0.0 OK queued as ", "421 4.3.2 ", "")
    assert len(await house.queued()) == 1


# Failures of ours


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        pytest.param(Unavailable(), "451 4.3.0 Service temporarily unavailable", id="database-down"),
        pytest.param(RuntimeError("a defect"), "451 4.3.0 Temporary failure", id="defect"),
        pytest.param(LimitReached("Too many"), "550 5.7.1 Too many", id="limit"),
    ],
)
async def test_a_failing_queue(
    house: SubmissionHouse, error: Exception, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with house.session(with_queue(house, Broken(error))) as client:
        await client.login()
        assert (await client.message(MESSAGE)).startswith(expected)
        assert (await client.ask("NOOP")).startswith("250")
    defects = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert bool(defects) == isinstance(error, RuntimeError)


async def test_a_database_that_is_down(house: SubmissionHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: object) -> None:
        raise Unavailable

    monkeypatch.setattr(house.store.addresses, "find", fail)
    monkeypatch.setattr(house.store.addresses, "has_domain", fail)
    async with house.session(house.server()) as client:
        await client.login()
        assert (await client.ask("MAIL FROM:<anna@example.com>")).startswith("451 4.3.0")
        assert (await client.ask("MAIL FROM:<>")).startswith("250")
        assert (await client.ask("RCPT TO:<bert@example.com>")).startswith("451 4.3.0")
        assert (await client.ask("RCPT TO:<x@remote.example>")).startswith("451 4.3.0")
    monkeypatch.setattr(house.store.users, "by_username", fail)
    async with house.session() as client:
        await client.send("EHLO client.example", f"AUTH PLAIN {PLAIN['anna']}")
        await client.replies("220", "250", "454 4.7.0")


async def test_throttled_logins(house: SubmissionHouse) -> None:
    wrong = b64encode(b"\0nobody-here\0wrong").decode()
    async with house.session() as client:
        await client.send("EHLO client.example", *[f"AUTH PLAIN {wrong}"] * 13)
        await client.replies("220", "250", *["535 5.7.8"] * 12, "454 4.7.0 Authentication was rate limited")


async def test_an_account_that_is_suspended_between_login_and_mail(house: SubmissionHouse) -> None:
    async with house.session() as client:
        await client.login("bert")
        await house.change("bert", suspended=True)
        assert (await client.reply()).startswith("421 4.7.0")
    await house.change("bert", suspended=False)


async def test_a_scope_that_is_disabled(house: SubmissionHouse) -> None:
    await house.change("bert", disabled_scopes=("smtp",))
    async with house.session() as client:
        await client.send("EHLO client.example", f"AUTH PLAIN {PLAIN['bert']}")
        await client.replies("220", "250", "535 5.7.8 Access to requested service disabled")
    await house.change("bert", disabled_scopes=())


# Room


async def test_a_large_message_waits_for_room(house: SubmissionHouse) -> None:
    async with house.session() as client:
        await client.login()
        await client.send("MAIL FROM:<anna@example.com>", "RCPT TO:<x@remote.example>", "DATA")
        await client.replies("250", "250", "354")
        async with house.budget.reserve(3_500_000, 1):
            await client.octets(MESSAGE + b"x" * 200_000)
            async with asyncio.timeout(40):
                while not house.budget.waiting:
                    await asyncio.sleep(0.01)
            await client.octets(b"\r\n.\r\n")
            assert await client.silent()
        await client.replies("250 2.0.0 OK queued as ")


async def test_no_room_in_time(house: SubmissionHouse) -> None:
    async with house.session(house.server(replace(SETTINGS, reserve_timeout=0.1))) as client:
        await client.login()
        async with house.budget.reserve(3_500_000, 1):
            said = await client.message(MESSAGE + b"x" * 600_000 + b"\r\n")
        assert said.startswith("452 4.3.1 ")
    assert await house.queued() == []


async def test_sessions_of_an_account_are_given_back(house: SubmissionHouse) -> None:
    for _ in range(12):  # more than there may be at a time
        async with house.session() as client:
            await client.login()
    assert house.limits._counts == {}


# The log


async def test_the_log_has_who_and_to_whom_but_no_secret(
    house: SubmissionHouse, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, "duckmail"):
        async with house.session() as client:
            await client.login()
            await client.message(MESSAGE)
            await client.message(MESSAGE, "nobody@example.com")
    fields = [(record.getMessage(), getattr(record, "fields", {})) for record in caplog.records]
    [message] = [found for name, found in fields if name == "message"]
    assert message["sender"] == "anna@example.com"
    assert message["recipients"] == ["x@remote.example"]
    assert message["result"] == "250 2.0.0"
    assert message["id"] == (await house.queued())[0].message.id
    assert [found["recipient"] for name, found in fields if name == "recipient refused"] == ["nobody@example.com"]
    assert not any("secret" in str(found) or PLAIN["anna"] in str(found) for found in fields)


# What is kept of DSN


async def test_dsn_parameters_are_kept_as_they_came(house: SubmissionHouse) -> None:
    async with house.session() as client:
        await client.login()
        for line in (
            "MAIL FROM:<anna@example.com> RET=FULL ENVID=QQ+2B314 REQUIRETLS",
            "RCPT TO:<x@remote.example> NOTIFY=delay,FAILURE ORCPT=rfc822;Bob+2Bx@remote.example",
            "RCPT TO:<y@remote.example> NOTIFY=NEVER",
            "RCPT TO:<x@remote.example>",
        ):
            assert (await client.ask(line)).startswith("250")
        assert (await client.ask("DATA")).startswith("354")
        await client.octets(MESSAGE + b".\r\n")
        await client.replies("250")
    [sent] = await house.queued()
    envelope = sent.message.envelope
    assert (envelope.ret, envelope.envid, envelope.requiretls) == ("FULL", "QQ+2B314", True)
    assert [(one.address, one.notify, one.orcpt) for one in sent.message.recipients] == [
        ("x@remote.example", Notify.DELAY | Notify.FAILURE, "rfc822;Bob+2Bx@remote.example"),
        ("y@remote.example", Notify.NEVER, ""),
    ]


@pytest.mark.parametrize(("mail", "expected"), [("", "ESMTPSA"), (" SMTPUTF8", "UTF8SMTPSA")])
async def test_how_it_came_stands_in_received(house: SubmissionHouse, mail: str, expected: str) -> None:
    async with house.session() as client:
        await client.login()
        assert (await client.message(MESSAGE, mail=mail)).startswith("250")
    [sent] = await house.queued()
    assert f" with {expected} id ".encode() in sent.message.prefix
    assert b"127.0.0.1" not in sent.message.prefix
    assert b"client.example" not in sent.message.prefix


# Real programs, real TLS


async def in_thread(work: Any, *arguments: Any) -> Any:
    return await asyncio.get_running_loop().run_in_executor(None, work, *arguments)


def send(port: int, context: ssl.SSLContext, starttls: bool) -> dict[str, Any]:
    message = EmailMessage()
    message["From"], message["To"], message["Bcc"] = "Anna <anna@example.com>", "x@remote.example", "y@remote.example"
    message["Subject"] = "höflich"
    message.set_content("ein\n.\n..zwei\n" + "x" * 2000 + "\n")
    kind = smtplib.SMTP if starttls else smtplib.SMTP_SSL
    with kind("127.0.0.1", port, timeout=10, **({} if starttls else {"context": context})) as client:
        if starttls:
            with pytest.raises(smtplib.SMTPException):
                client.login("anna", "secret")
            client.starttls(context=context)
        client.login("anna", "secret")
        return client.send_message(message, mail_options=["BODY=8BITMIME"], rcpt_options=["NOTIFY=FAILURE"])


@pytest.mark.parametrize("starttls", [pytest.param(True, id="starttls"), pytest.param(False, id="implicit-tls")])
async def test_smtplib(house: SubmissionHouse, starttls: bool) -> None:
    server = house.server()

    async def serve(connection: Connection) -> None:
        await server.serve(connection)

    async with serving(serve, tls=shared_contexts(), implicit_tls=not starttls) as (_, port):
        assert await in_thread(send, port, client_context(), starttls) == {}
    [sent] = await house.queued()
    assert sent.addresses == ["x@remote.example", "y@remote.example"]
    assert b"y@remote" not in sent.octets
    assert b"\r\n.\r\n..zwei\r\n" in sent.octets


async def test_what_is_injected_before_tls_is_never_acted_on(house: SubmissionHouse) -> None:
    """In one segment with STARTTLS, before the handshake of the honest client that follows."""
    server = house.server()
    seen: list[Principal | None] = []

    async def serve(connection: Connection) -> None:
        await server.serve(connection)
        seen.append(None)

    async with serving(serve, tls=shared_contexts()) as (_, port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert (await reader.readline()).startswith(b"220")
        writer.write(
            b"EHLO a\r\nSTARTTLS\r\nEHLO injected.example\r\nAUTH PLAIN " + PLAIN["bert"].encode() + b"\r\n"
            b"MAIL FROM:<bert@example.com>\r\n"
        )
        async with asyncio.timeout(10):
            while not (await reader.readline()).startswith(b"220 2.0.0"):
                pass
            await writer.start_tls(client_context())
            writer.write(b"MAIL FROM:<bert@example.com>\r\nEHLO b\r\nMAIL FROM:<bert@example.com>\r\nQUIT\r\n")
            said = [line for line in (await reader.read()).split(b"\r\n") if line[3:4] == b" "]
        writer.close()
    assert [line[:9] for line in said] == [b"530 5.7.0", b"250 AUTH ", b"530 5.7.0", b"221 2.0.0"]
    assert await house.queued() == []
    assert (await house.store.counters.get(recipients_key(house.ids["bert"]))).value == 0
