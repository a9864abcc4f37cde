"""No message hides another one: whatever end of data a client invents, a relay gets one message or none.

A relay that took a lone line feed for the end of a line would be fooled by octets it never sees: they are refused here.
"""

import re
import socket
import ssl
from collections.abc import Iterator

import pytest

from tests.support.net import client_context
from tests.support.queued import Queued
from tests.support.relay import Relay
from tests.support.server_process import Account, Databases, ServerProcess, wait_until

HIDDEN = (
    b"MAIL FROM:<admin@mail.test>\r\nRCPT TO:<victim@hidden.example>\r\nDATA\r\nFrom: admin@mail.test\r\n\r\nhidden\r\n"
)
BARE = re.compile(rb"\r(?!\n)|(?<!\r)\n")


@pytest.fixture(scope="module")
def server(
    relay: Relay, module_databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    sections = {"outbound": {"relay": f"smtp://127.0.0.1:{relay.port}"}}
    with ServerProcess(tmp_path_factory.mktemp("smuggling"), module_databases, sections) as running:
        yield running


@pytest.fixture(scope="module")
def anna(server: ServerProcess) -> Account:
    return server.add_account("anna")


def say(server: ServerProcess, anna: Account, octets: bytes) -> list[bytes]:
    """Everything behind a login in one write, as smugglers do, then QUIT; the lines that came back for it."""
    with server.submission(anna) as client:
        sock, file = client.sock, client.file
        assert isinstance(sock, ssl.SSLSocket)
        assert file is not None
        sock.sendall(octets + b"QUIT\r\n")
        lines: list[bytes] = [line.rstrip(b"\r\n") for line in file]
        client.close()
    return lines


def message(anna: Account) -> bytes:
    return f"From: {anna.address}\r\nSubject: the first\r\n\r\nfirst\r\n".encode()


def body(octets: bytes) -> bytes:
    return octets.partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(b"\n.\n", id="lf-dot-lf"),
        pytest.param(b"\n.\r\n", id="lf-dot-crlf"),
        pytest.param(b"\r\n.\n", id="crlf-dot-lf"),
        pytest.param(b"\r.\r", id="cr-dot-cr"),
        pytest.param(b"\r.\r\n", id="cr-dot-crlf"),
        pytest.param(b"\r\n.\r", id="crlf-dot-cr"),
        pytest.param(b"\n.\r", id="lf-dot-cr"),
        pytest.param(b"\r\n.\r\r\n", id="crlf-dot-cr-crlf"),
        pytest.param(b"\n\r.\r\n", id="lfcr-dot-crlf"),
        pytest.param(b"\r\n.\x00\r\n", id="dot-nul"),
        pytest.param(b"\r\n\x00.\r\n", id="nul-dot"),
    ],
)
def test_ends_that_are_none(
    end: bytes, request: pytest.FixtureRequest, server: ServerProcess, relay: Relay, anna: Account, queue: Queued
) -> None:
    to = f"{request.node.callspec.id}@one.example"
    envelope = f"MAIL FROM:<{anna.address}>\r\nRCPT TO:<{to}>\r\nDATA\r\n".encode()
    commands = len(relay.commands)
    lines = say(server, anna, envelope + message(anna) + b"last" + end + HIDDEN + b".\r\n")
    # One message, refused; nothing of it was taken for a command.
    assert [line[:3] for line in lines] == [b"250", b"250", b"354", b"550", b"221"], lines
    assert lines[3].startswith(b"550 5.6.0 " if b"\0" in end else b"550 5.6.11 ")
    queue.all_ended()
    assert relay.commands[commands:] == []


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(b"\r\n..\r\n", id="stuffed-dot"),
        pytest.param(b"\r\n. \r\n", id="dot-space"),
        pytest.param(b"\xe2\x80\xa8.\xe2\x80\xa8", id="unicode-line-separators"),
        pytest.param(b"\x85.\x85", id="next-line"),
        pytest.param(b"\x0b.\x0c", id="vertical-tab-form-feed"),
    ],
)
def test_lines_that_only_look_like_an_end(
    end: bytes, request: pytest.FixtureRequest, server: ServerProcess, relay: Relay, anna: Account, queue: Queued
) -> None:
    """They are text, and go on as they are: one message with all of it."""
    to = f"{request.node.callspec.id}@two.example"
    envelope = f"MAIL FROM:<{anna.address}>\r\nRCPT TO:<{to}>\r\nDATA\r\n".encode()
    commands = len(relay.commands)
    text = message(anna) + b"last" + end + HIDDEN
    lines = say(server, anna, envelope + text + b".\r\n")
    assert [line[:3] for line in lines] == [b"250", b"250", b"354", b"250", b"221"], lines
    wait_until(lambda: relay.seen(to), 10, "the message")
    queue.all_ended()
    [taken] = relay.seen(to)
    # RFC 5321 §4.5.2: a dot that begins a line was put there by the client, and goes.
    assert body(taken.octets) == re.sub(rb"\r\n\.", b"\r\n", body(text))
    assert [line.split(" SIZE")[0] for line in relay.commands[commands:]] == [
        f"MAIL FROM:<{anna.address}>",
        f"RCPT TO:<{to}>",
    ]


