"""Messages posted to targets of HTTP."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from aiohttp import web

from duckmail.clients.poster import HttpPoster
from duckmail.model.queue import Letter, OutboundEnvelope, Outcome, QueueRecipient
from tests.unit.test_clients_http import LOOPBACK, Site, opened, site

OCTETS = b"Subject: x\r\n\r\n\xff\x00raw\r\n"


class Octets:
    size = len(OCTETS)

    async def read(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        for position in range(0, len(OCTETS), 5):
            yield OCTETS[position : position + 5]


PREFIX = b"Received: by x\r\n"
LETTER = Letter(OutboundEnvelope("w@away.test"), len(PREFIX) + len(OCTETS), PREFIX, Octets(), "65f0")
TO = [QueueRecipient("team@example.com"), QueueRecipient("bücher,x@example.com")]


async def post(server: Site, letter: Letter = LETTER, path: str = "/in?k=1") -> list[Outcome]:
    async with opened(None, LOOPBACK) as http:
        return await HttpPoster(http).post(server.url(path), letter, TO)


async def test_the_message_is_posted_as_it_is() -> None:
    async with site() as server:
        outcomes = await post(server)
    assert [(each.address, each.code, each.accepted) for each in outcomes] == [(one.address, 250, True) for one in TO]
    assert server.seen == [("POST", "/in?k=1", PREFIX + OCTETS)]
    (headers,) = server.headers
    assert headers["Content-Type"] == "message/rfc822"
    assert headers["X-Envelope-From"] == "w@away.test"
    assert headers["X-Envelope-To"] == "team@example.com, b%C3%BCcher%2Cx@example.com"
    assert headers["X-Queue-Id"] == "65f0"


@pytest.mark.parametrize(
    ("status", "code"),
    [(200, 250), (204, 250), (302, 451), (400, 550), (404, 550), (408, 451), (410, 550), (429, 451), (500, 451)],
)
async def test_what_answers_mean(status: int, code: int) -> None:
    async with site() as server:
        server.answer = lambda _: web.Response(status=status, headers={"Location": "/x"} if status == 302 else {})
        outcomes = await post(server)
    assert [each.code for each in outcomes] == [code, code]
    assert outcomes[0].text == f"HTTP {status}"


async def test_a_target_that_is_not_permitted_is_tried_later() -> None:
    async with site() as server, opened() as http:
        outcomes = await HttpPoster(http).post(server.url(), LETTER, TO)
    assert (server.seen, {(each.code, each.permanent) for each in outcomes}) == ([], {(0, False)})


async def test_what_requires_tls_is_not_posted_without() -> None:
    async with site() as server:
        letter = replace(LETTER, envelope=OutboundEnvelope("w@away.test", requiretls=True))
        outcomes = await post(server, letter)
    assert (server.seen, outcomes[0].code, outcomes[0].status) == ([], 550, "5.7.30")
