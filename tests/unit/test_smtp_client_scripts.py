"""The SMTP client against servers that do what servers do: each a script, each ending in a clear outcome."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from duckmail.errors import Unavailable
from duckmail.model.queue import Destination, Letter, Notify, Outcome, QueueRecipient
from duckmail.runtime.outward import Outward
from protocols.net.outgoing import Outgoing
from protocols.net.tls import server_context
from protocols.smtp.client import SmtpCourier
from protocols.smtp.client_connection import Failed, SmtpConnection
from protocols.smtp.client_settings import SmtpClientSettings
from protocols.smtp.client_transaction import transact
from tests.support.letters import MESSAGE, Pieces, Resolver, contexts, courier, letter, recipients
from tests.support.net import make_certificate, on_both_loops, shared_contexts
from tests.support.smtp_script import ScriptedServer, scripted

FIVE = [f"{name}@d.example" for name in "abcde"]
WIRE = MESSAGE.replace(b"\r\n.", b"\r\n..") + b".\r\n"

HELLO = """
S: 220 mx.example ESMTP
C= EHLO client.example
S: 250 mx.example
"""
PIPELINING = """
S: 220 mx.example ESMTP
C= EHLO client.example
S: 250-mx.example
S: 250 PIPELINING
"""
ENVELOPE = """
C= MAIL FROM:<a@b.example>
S: 250 ok
C= RCPT TO:<c@d.example>
S: 250 ok
C= DATA
"""
SENT = """
S: 354 go on
DATA
S: 250 2.6.0 <1@mx.example> queued
C= QUIT
S: 221 bye
"""


async def send(
    server: ScriptedServer,
    message: Letter | None = None,
    to: Sequence[QueueRecipient] | None = None,
    tls: str = "may",
    settings: dict[str, Any] | None = None,
    **destination: Any,
) -> list[Outcome]:
    target = Destination("mx.example", server.port, tls, **destination)
    return await courier(**(settings or {})).send(target, message or letter(), recipients() if to is None else to)


async def outcome(server: ScriptedServer, **arguments: Any) -> Outcome:
    [one] = await send(server, **arguments)
    return one


# What goes well


@pytest.mark.parametrize("octets", [0, 1, 5], ids=["whole-lines", "octet-by-octet", "five-by-five"])
@pytest.mark.parametrize("hello", [HELLO, PIPELINING], ids=["step-by-step", "pipelined"])
async def test_a_message_is_sent(hello: str, octets: int) -> None:
    replies = "S: 250 ok\nS: 250 ok\n" if hello == PIPELINING else ""
    script = hello + (
        "C= MAIL FROM:<a@b.example>\nC= RCPT TO:<c@d.example>\nC= DATA\n" + replies if replies else ENVELOPE
    )
    async with scripted(script + SENT, octets=octets) as server:
        got = await outcome(server)
    assert got == Outcome("c@d.example", 250, "2.6.0", "<1@mx.example> queued", "mx.example")
    assert server.messages == [WIRE]


@on_both_loops
async def test_on_either_loop() -> None:
    async with scripted(HELLO + ENVELOPE + SENT) as server:
        assert (await outcome(server)).accepted
        assert server.messages == [WIRE]


async def test_without_ehlo_there_is_helo() -> None:
    script = f"""
        S: 220 old.example
        C= EHLO client.example
        S: 502 what?
        C= HELO client.example
        S: 250 old.example
        {ENVELOPE}{SENT}
    """
    async with scripted(script) as server:
        assert (await outcome(server)).accepted


async def test_a_greeting_may_have_several_lines() -> None:
    script = HELLO.replace("S: 220 mx", "S: 220-no spam\nS: 220 mx")
    async with scripted(script + ENVELOPE + SENT) as server:
        assert (await outcome(server)).accepted


async def test_prefix_and_pieces_are_one_message() -> None:
    octets = b"".join(b"%d\r\n.%s\r\n" % (number, b"x" * 100) for number in range(4_000))
    assert len(octets) > 5 * 65536
    async with scripted(HELLO + ENVELOPE + SENT) as server:
        message = letter(prefix=b"Received: x\r\n")
        message = Letter(message.envelope, 0, message.prefix, Pieces(octets, piece=10_001))
        assert (await outcome(server, message=message)).accepted
    assert server.messages == [b"Received: x\r\n" + octets.replace(b"\r\n.", b"\r\n..") + b".\r\n"]


async def test_bare_line_ends_do_not_leave() -> None:
    async with scripted(HELLO + ENVELOPE + SENT) as server:
        assert (await outcome(server, message=letter(b"a\n.\nMAIL FROM:<x@y>\r.\rz"))).accepted
    assert server.messages == [b"a\r\n..\r\nMAIL FROM:<x@y>\r\n..\r\nz\r\n.\r\n"]


async def test_parameters_of_what_is_offered() -> None:
    script = """
        S: 220 mx.example
        C= EHLO client.example
        S: 250-mx.example
        S: 250-SIZE 1000
        S: 250-8BITMIME
        S: 250-SMTPUTF8
        S: 250-DSN
        S: 250 PIPELINING
        C= MAIL FROM:<a@b.example> SIZE=51 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x+2By
        C= RCPT TO:<ü@d.example> NOTIFY=SUCCESS ORCPT=rfc822;c+40d
        C= DATA
        S: 250 ok
        S: 250 2.1.5 ok
    """
    recipient = QueueRecipient("ü@d.example", Notify.SUCCESS, "rfc822;c+40d")
    message = letter(body="8BITMIME", ret="HDRS", envid="x+2By")
    async with scripted(script + SENT) as server:
        got = await outcome(server, message=message, to=[recipient])
    assert got.accepted
    assert got.dsn


async def test_many_recipients_go_in_portions() -> None:
    many = [f"r{number}@d.example" for number in range(250)]
    commands = ["MAIL FROM:<a@b.example>", *(f"RCPT TO:<{address}>" for address in many), "DATA"]
    script = PIPELINING
    for start in range(0, len(commands), 100):
        portion = commands[start : start + 100]
        script += "".join(f"C= {command}\n" for command in portion) + ("QUIET 0.1\n" if not start else "")
        script += "".join("S: 354 go on\n" if command == "DATA" else "S: 250 ok\n" for command in portion)
    async with scripted(script + SENT.replace("S: 354 go on", "")) as server:
        got = await send(server, to=recipients(*many))
    assert [one.address for one in got if one.accepted] == many


async def test_no_recipients_need_no_server() -> None:
    async with scripted() as server:
        assert await send(server, to=[]) == []
    assert server.connections == 0


async def test_a_connection_takes_several_messages() -> None:
    again = ENVELOPE.replace("C= RCPT TO:<c@d.example>\nS: 250 ok", "C= RCPT TO:<c@d.example>\nS: 550 no")
    again = again.replace("C= DATA", "C= RSET\nS: 250 ok")
    async with scripted(HELLO + again + ENVELOPE + SENT) as server:
        settings = SmtpClientSettings("client.example")
        wire = await Outgoing.dial("127.0.0.1", server.port, 2)
        connection = SmtpConnection(wire, "mx.example", settings, asyncio.get_running_loop().time() + 10)
        await connection.greet()
        await connection.hello()
        [refused] = await transact(connection, letter(), recipients())
        await connection.reset()
        [taken] = await transact(connection, letter(), recipients())
        connection.quit()
    assert (refused.code, taken.code) == (550, 250)


# Refusals


@pytest.mark.parametrize(
    ("script", "code", "status", "text"),
    [
        pytest.param("S: 421 4.3.2 not now\nC= QUIT", 421, "4.3.2", "not now", id="421-greeting"),
        pytest.param("S: 554 no mail here\nC= QUIT", 554, "5.0.0", "no mail here", id="554-greeting"),
        pytest.param("S: 450 4.7.1 later\nC= QUIT", 450, "4.7.1", "later", id="450-greeting"),
        pytest.param("S: 220 hi\nC: EHLO\nS: 550 5.7.1 not you\nC= QUIT", 550, "5.7.1", "not you", id="ehlo-refused"),
        pytest.param(
            "S: 220 hi\nC: EHLO\nS: 500 no\nC: HELO\nS: 451 no\nC= QUIT", 451, "4.0.0", "no", id="helo-refused"
        ),
        pytest.param(HELLO + "C: MAIL\nS: 451 4.3.0 full\nC= QUIT", 451, "4.3.0", "full", id="mail-deferred"),
        pytest.param(
            HELLO + "C: MAIL\nS: 553-5.1.8 a\nS: 553 5.1.8 b\nC= QUIT", 553, "5.1.8", "a b", id="mail-refused"
        ),
        pytest.param(HELLO + "C: MAIL\nS: 250 ok\nC: RCPT\nS: 450 4.2.0 x\nC= QUIT", 450, "4.2.0", "x", id="rcpt-4xx"),
        pytest.param(HELLO + "C: MAIL\nS: 250 ok\nC: RCPT\nS: 550 5.1.1 x\nC= QUIT", 550, "5.1.1", "x", id="rcpt-5xx"),
        pytest.param(HELLO + "C: MAIL\nS: 250 ok\nC: RCPT\nS: 552 full\nC= QUIT", 452, "4.5.3", "full", id="rcpt-552"),
        pytest.param(
            HELLO + "C: MAIL\nS: 250 ok\nC: RCPT\nS: 552 5.2.2 x\nC= QUIT", 552, "5.2.2", "x", id="rcpt-552-over-quota"
        ),
        pytest.param(HELLO + ENVELOPE + "S: 451 no\nC= QUIT", 451, "4.0.0", "no", id="data-deferred"),
        pytest.param(
            HELLO + ENVELOPE + "S: 354 go\nDATA\nS: 554 5.6.0 spam\nC= QUIT", 554, "5.6.0", "spam", id="dot-5xx"
        ),
        pytest.param(HELLO + ENVELOPE + "S: 354 go\nDATA\nS: 452 4.3.1 x\nC= QUIT", 452, "4.3.1", "x", id="dot-4xx"),
        pytest.param(HELLO + "C: MAIL\nS: 421 4.3.2 bye\nCLOSE", 421, "4.3.2", "bye", id="421-to-mail"),
        pytest.param(HELLO + ENVELOPE + "S: 421 4.3.2 bye\nCLOSE", 421, "4.3.2", "bye", id="421-to-data"),
        pytest.param(HELLO + ENVELOPE + "S: 354 go\nDATA\nS: 421 bye\nCLOSE", 421, "4.0.0", "bye", id="421-to-the-dot"),
    ],
)
async def test_refusals(script: str, code: int, status: str, text: str) -> None:
    # Nothing of a script is left when the client hangs up at 421.
    script = script.replace("421 4.3.2 not now\nC= QUIT", "421 4.3.2 not now")
    async with scripted(script) as server:
        got = await outcome(server)
    assert replace(got, early=False) == Outcome("c@d.example", code, status, text, "mx.example")
    assert got.early == ("MAIL" not in script), "what is said before MAIL is about the server"


HALF = """
C= MAIL FROM:<a@b.example>
C= RCPT TO:<a@d.example>
C= RCPT TO:<b@d.example>
C= RCPT TO:<c@d.example>
C= RCPT TO:<d@d.example>
C= RCPT TO:<e@d.example>
C= DATA
S: 250 ok
S: 250 ok
S: 550 5.1.1 unknown
S: 250 ok
S: 450 4.2.1 greylisted
S: 251 will forward
"""


async def test_half_of_the_recipients_are_refused() -> None:
    async with scripted(PIPELINING + HALF + SENT) as server:
        got = await send(server, to=recipients(*FIVE))
    assert [(one.address, one.code, one.status) for one in got] == [
        ("a@d.example", 250, "2.6.0"),
        ("b@d.example", 550, "5.1.1"),
        ("c@d.example", 250, "2.6.0"),
        ("d@d.example", 450, "4.2.1"),
        ("e@d.example", 250, "2.6.0"),
    ]
    assert server.messages == [WIRE]


async def test_half_are_refused_and_the_answer_to_the_dot_never_comes() -> None:
    async with scripted(PIPELINING + HALF + "S: 354 go\nDATA\nCLOSE") as server:
        got = await send(server, to=recipients(*FIVE))
    assert [(one.code, one.status, one.ambiguous) for one in got] == [
        (0, "4.4.2", True),
        (550, "5.1.1", False),
        (0, "4.4.2", True),
        (450, "4.2.1", False),
        (0, "4.4.2", True),
    ]


async def test_421_among_pipelined_replies_ends_it_for_the_rest() -> None:
    script = PIPELINING + "".join(line + "\n" for line in HALF.splitlines() if line.startswith("C"))
    async with scripted(script + "S: 250 ok\nS: 250 ok\nS: 550 5.1.1 no\nS: 421 4.7.0 too many\nCLOSE") as server:
        got = await send(server, to=recipients(*FIVE))
    assert [one.code for one in got] == [421, 550, 421, 421, 421]


NOBODY = """
C= MAIL FROM:<a@b.example>
C= RCPT TO:<c@d.example>
C= DATA
S: 250 ok
S: 550 5.1.1 unknown
"""


async def test_354_although_nobody_was_accepted() -> None:
    script = PIPELINING + NOBODY + "S: 354 go on\nDATA\nS: 554 no valid recipients\nC= QUIT"
    async with scripted(script) as server:
        got = await outcome(server)
    assert (got.code, got.status) == (550, "5.1.1")
    assert server.messages == [b".\r\n"]


async def test_pipelined_refusals_keep_the_replies_in_step() -> None:
    async with scripted(PIPELINING + NOBODY + "S: 503 5.5.1 no recipients\nC= QUIT") as server:
        assert (await outcome(server)).status == "5.1.1"
    script = PIPELINING + NOBODY.replace("S: 250 ok\nS: 550 5.1.1 unknown", "S: 553 5.1.8 bad sender\nS: 503 no")
    async with scripted(script + "S: 503 no\nC= QUIT") as server:
        assert (await outcome(server)).status == "5.1.8"


# Servers that break


@pytest.mark.parametrize(
    ("script", "status", "ambiguous"),
    [
        pytest.param("CLOSE", "4.4.2", False, id="closes-at-once"),
        pytest.param("RESET", "4.4.2", False, id="resets-at-once"),
        pytest.param("HANG", "4.4.2", False, id="no-greeting"),
        pytest.param("S+ 220 half", "4.4.2", False, id="half-a-greeting"),
        pytest.param("S: HTTP/1.1 400 Bad Request", "4.5.0", False, id="another-protocol"),
        pytest.param("S+ 220 a\\0b\\r\\n", "4.5.0", False, id="nul"),
        pytest.param("S* 300000 x\nHANG", "4.5.0", False, id="endless-line"),
        pytest.param("S* 30000 220-x\\r\\n\nHANG", "4.5.0", False, id="endless-reply"),
        pytest.param("S: 220 hi\nC: EHLO\nCLOSE", "4.4.2", False, id="dies-at-ehlo"),
        pytest.param("S: 220 hi\nC: EHLO\nHANG", "4.4.2", False, id="hangs-at-ehlo"),
        pytest.param("S: 220 hi\nC: EHLO\nS* 30000 250-x\\r\\n\nHANG", "4.5.0", False, id="endless-ehlo"),
        pytest.param(HELLO + "C: MAIL\nS: 354 go on\nHANG", "4.5.0", False, id="354-to-mail"),
        pytest.param(HELLO + "C: MAIL\nS: 250 ok\nC: RCPT\nS: 334 what\nHANG", "4.5.0", False, id="334-to-rcpt"),
        pytest.param(HELLO + ENVELOPE + "S: 250 ok\nHANG", "4.5.0", False, id="250-to-data"),
        pytest.param(HELLO + ENVELOPE + "CLOSE", "4.4.2", False, id="dies-at-data"),
        pytest.param(HELLO + ENVELOPE + "S: 354 go\nDATA\nCLOSE", "4.4.2", True, id="dies-before-the-answer"),
        pytest.param(HELLO + ENVELOPE + "S: 354 go\nDATA\nRESET", "4.4.2", True, id="resets-before-the-answer"),
        pytest.param(HELLO + ENVELOPE + "S: 354 go\nDATA\nHANG", "4.4.2", True, id="hangs-before-the-answer"),
        pytest.param(HELLO + ENVELOPE + "S: 354 go\nDATA\nS: ???\nHANG", "4.5.0", True, id="garbage-for-an-answer"),
        pytest.param(HELLO + ENVELOPE + "S: 354 go\nDATA\nS: 354 more\nHANG", "4.5.0", True, id="354-for-an-answer"),
    ],
)
async def test_broken_servers(script: str, status: str, ambiguous: bool) -> None:
    settings = {"greeting_timeout": 0.5, "command_timeout": 0.5, "data_timeout": 0.5, "end_timeout": 0.5}
    # The endless ones are left within their words.
    async with scripted(script, leaves="S*" in script) as server:
        got = await outcome(server, settings=settings)
    assert (got.code, got.status, got.ambiguous) == (0, status, ambiguous)
    assert got.text
    assert len(got.text) < 1200


BIG = b"x" * 98 + b"\r\n"


async def test_a_server_that_refuses_within_the_data_is_believed() -> None:
    script = HELLO + ENVELOPE + "S: 354 go on\nWAIT 0.1\nS: 552 5.3.4 too large\nHANG"
    async with scripted(script) as server:
        got = await outcome(server, message=letter(BIG * 300_000), settings={"block_timeout": 5.0})
    assert got == Outcome("c@d.example", 552, "5.3.4", "too large", "mx.example")


@pytest.mark.parametrize("end", ["CLOSE", "RESET"])
async def test_a_server_that_dies_within_the_data_does_not_have_the_message(end: str) -> None:
    async with scripted(HELLO + ENVELOPE + f"S: 354 go on\nWAIT 0.1\n{end}") as server:
        # Far more than a crowded machine takes into its buffers in the meantime.
        got = await outcome(server, message=letter(BIG * 2_000_000))
    assert (got.code, got.status, got.ambiguous) == (0, "4.4.2", False)


async def test_a_server_that_takes_nothing_is_left() -> None:
    read: list[int] = []
    message = Letter(letter().envelope, 0, b"", Pieces(BIG * 300_000, before=read.append))
    async with scripted(HELLO + ENVELOPE + "S: 354 go on\nWAIT 1.5") as server:
        got = await outcome(server, message=message, settings={"block_timeout": 0.3})
    # No more was read than the buffers on the way hold.
    assert read[-1] < 25_000_000
    assert (got.code, got.status, got.ambiguous) == (0, "4.4.2", False)


async def test_one_message_has_one_deadline() -> None:
    slow = "S: 220-x\nWAIT 0.3\n" * 1000  # five minutes
    async with scripted(slow, leaves=True) as server:
        got = await outcome(server, settings={"message_timeout": 0.5})
    assert (got.code, got.status) == (0, "4.4.2")


async def test_a_reply_has_one_deadline_however_it_drips() -> None:
    async with scripted("S: 220-x\nWAIT 0.3\n" * 5, leaves=True) as server:
        got = await outcome(server, settings={"greeting_timeout": 0.5})
    assert (got.code, got.status) == (0, "4.4.2")


async def test_content_that_cannot_be_read_never_ends_the_message() -> None:
    def fail(start: int) -> None:
        if start:
            raise Unavailable("no database")

    message = letter()
    message = Letter(message.envelope, 300_000, b"", Pieces(BIG * 3000, piece=100_000, before=fail))
    async with scripted(HELLO + ENVELOPE + "S: 354 go on\nDATA", leaves=True) as server:
        with pytest.raises(Unavailable):
            await send(server, message)
    assert server.messages == []
    # The server was left without the final dot, nor any command that it would take for data.
    assert server.unfinished == [BIG * 1000]


async def test_cancelled_it_leaves_the_server() -> None:
    async with scripted(HELLO + ENVELOPE + "HANG") as server:
        task = asyncio.get_running_loop().create_task(send(server))
        while not (server.commands and server.commands[0][-1:] == ["DATA"]):
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


# What a server cannot take is not sent to it


@pytest.mark.parametrize(
    ("offered", "message", "code", "status"),
    [
        pytest.param("SIZE 50", letter(), 552, "5.3.4", id="too-large"),
        pytest.param("PIPELINING", letter(b"\xff", body="8BITMIME"), 554, "5.6.3", id="8bit"),
        pytest.param("PIPELINING", letter(b"", b"\xff", body="8BITMIME"), 554, "5.6.3", id="8bit-in-the-prefix"),
        pytest.param("8BITMIME", letter(body="BINARYMIME"), 554, "5.6.3", id="binary"),
        pytest.param("8BITMIME", letter(smtputf8=True), 550, "5.6.7", id="smtputf8"),
        pytest.param("8BITMIME", letter(sender="ü@b.example"), 550, "5.6.7", id="sender-needs-smtputf8"),
        pytest.param("8BITMIME", letter(sender="a@b>"), 553, "5.1.7", id="bad-sender"),
        pytest.param("DSN", letter(envid="a b"), 501, "5.5.4", id="bad-envid"),
    ],
)
async def test_not_sent(offered: str, message: Letter, code: int, status: str) -> None:
    script = f"S: 220 hi\nC: EHLO\nS: 250-mx.example\nS: 250 {offered}\nC= QUIT"
    async with scripted(script) as server:
        got = await outcome(server, message=message)
    assert (got.code, got.status, got.host) == (code, status, "")


async def test_8bitmime_for_ascii_needs_no_8bitmime() -> None:
    async with scripted(HELLO + ENVELOPE + SENT) as server:
        assert (await outcome(server, message=letter(body="8BITMIME"))).accepted


async def test_bad_recipients_hold_up_nobody() -> None:
    bad = ["x@d.example>\r\nRCPT TO:<y@d.example", "ü@d.example", "c@d.example", ""]
    async with scripted(HELLO + ENVELOPE + SENT) as server:
        got = await send(server, to=recipients(*bad))
    assert [(one.address, one.status) for one in got] == list(
        zip(bad, ["5.1.3", "5.6.7", "2.6.0", "5.1.3"], strict=True)
    )


async def test_bad_recipients_alone_are_not_sent_for() -> None:
    async with scripted(HELLO + "C= QUIT") as server:
        assert [one.status for one in await send(server, to=recipients("x y@d.example"))] == ["5.1.3"]


# TLS

OFFER = """
S: 220 mx.example ESMTP
C= EHLO client.example
S: 250-mx.example
S: 250 STARTTLS
C= STARTTLS
"""
UNDER_TLS = "TLS 220 go\nC= EHLO client.example\nS: 250 mx.example\n"


async def test_opportunistic_tls() -> None:
    async with scripted(OFFER + UNDER_TLS + ENVELOPE + SENT, context=shared_contexts().server) as server:
        assert (await outcome(server)).accepted


@on_both_loops
async def test_tls_on_either_loop() -> None:
    async with scripted(OFFER + UNDER_TLS + ENVELOPE + SENT, context=shared_contexts().server) as server:
        assert (await outcome(server)).accepted


async def test_what_was_offered_in_plaintext_is_forgotten() -> None:
    offer = OFFER.replace("S: 250-mx.example", "S: 250-mx.example\nS: 250-PIPELINING\nS: 250-SIZE 1")
    async with scripted(offer + UNDER_TLS + ENVELOPE + SENT, context=shared_contexts().server) as server:
        assert (await outcome(server)).accepted


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param("S: 220 go\nS: 220 this is no TLS", id="garbage-behind-220"),
        pytest.param("S: 220 go\nCLOSE", id="closes"),
        pytest.param("S: 220 go\nHANG", id="hangs"),
    ],
)
async def test_broken_starttls_goes_on_in_plaintext(answer: str) -> None:
    # What comes with the 220 is another thing: see below.
    answer = answer.replace("go\nS:", "go\nWAIT 0.2\nS:")
    async with scripted(OFFER + answer, HELLO + ENVELOPE + SENT) as server:
        assert (await outcome(server, settings={"tls_timeout": 0.5})).accepted
    assert server.connections == 2


@pytest.mark.parametrize("answer", ["454 not now", "502 never"])
async def test_refused_starttls_goes_on_in_plaintext(answer: str) -> None:
    async with scripted(OFFER + f"S: {answer}" + ENVELOPE + SENT) as server:
        assert (await outcome(server)).accepted


@pytest.mark.parametrize("tls", ["may", "verify"])
@pytest.mark.parametrize("octets", [b"250 injected\\r\\n", b"2", b"\\x16\\x03"])
async def test_starttls_injection(tls: str, octets: bytes) -> None:
    async with scripted(OFFER + f"S+ 220 go\\r\\n{octets.decode()}\nHANG") as server:
        got = await outcome(server, tls=tls)
    assert (got.code, got.status) == (0, "4.5.0")
    assert server.connections == 1


@pytest.mark.parametrize(
    ("script", "status"),
    [
        pytest.param(HELLO + "C= QUIT", "4.7.4", id="not-offered"),
        pytest.param(OFFER + "S: 454 not now\nC= QUIT", "4.7.4", id="refused"),
        pytest.param(OFFER + "TLS 220 go", "4.7.5", id="not-trusted"),
        pytest.param(OFFER + "S: 220 go\nCLOSE", "4.7.5", id="broken"),
        pytest.param("S: 220 old\nC: EHLO\nS: 502 what\nC: HELO\nS: 250 x\nC= QUIT", "4.7.4", id="no-ehlo"),
    ],
)
async def test_no_verified_tls_is_temporary(script: str, status: str) -> None:
    async with scripted(script, context=shared_contexts().server, leaves="TLS" in script) as server:
        got = await outcome(server, tls="verify")
    assert (got.code, got.status) == (0, status)


async def test_never_is_never() -> None:
    script = OFFER.replace("C= STARTTLS", "")
    async with scripted(script + ENVELOPE + SENT) as server:
        assert (await outcome(server, tls="never")).accepted


async def test_verified_tls(tmp_path: Path) -> None:
    files = make_certificate(tmp_path, "mx.example")
    context = server_context(files)
    settings = {"authorities": files.certificate}
    async with scripted(OFFER + UNDER_TLS + ENVELOPE + SENT, context=context) as server:
        assert (await outcome(server, tls="verify", settings=settings)).accepted
    async with scripted("TLS\n" + HELLO + ENVELOPE + SENT, context=context) as server:
        assert (await outcome(server, tls="implicit", settings=settings)).accepted
    # Another name is another server.
    async with scripted(OFFER + "TLS 220 go", context=context, leaves=True) as server:
        target = Destination("other.example", server.port, "verify")
        hosts = {"other.example": ["127.0.0.1"]}
        [got] = await courier(hosts, files.certificate).send(target, letter(), recipients())
    assert got.status == "4.7.5"
    assert "other.example" in got.text


LOGIN = "TLS 220 go\nC= EHLO client.example\nS: 250-mx.example\nS: 250 AUTH {}\n"


@pytest.mark.parametrize(
    ("script", "code", "status"),
    [
        pytest.param(
            "PLAIN LOGIN\nC= AUTH PLAIN AGpvZQBzZWNyZXQ=\nS: 235 ok" + ENVELOPE + SENT, 250, "2.6.0", id="plain"
        ),
        pytest.param(
            "LOGIN\nC= AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC= am9l\nS: 334 UGFzc3dvcmQ6\nC= c2VjcmV0\nS: 235 ok"
            + ENVELOPE
            + SENT,
            250,
            "2.6.0",
            id="login",
        ),
        pytest.param("PLAIN\nC: AUTH PLAIN\nS: 535 5.7.8 wrong\nC= QUIT", 454, "4.7.8", id="wrong-password"),
        pytest.param("LOGIN\nC= AUTH LOGIN\nS: 504 no\nC= QUIT", 454, "4.7.8", id="login-refused"),
        pytest.param("GSSAPI\nC= QUIT", 0, "4.7.4", id="nothing-that-we-know"),
    ],
)
async def test_login(script: str, code: int, status: str, tmp_path: Path) -> None:
    files = make_certificate(tmp_path, "mx.example")
    offered, _, rest = script.partition("\n")
    whole = OFFER + LOGIN.format(offered) + rest
    async with scripted(whole, context=server_context(files)) as server:
        settings = {"authorities": files.certificate}
        # With a login even `may` has to verify.
        got = await outcome(server, username="joe", password="secret", settings=settings)
    assert (got.code, got.status) == (code, status)
    assert "secret" not in got.text


async def test_a_password_is_not_said_in_plaintext() -> None:
    async with scripted(
        HELLO.replace("S: 250 mx.example", "S: 250-mx.example\nS: 250 AUTH PLAIN") + "C= QUIT"
    ) as server:
        wire = await Outgoing.dial("127.0.0.1", server.port, 2)
        deadline = asyncio.get_running_loop().time() + 10
        connection = SmtpConnection(wire, "mx.example", SmtpClientSettings("client.example"), deadline)
        await connection.greet()
        await connection.hello()
        with pytest.raises(Failed, match="did not prove its name"):
            await connection.auth("joe", "secret")
        connection.quit()


@pytest.mark.parametrize("tls", ["may", "never", "verify"])
async def test_a_password_is_not_shown_to_a_stranger(tls: str) -> None:
    async with scripted(OFFER + "TLS 220 go", context=shared_contexts().server, leaves=True) as server:
        got = await outcome(server, tls=tls, username="joe", password="secret")
    assert got.status == "4.7.5"
    assert server.connections == 1


@pytest.mark.parametrize(
    ("script", "status"),
    [
        pytest.param(HELLO + "C= QUIT", "5.7.30", id="no-tls-at-all"),
        pytest.param(OFFER + UNDER_TLS + "C= QUIT", "5.7.30", id="not-offered"),
        pytest.param(
            OFFER
            + UNDER_TLS.replace("S: 250 mx", "S: 250-mx.example\nS: 250-REQUIRETLS\nS: 250 mx")
            + ENVELOPE.replace("<a@b.example>", "<a@b.example> REQUIRETLS")
            + SENT,
            "2.6.0",
            id="offered",
        ),
    ],
)
async def test_requiretls(script: str, status: str, tmp_path: Path) -> None:
    files = make_certificate(tmp_path, "mx.example")
    async with scripted(script, context=server_context(files)) as server:
        got = await outcome(server, message=letter(requiretls=True), settings={"authorities": files.certificate})
    assert got.status == status


# Which addresses are connected to


async def test_all_addresses_are_tried() -> None:
    async with scripted(HELLO + ENVELOPE + SENT) as server:
        hosts = {"mx.example": ["127.0.0.3", "127.0.0.2", "127.0.0.1"]}
        [got] = await courier(hosts).send(Destination("mx.example", server.port), letter(), recipients())
    assert got.accepted


async def test_a_temporary_failure_moves_on_to_the_next_address() -> None:
    async with scripted("S: 421 busy", HELLO + ENVELOPE + SENT) as server:
        hosts = {"mx.example": ["127.0.0.1", "127.0.0.1"]}
        [got] = await courier(hosts).send(Destination("mx.example", server.port), letter(), recipients())
    assert got.accepted
    assert server.connections == 2


async def test_addresses_are_few() -> None:
    async with scripted(*["S: 421 busy"] * 2) as server:
        hosts = {"mx.example": ["127.0.0.1"] * 9}
        [got] = await courier(hosts, max_addresses=2).send(
            Destination("mx.example", server.port), letter(), recipients()
        )
    assert (got.code, server.connections) == (421, 2)


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "::1", "::ffff:127.0.0.1", "169.254.169.254"])
async def test_strangers_lead_to_no_private_network(address: str) -> None:
    async with scripted() as server:
        for host, hosts in (("mx.example", {"mx.example": [address]}), (address, {})):
            [got] = await courier(hosts, outward=Outward()).send(Destination(host, server.port), letter(), recipients())
            assert (got.code, got.status) == (0, "4.4.4")
    assert server.connections == 0


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1"])
async def test_a_configured_relay_may_be_there(host: str) -> None:
    async with scripted(HELLO + ENVELOPE + SENT) as server:
        [got] = await courier({}, outward=Outward(), relays=frozenset({"localhost", "127.0.0.1"})).send(
            Destination(host, server.port), letter(), recipients()
        )
    assert got.accepted


@pytest.mark.parametrize(
    ("resolver", "status"),
    [(Resolver({}), "4.4.4"), (Resolver({}, Unavailable("DNS is down")), "4.4.3")],
    ids=["no-such-host", "no-dns"],
)
async def test_no_addresses(resolver: Resolver, status: str) -> None:
    one = SmtpCourier(SmtpClientSettings("client.example"), resolver, contexts())
    [got] = await one.send(Destination("mx.example"), letter(), recipients())
    assert (got.code, got.status, got.host, got.ambiguous) == (0, status, "", False)


@pytest.mark.parametrize("host", ["nowhere.invalid", "a..b"])
async def test_a_relay_that_is_not_found(host: str) -> None:
    one = courier({}, relays=frozenset({host}))
    [got] = await one.send(Destination(host), letter(), recipients())
    assert (got.code, got.status) == (0, "4.4.3")


async def test_nobody_listens() -> None:
    async with scripted() as server:
        port = server.port
    [got] = await courier().send(Destination("mx.example", port), letter(), recipients())
    assert (got.code, got.status, got.host) == (0, "4.4.1", "")
    assert "refused" in got.text