@pytest.mark.parametrize(
    ("end", "taken"),
    [
        pytest.param(b"\r\n.\r\n", True, id="an-end-of-data"),
        pytest.param(b"\n.\n", False, id="lf-dot-lf"),
        pytest.param(b"\r\n.\r", False, id="crlf-dot-cr"),
    ],
)
def test_chunks_are_stuffed_on_the_way_out(
    end: bytes,
    taken: bool,
    request: pytest.FixtureRequest,
    server: ServerProcess,
    relay: Relay,
    anna: Account,
    queue: Queued,
) -> None:
    """BDAT counts octets, so anything may stand within. To the relay it goes by DATA."""
    to = f"{request.node.callspec.id}@three.example"
    text = message(anna) + b"last" + end + HIDDEN + b".\r\n"
    commands = len(relay.commands)
    envelope = f"MAIL FROM:<{anna.address}>\r\nRCPT TO:<{to}>\r\nBDAT {len(text)} LAST\r\n".encode()
    lines = say(server, anna, envelope + text)
    assert [line[:3] for line in lines] == [b"250", b"250", b"250" if taken else b"550", b"221"], lines
    queue.all_ended()
    assert len(relay.commands) - commands == (2 if taken else 0)
    assert [body(each.octets) for each in relay.seen(to)] == ([body(text)] if taken else [])


@pytest.mark.parametrize(
    "command",
    [
        pytest.param("MAIL FROM:<{me}>\rRCPT TO:<victim@hidden.example>", id="cr-in-mail"),
        pytest.param("MAIL FROM:<{me}>\nRCPT TO:<victim@hidden.example>", id="lf-in-mail"),
        pytest.param("MAIL FROM:<{me}> ENVID=a+0D+0AX-Hidden:+20yes", id="line-end-in-envid"),
    ],
)
def test_parameters_carry_no_lines(
    command: str, server: ServerProcess, relay: Relay, anna: Account, queue: Queued
) -> None:
    commands = len(relay.commands)
    octets = (
        command.format(me=anna.address).encode()
        + b"\r\nRCPT TO:<to@four.example> ORCPT=rfc822;a+0D+0AX-Hidden:+20y\r\n"
    )
    lines = say(server, anna, octets + b"DATA\r\n" + message(anna) + b".\r\n")
    assert all(line[:3] in (b"250", b"354", b"221", b"500", b"501", b"503") for line in lines), lines
    queue.all_ended()
    assert not any("hidden.example" in line for line in relay.commands[commands:])
    assert not any(b"X-Hidden" in each.octets for each in relay.messages)


@pytest.mark.parametrize(
    ("label", "before", "command", "answer"),
    [
        pytest.param("Submission, STARTTLS", b"EHLO client.test\r\n", b"STARTTLS\r\n", b"220 2.0.0 ", id="submission"),
        pytest.param("POP3, STLS", b"NOOP\r\n", b"STLS\r\n", b"+OK Begin", id="pop3"),
    ],
)
def test_what_came_in_plaintext_does_not_count_under_tls(
    label: str, before: bytes, command: bytes, answer: bytes, server: ServerProcess
) -> None:
    """RFC 3207 §4.2: somebody between could have put a command behind STARTTLS, to be carried out as the client's."""
    with socket.create_connection(("127.0.0.1", server.port(label)), 20) as plain:
        greeting = plain.recv(4096)
        plain.sendall(before)
        assert plain.recv(4096)
        plain.sendall(command + b"QUIT\r\n")  # would end the session
        assert plain.recv(4096).startswith(answer)
        with client_context().wrap_socket(plain) as secure:
            secure.sendall(b"NOOP\r\n")
            said = secure.recv(4096)
            assert said.startswith(b"250 " if greeting.startswith(b"220") else b"-ERR "), said
            assert b"ye" not in said
            secure.sendall(b"NOOP\r\n")
            assert secure.recv(4096) == said


def test_all_that_ever_came_out_has_whole_line_ends(relay: Relay) -> None:
    assert relay.messages
    assert not any(BARE.search(each.octets) for each in relay.messages)
    assert not any("hidden.example" in line for line in relay.commands)
