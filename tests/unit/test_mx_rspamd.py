"""rspamd as it is asked, and what becomes of mail by its word: over a short real HTTP server with settable answers."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from multidict import CIMultiDictProxy

from duckmail.clients.http import Http
from duckmail.clients.rspamd import LARGEST, Rspamd
from duckmail.errors import Unavailable
from duckmail.model.envelope import Envelope
from duckmail.model.spam import Judgement
from duckmail.runtime.outward import Outward
from duckmail.services.delivery import Delivery
from duckmail.services.inspection import Inspection
from protocols.lmtp.server import LmtpServer
from protocols.lmtp.settings import LmtpSettings
from tests.support.lmtp import Lmtp
from tests.support.memory import MemoryConnection
from tests.support.mx import CLIENT, MxHouse, message, shared_mx

ANYWHERE = ("0.0.0.0/0", "::/0")
DIRECT = Envelope("a@good.example", "ESMTP", CLIENT, "client.good.example", connection="c1", direct=True)


@dataclass
class Rspamds:
    """`answer`: status and body. `silent`: it waits until the server ends."""

    answer: tuple[int, bytes] = (200, b'{"action": "no action", "score": 0}')
    silent: bool = False
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    asked: list[tuple[str, CIMultiDictProxy[str], bytes]] = field(default_factory=list)
    url: str = ""
    filter: Any = None

    def says(self, action: str, score: float = 0.0) -> None:
        self.answer = (200, json.dumps({"action": action, "score": score}).encode())

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append((request.path, request.headers, await request.read()))
        if self.silent:
            await self.ended.wait()
        status, body = self.answer
        return web.Response(status=status, body=body, content_type="application/json")


@asynccontextmanager
async def open_rspamd(house: MxHouse, seconds: float = 20.0) -> AsyncIterator[Rspamds]:
    made = Rspamds()
    app = web.Application(client_max_size=1 << 22)
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    made.url = f"http://{host}:{port}"
    try:
        async with Http(Outward(ANYWHERE), house.dns, ssl.create_default_context()) as http:
            made.filter = Rspamd(http, made.url, seconds, "mx.example")
            yield made
    finally:
        made.ended.set()
        await runner.cleanup()


@pytest.fixture(scope="module")
async def house(mongo_uri: str) -> AsyncIterator[MxHouse]:
    async with shared_mx(mongo_uri) as opened:
        yield opened


@pytest.fixture
async def rspamd(house: MxHouse) -> AsyncIterator[Rspamds]:
    async with open_rspamd(house) as opened:
        yield opened


async def test_what_it_is_told(house: MxHouse, rspamd: Rspamds) -> None:
    server = house.server(house.reception(spam=rspamd.filter))
    raw = message("told")
    assert (await house.send(raw, "anna@example.com", "bert@example.com", server=server)).startswith("250")
    ((path, headers, body),) = rspamd.asked
    assert (path, body) == ("/checkv2", raw)
    wanted = {"IP": CLIENT, "Helo": "client.good.example", "From": "a@good.example", "MTA-Name": "mx.example"}
    assert {name: headers[name] for name in wanted} == wanted
    assert headers.getall("Rcpt") == ["anna@example.com", "bert@example.com"]


@pytest.mark.parametrize(
    ("action", "reply", "place"),
    [
        ("no action", "250", "INBOX"),
        ("greylist", "451 4.7.1", ""),
        ("soft reject", "451 4.7.1", ""),
        ("add header", "250", "Junk"),
        ("rewrite subject", "250", "Junk"),
        ("reject", "550 5.7.1 This message was found to be spam", ""),
        ("something new", "250", "INBOX"),
    ],
)
async def test_actions(house: MxHouse, rspamd: Rspamds, action: str, reply: str, place: str) -> None:
    rspamd.says(action, 5.5)
    server = house.server(house.reception(spam=rspamd.filter))
    assert (await house.send(message(f"action {action}"), server=server)).startswith(reply)
    found = {path: await house.mailbox("anna", f"action {action}", path) for path in ("INBOX", "Junk")}
    assert {path for path, messages in found.items() if messages} == ({place} if place else set())


async def test_without_its_word_mail_is_taken(house: MxHouse) -> None:
    async with open_rspamd(house, seconds=0.05) as rspamd:
        rspamd.silent = True
        server = house.server(house.reception(spam=rspamd.filter))
        assert (await house.send(message("silent"), server=server)).startswith("250")  # else it would wait for ever
        assert len(await house.mailbox("anna", "silent")) == 1


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param((500, b'{"action": "reject"}'), id="failed"),
        pytest.param((404, b""), id="not-there"),
        pytest.param((200, b""), id="empty"),
        pytest.param((200, b"{"), id="no-json"),
        pytest.param((200, b"[]"), id="no-object"),
        pytest.param((200, b'{"score": 3}'), id="no-action"),
        pytest.param((200, b'{"action": 1}'), id="an-action-that-is-none"),
        pytest.param((200, b'{"action": "reject", "score": "many"}'), id="a-score-that-is-none"),
        pytest.param((200, b'{"action": "reject", "score": NaN}'), id="not-a-number"),
        pytest.param((200, b"[" * 100_000), id="deep"),
        pytest.param((200, b'{"action": "reject", "x": "' + b"x" * LARGEST + b'"}'), id="large"),
    ],
)
async def test_what_cannot_be_read_says_nothing(rspamd: Rspamds, answer: tuple[int, bytes]) -> None:
    rspamd.answer = answer
    with pytest.raises(Unavailable):
        await rspamd.filter.judge(DIRECT, ["anna@example.com"], b"From: x\r\n\r\n")


async def test_nobody_is_there(house: MxHouse) -> None:
    async with open_rspamd(house) as rspamd:
        pass
    async with Http(Outward(ANYWHERE), house.dns, ssl.create_default_context()) as http:
        server = house.server(house.reception(spam=Rspamd(http, rspamd.url, 20, "mx.example")))
        assert (await house.send(message("gone"), server=server)).startswith("250")


async def test_nothing_of_a_client_adds_a_field(rspamd: Rspamds) -> None:
    rspamd.says("no action", 1e300)
    envelope = Envelope("a\r\nRcpt: x@b.example", "ESMTP", "bad\r\nX: y", "h\r\nUser: anna", direct=True)
    found = await rspamd.filter.judge(envelope, ["ü\r\nIP: 127.0.0.1@b"], bytearray(b"x" * 200_000))
    assert found == Judgement("no action", 1e6)
    ((_, headers, body),) = rspamd.asked
    assert not {"IP", "X", "User"} & set(headers)
    assert headers.getall("Rcpt") == ["%C3%BC%0D%0AIP: 127.0.0.1@b"]
    assert body == b"x" * 200_000


async def test_by_lmtp_it_refuses_nothing(house: MxHouse, rspamd: Rspamds) -> None:
    """And is told of the client only what a trusted relay says."""
    delivery = Delivery(
        house.house.store, house.house.pool, inspection=Inspection(None, spam=rspamd.filter), sorter=house.sorter()
    )
    server = LmtpServer(LmtpSettings("mx.example"), delivery, house.house.budget, lambda _: True)
    for action, place in (("reject", "Junk"), ("soft reject", "Junk"), ("no action", "INBOX")):
        rspamd.says(action)
        connection = MemoryConnection()
        task = asyncio.get_running_loop().create_task(server.serve(connection))  # type: ignore[arg-type]
        client = Lmtp(connection)
        await client.send("LHLO relay.example", f"XFORWARD ADDR={CLIENT} HELO=x.example", "MAIL FROM:<a@good.example>")
        await client.send("RCPT TO:<anna@example.com>", "DATA")
        await client.replies("220", "250", "250", "250", "250", "354")
        await client.octets(message(f"lmtp {action}") + b".\r\nQUIT\r\n")
        await client.replies("250 2.0.0", "221")
        await task
        assert len(await house.mailbox("anna", f"lmtp {action}", place)) == 1
    assert [headers.get("IP") for _, headers, _ in rspamd.asked] == [None] * 3
