"""The MX listener and clients that mean harm: cuts, smuggling, injection, slow and greedy ones."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.memory import MemoryClient, MemoryConnection, MemoryPeer
from tests.support.mx import STRANGER, MxHouse, message, shared_mx

WAIT = 20.0
# All that could be taken in two ways, in one stream: what is a command, what is message, where that ends.
STREAM = (
    b"EHLO client.example\r\nMAIL FROM:<a@none.example>\r\nRCPT TO:<x@remote.example>\r\nRCPT TO:<bert@example.com>\r\n"
    b"DATA\r\nFrom: a@none.example\r\n\r\nx\r\n..\r\n.x\r\n.\n.\r.\r\n\n.\r\nMAIL FROM:<b@none.example>\r\n.\r\n"
    b"NOOP\nQUIT\r\nBDAT 6\r\nQUIT\r\nMAIL FROM:<a@none.example> BODY=BINARYMIME\r\nRCPT TO:<nobody@example.com>\r\n"
    b"RCPT TO:<bert@example.com>\r\nBDAT 29\r\nFrom: a@none.example\r\n\r\n.\r\nX\nBDAT 3 LAST\r\n\r.\n"
    + b"RCPT "
    + b"x" * 5000
    + b"\r\nNO\0OP\r\nQUIT\r\n"
)
_ID = re.compile(rb"id=[0-9a-f]{24}")


@pytest.fixture(scope="module")
async def house(mongo_uri: str) -> AsyncIterator[MxHouse]:
    async with shared_mx(mongo_uri) as opened:
        yield opened


async def said(house: MxHouse, pieces: Sequence[bytes]) -> bytes:
    """What the server answers to `pieces`, one after the other, to the end of the connection."""
    connection = MemoryConnection(peer=MemoryPeer(STRANGER))
    task = asyncio.get_running_loop().create_task(house.server().serve(connection))  # type: ignore[arg-type]
    client = MemoryClient(connection)
    try:
        for piece in pieces:
            await client.send(piece)
            for _ in range(3):
                await asyncio.sleep(0)
        client.end()
        await asyncio.wait_for(task, WAIT)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return _ID.sub(b"id=", bytes(connection.outgoing.buffer))


@pytest.fixture(scope="module")
async def whole(house: MxHouse) -> bytes:
    answered = await said(house, [STREAM])
    codes = [line[:3] for line in answered.splitlines() if line[3:4] == b" "]
    # Greeting, EHLO, MAIL, two RCPT, DATA and its end, NOOP with a bare LF, BDAT out of order, MAIL, two RCPT, two
    # chunks, a line too long, a NUL, QUIT.
    assert b" ".join(codes) == b"220 250 250 550 250 354 550 500 503 250 550 250 250 250 500 500 221"
    return answered


async def test_octet_by_octet(house: MxHouse, whole: bytes) -> None:
    assert await said(house, [STREAM[at : at + 1] for at in range(len(STREAM))]) == whole


async def test_any_cut_gives_the_same(house: MxHouse, whole: bytes) -> None:
    loop = asyncio.get_running_loop()

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(st.integers(1, len(STREAM) - 1), max_size=12))
    def cut(places: list[int]) -> None:
        ends = [*sorted(set(places)), len(STREAM)]
        pieces = [STREAM[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
        assert asyncio.run_coroutine_threadsafe(said(house, pieces), loop).result(WAIT) == whole

    await asyncio.to_thread(cut)


@pytest.mark.parametrize(
    ("helo", "name"),
    [
        ("x) by bank.example (y", "unknown"),
        ("x;", "unknown"),
        ("[1.2.3.4] (x", "unknown"),
        ("ü.example", "unknown"),
        ("x" * 255, "x" * 255),
        ("[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
    ],
)
async def test_no_name_writes_our_trace_fields(house: MxHouse, helo: str, name: str) -> None:
    subject = f"helo {len(helo)} {helo.isascii()} {helo[:2].isalpha()} {'(' in helo}"
    async with house.session(host=STRANGER) as client:
        await client.send(f"EHLO {helo}", "MAIL FROM:<a@none.example>", "RCPT TO:<anna@example.com>", "DATA")
        await client.replies("220", "250", "250", "250", "354")
        await client.octets(message(subject, "a@none.example") + b".\r\n")
        await client.replies("250")
    (found,) = await house.mailbox("anna", subject)
    header = found[: found.index(b"\r\n\r\n")]
    assert f"\r\nReceived: from {name} ([8.8.8.8])\r\n\tby mx.example".encode() in header
    names = [line.partition(b":")[0] for line in re.sub(rb"\r\n[ \t]", b" ", header).split(b"\r\n")]
    assert names == [
        *(b"Return-Path", b"Delivered-To", b"Authentication-Results", b"Received-SPF", b"Received"),
        *(b"From", b"To", b"Subject", b"Message-ID"),
    ]


@pytest.mark.parametrize(
    "line",
    [
        b"EHLO x\ry\r\n",
        b"EHLO x\ny\r\n",
        b"MAIL FROM:<a@b.example>\nRCPT TO:<anna@example.com>\r\n",
        b"MAIL FROM:<a\r@b.example>\r\n",
        b'MAIL FROM:<"a\0"@b.example>\r\n',
        b"MAIL FROM:<a@b.example> ENVID=a+0D+0ABcc:+20x\r\n",
        b"MAIL FROM:<a@b.example> RET=FULL+0A\r\n",
    ],
)
async def test_no_command_hides_in_another(house: MxHouse, line: bytes) -> None:
    async with house.session(host=STRANGER) as client:
        await client.send("EHLO x.example")
        await client.replies("220", "250")
        await client.octets(line)
        assert (await client.reply())[:3] in {"500", "501"}
        assert await client.silent()
        assert (await client.ask("RCPT TO:<anna@example.com>")).startswith("503")


async def test_a_client_that_says_nothing(house: MxHouse) -> None:
    async with house.session(house.server(command_timeout=0.05)) as client:  # it would stay for ever
        await client.replies("220", "421 4.4.2", "")


async def test_message_octets_that_stop_or_drip(house: MxHouse) -> None:
    for limits in ({"data_timeout": 0.05}, {"message_timeout": 0.05}):
        async with house.session(house.server(**limits)) as client:
            await client.send("EHLO x", "MAIL FROM:<a@b.example>", "RCPT TO:<anna@example.com>", "DATA", "Subject: cut")
            await client.replies("220", "250", "250", "250", "354", "421 4.4.2", "")
    assert await house.mailbox("anna", "cut") == []


async def test_the_end_of_the_stream_is_not_the_end_of_the_data(house: MxHouse) -> None:
    async with house.session() as client:
        await client.send("EHLO x", "MAIL FROM:<a@b.example>", "RCPT TO:<anna@example.com>", "DATA")
        await client.octets(message("no dot"))
        client.end()
        await client.replies("220", "250", "250", "250", "354", "")
    assert await house.mailbox("anna", "no dot") == []


async def test_a_client_that_never_reads(house: MxHouse) -> None:
    async with house.session(house.server(write_timeout=0.1)) as client:
        sending = asyncio.get_running_loop().create_task(client.octets(b"NOOP\r\n" * 500_000))
        await asyncio.wait_for(client.connection.closing.wait(), WAIT)
        await sending
    assert len(client.connection.outgoing.buffer) < 1_000_000


async def test_a_header_that_never_ends(house: MxHouse) -> None:
    raw = b"X: " + b"x" * 300_000 + b"\r\n"
    assert (await house.send(raw)).startswith("554 5.6.0 The header section is too long")


async def test_a_long_header_full_of_our_name(house: MxHouse) -> None:
    more = "Authentication-Results: mx.example; dkim=pass\r\n" * 4000
    assert (await house.send(message("full", more=more))).startswith("250")
    (found,) = await house.mailbox("anna", "full")
    assert found.count(b"Authentication-Results: mx.example") == 1


async def test_more_than_was_declared(house: MxHouse) -> None:
    server = house.server(size_limit=200_000)
    assert (await house.send(b"X: x\r\n\r\n" + b"x\r\n" * 100_000, server=server)).startswith("552 5.3.4")
