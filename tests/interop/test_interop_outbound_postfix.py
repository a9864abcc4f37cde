"""Out through a Postfix, as many servers do: what it takes, defers and refuses, and its own reports coming back."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.postfix import Postfix
from tests.support.letterbox import letters
from tests.support.net import make_certificate
from tests.support.ports import free_port
from tests.support.queued import Queued, queued
from tests.support.relay import Relay
from tests.support.server_process import DOMAIN, HOST, Databases, ServerProcess, make_message, wait_until

SETTINGS = """
default_transport = smtp:[{host}]:{next}
smtp_dns_support_level = disabled
smtpd_tls_security_level = may
smtpd_tls_cert_file = {certificate}
smtpd_tls_key_file = {key}
smtpd_recipient_restrictions = check_recipient_access inline:{{
    {{refused@far.example = 550 5.7.1 Not for you}}
    {{later@far.example = 450 4.2.1 Not now}} }}
"""


@pytest.fixture(scope="module")
def beyond() -> Iterator[Relay]:
    """Where Postfix sends to."""
    with Relay(options={"enable_SMTPUTF8": True}) as running:
        yield running


@pytest.fixture(scope="module")
def postfix(beyond: Relay, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Postfix, int]]:
    """And the port where it expects our LMTP."""
    files = make_certificate(tmp_path_factory.mktemp("certificate"), "relay.test")
    lmtp = free_port()
    settings = SETTINGS.format(host=HOST, next=beyond.port, certificate=files.certificate, key=files.key)
    with Postfix(lmtp, settings) as running:
        yield running, lmtp


@pytest.fixture(scope="module")
def name() -> str:
    return f"interop_out_{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def out(
    postfix: tuple[Postfix, int], name: str, mongo_uri: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    relay, lmtp = postfix
    sections: dict[str, dict[str, object]] = {
        "lmtp": {"listen": [f"{HOST}:{lmtp}"]},
        "outbound": {"relay": f"smtp://{HOST}:{relay.port}", "schedule": [1, 1]},
    }
    folder: Path = tmp_path_factory.mktemp("out")
    with ServerProcess(folder, Databases(mongo_uri, name, redis_url, f"{name}:"), sections) as running:
        yield running


@pytest.fixture(scope="module")
def queue(out: ServerProcess, mongo_uri: str, name: str) -> Iterator[Queued]:
    with queued(out, mongo_uri, name) as found:
        yield found


def test_mail_of_every_kind(out: ServerProcess, beyond: Relay, queue: Queued) -> None:
    """Octet for octet through both."""
    anna = out.add_account("anna")
    sent = [message.replace(b"sender@example.org", anna.address.encode()) for message in letters()][:-1]
    to = "b@far.example"
    identifiers = [out.submit(anna, message, to, mail_options=["BODY=8BITMIME"]) for message in sent]
    for identifier in identifiers:
        assert queue.ended(identifier) == {to: ("relayed", "2.0.0", 1)}
    wait_until(lambda: len(beyond.seen(to)) == len(sent), 30, "Postfix to pass everything on")
    got = [taken.octets for taken in beyond.seen(to)]
    for message in sent:
        assert sum(octets.endswith(b"\r\n" + message) for octets in got) == 1, message[:200]
    assert all(taken.sender == anna.address for taken in beyond.seen(to))
    assert any(line.get("tls") == "unverified" for line in out.log_lines() if line["message"] == "sent by SMTP")


def test_refused_deferred_and_taken(out: ServerProcess, beyond: Relay, queue: Queued) -> None:
    bert = out.add_account("bert")
    everybody = ["one@far.example", "refused@far.example", "later@far.example", "two@far.example"]
    identifier = out.submit(bert, make_message("to four", sender=bert.address), *everybody)
    assert queue.ended(identifier) == {
        "one@far.example": ("relayed", "2.0.0", 1),
        "refused@far.example": ("failed", "5.7.1", 1),
        "later@far.example": ("failed", "4.4.7", 3),
        "two@far.example": ("relayed", "2.0.0", 1),
    }
    told = [report.statuses for report in queue.told(bert, 2)]
    assert {"refused@far.example": ("failed", "5.7.1")} in told
    assert {"later@far.example": ("failed", "4.4.7")} in told
    wait_until(lambda: beyond.seen("two@far.example"), 20, "Postfix to pass it on")


def test_the_relays_own_report(out: ServerProcess, postfix: tuple[Postfix, int], queue: Queued) -> None:
    """NOTIFY=SUCCESS goes on to Postfix, which finds no DSN behind it, and says so to the sender, by LMTP."""
    cora = out.add_account("cora")
    with out.submission(cora) as client:
        assert client.mail(cora.address, ["RET=HDRS", "ENVID=mine+2B1"])[0] == 250
        assert client.rcpt("told@far.example", ["NOTIFY=SUCCESS", "ORCPT=rfc822;first@far.example"])[0] == 250
        assert client.rcpt("silent@far.example", ["NOTIFY=NEVER"])[0] == 250
        code, said = client.data(make_message("tell me", sender=cora.address))
        assert code == 250
    queue.ended(said.split()[-1].decode())
    wait_until(lambda: out.messages(cora), 30, f"Postfix's report\n{postfix[0].log()[-3000:]}")
    [octets] = out.messages(cora)
    assert octets.startswith(f"Return-Path: <>\r\nDelivered-To: {cora.address}\r\n".encode())
    for line in (
        b"Original-Envelope-Id: mine+1\r\n",
        b"Original-Recipient: rfc822;first@far.example\r\n",
        b"Final-Recipient: rfc822; told@far.example\r\n",
        b"Action: relayed\r\n",
    ):
        assert line in octets
    assert b"silent@far.example" not in octets
    assert DOMAIN.encode() in octets
