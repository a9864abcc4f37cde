"""The SMTP client between two messages: which connections are used again, and which never."""

import asyncio

import pytest

from duckmail.model.queue import Destination, Outcome
from protocols.smtp.client import SmtpCourier
from tests.support.letters import courier, letter, recipients
from tests.support.smtp_script import ScriptedServer, scripted

HELLO = "S: 220 mx.example\nC: EHLO\nS: 250 mx.example\n"
MAIL = "C: MAIL\nS: 250 ok\nC: RCPT\nS: 250 ok\nC: DATA\nS: 354 go\nDATA\nS: 250 2.0.0 taken\n"
QUIT = "C= QUIT\nS: 221 bye\n"
LIMITS = "S: 220 mx.example\nC: EHLO\nS: 250-mx.example\nS: 250 LIMITS RCPTMAX=7 MAILMAX=2\n"


def keeping(**settings: object) -> SmtpCourier:
    return courier(messages=10, **settings)


async def send(one: SmtpCourier, server: ScriptedServer, sender: str = "a@b.example", **more: object) -> Outcome:
    target = Destination("mx.example", server.port, "never")
    [got] = await one.send(target, letter(sender=sender, **more), recipients())
    return got


async def closed(server: ScriptedServer) -> None:
    """Returns when every connection has seen our goodbye."""
    async with asyncio.timeout(15):
        while sum(commands.count("QUIT") for commands in server.commands) < server.connections:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("settings", "scripts"),
    [
        pytest.param({}, [HELLO + MAIL * 4 + QUIT], id="all-through-one"),
        pytest.param({"messages": 3}, [HELLO + MAIL * 3 + QUIT, HELLO + MAIL + QUIT], id="so-many-of-the-setting"),
        pytest.param({}, [LIMITS + MAIL * 2 + QUIT, LIMITS + MAIL * 2 + QUIT], id="so-many-as-the-server-takes"),
        pytest.param({"messages": 1}, [HELLO + MAIL + QUIT] * 4, id="one-each"),
    ],
)
async def test_messages_share_connections(settings: dict[str, int], scripts: list[str]) -> None:
    async with scripted(*scripts) as server:
        one = courier(**{"messages": 10, **settings})
        for number in range(4):
            assert (await send(one, server, f"n{number}@b.example")).accepted
        one.close()
        await closed(server)
    said = [line for commands in server.commands for line in commands if line.startswith("MAIL")]
    assert said == [f"MAIL FROM:<n{number}@b.example>" for number in range(4)]
    assert (len(server.messages), server.connections) == (4, len(scripts))


@pytest.mark.parametrize(
    ("error", "code"),
    [
        pytest.param("C: MAIL\nS: 451 4.3.0 later\n", 451, id="mail-deferred"),
        pytest.param("C: MAIL\nS: 250 ok\nC: RCPT\nS: 550 5.1.1 no\n", 550, id="recipient-refused"),
        pytest.param(MAIL.replace("250 2.0.0 taken", "554 5.6.0 spam"), 554, id="message-refused"),
    ],
)
async def test_never_after_an_error(error: str, code: int) -> None:
    async with scripted(HELLO + MAIL + error + QUIT, HELLO + MAIL + QUIT) as server:
        one = keeping()
        assert [(await send(one, server)).code for _ in range(3)] == [250, code, 250]
        one.close()
        await closed(server)


@pytest.mark.parametrize(
    "goodbye",
    [
        pytest.param("CLOSE", id="closed-between"),
        pytest.param("S: 421 4.4.2 idle too long\nCLOSE", id="says-that-it-closes"),
        pytest.param("C: MAIL\nCLOSE", id="closes-at-mail"),
        pytest.param("C: MAIL\nS: 421 4.7.0 enough\nCLOSE", id="has-enough-of-us"),
        pytest.param("C: MAIL\nS: 250 ok\nC: RCPT\nRESET", id="resets-at-rcpt"),
    ],
)
async def test_what_a_kept_connection_does_is_no_fault_of_the_message(goodbye: str) -> None:
    async with scripted(HELLO + MAIL + goodbye, HELLO + MAIL + QUIT, leaves=True) as server:
        one = keeping()
        assert (await send(one, server)).accepted
        assert (await send(one, server)).accepted
        one.close()
    assert (server.connections, len(server.messages)) == (2, 2)


async def test_a_message_sent_whole_is_not_sent_again_at_once() -> None:
    async with scripted(HELLO + MAIL + MAIL.replace("S: 250 2.0.0 taken\n", "CLOSE"), leaves=True) as server:
        one = keeping()
        assert (await send(one, server)).accepted
        got = await send(one, server)
        one.close()
    assert (got.code, got.ambiguous, server.connections, len(server.messages)) == (0, True, 1, 2)


async def test_it_says_goodbye_when_nothing_more_comes() -> None:
    async with scripted(HELLO + MAIL + QUIT) as server:
        assert (await send(keeping(idle=0.05), server)).accepted
        await closed(server)


async def test_who_waits_longest_leaves_first() -> None:
    async with scripted(HELLO + MAIL + QUIT) as first, scripted(HELLO + MAIL + MAIL + QUIT) as second:
        one = keeping(most_idle=1)
        for server in (first, second, second):
            assert (await send(one, server)).accepted
        await closed(first)
        assert second.commands[-1][-1] != "QUIT"
        one.close()
        await closed(second)


async def test_rules_of_tls_share_no_connection() -> None:
    async with scripted(HELLO + MAIL + QUIT, HELLO + "C= QUIT\nS: 221 bye", HELLO + MAIL + QUIT) as server:
        one = keeping()
        assert (await send(one, server)).accepted
        verified = Destination("mx.example", server.port, "verify")
        [refused] = await one.send(verified, letter(), recipients())
        assert (refused.status, refused.early) == ("4.7.4", True)
        assert server.connections == 2, server.commands
        [other] = await one.send(Destination("mx.example", server.port, "may"), letter(), recipients())
        assert other.accepted
        one.close()
        await closed(server)
