"""Postfix relays to duckmail by LMTP: several recipients with different fates, an outage, mail of every kind."""

import email
import email.policy
import uuid
from collections.abc import Iterator

import pytest

from tests.interop.postfix import Postfix
from tests.support.server_process import DOMAIN, Account, ServerProcess, make_message, wait_until


@pytest.fixture(scope="module")
def relay(server: ServerProcess) -> Iterator[Postfix]:
    with Postfix(server.lmtp_port) as running:
        yield running


def new_account(server: ServerProcess, name: str, quota: int = 0) -> Account:
    return server.add_account(f"{name}-{uuid.uuid4().hex[:6]}", quota=quota)


def test_each_recipient_gets_what_is_due(server: ServerProcess, relay: Postfix) -> None:
    """Two with room, one who is over quota, one whose quota this message would exceed, one nobody knows."""
    sender, anna, bert = (new_account(server, name) for name in ("sender", "anna", "bert"))
    full, tight = new_account(server, "full", quota=1000), new_account(server, "tight", quota=20_000)
    server.deliver(make_message("fills", "x" * 600), full.address)
    server.deliver(make_message("little"), tight.address)
    unknown = f"nobody@{DOMAIN}"
    message = make_message("to many", "\r\n".join(["a line of text"] * 2000), sender=sender.address)
    everybody = [anna.address, full.address, unknown, bert.address, tight.address]
    relay.submit(message, *everybody, sender=sender.address)
    relay.wait_until_empty()

    bounced, sent = "bounced", "sent"
    statuses = relay.statuses()
    assert [statuses[address] for address in everybody] == [sent, bounced, bounced, sent, bounced], relay.log()[-5000:]
    for account in (anna, bert):
        [stored] = server.messages(account)
        assert stored.startswith(
            f"Return-Path: <{sender.address}>\r\nDelivered-To: {account.address}\r\nReceived: from ".encode()
        )
        assert stored.endswith(message.partition(b"Subject: ")[2])
    assert [b"Subject: fills\r\n" in each for each in server.messages(full)] == [True]
    assert [b"Subject: little\r\n" in each for each in server.messages(tight)] == [True]

    [bounce] = server.messages(sender)
    assert bounce.startswith(b"Return-Path: <>\r\n")
    report = email.message_from_bytes(bounce, policy=email.policy.default)
    assert report.get_content_type() == "multipart/report"
    [status] = [part for part in report.walk() if part.get_content_type() == "message/delivery-status"]
    found = {part["Final-Recipient"]: part["Status"] for part in status.get_payload() if part["Final-Recipient"]}
    assert found == {
        f"rfc822; {full.address}": "5.2.2",
        f"rfc822; {tight.address}": "5.2.2",
        f"rfc822; {unknown}": "5.1.1",
    }
    text = " ".join(report.get_body().get_content().split())
    assert "Mailbox full" in text
    assert "No such recipient here" in text


def test_kinds_of_mail(server: ServerProcess, relay: Postfix) -> None:
    """Lines with dots, 8-bit, an address and headers in UTF-8, a large attachment, over TLS."""
    anna, sender = new_account(server, "anna"), new_account(server, "sender")
    dots = make_message("dots", ".\n..\n.a\nend\n.")
    eight = make_message("eight bit", "Grüße aus Köln, 日本語")
    utf8 = make_message("Grüße 🎉 in the header", "text")
    large = make_message("large", "\n".join(["0123456789" * 7] * 40_000))
    for message in (dots, eight, large):
        relay.submit(message, anna.address, sender=sender.address, options=("BODY=8BITMIME",))
    relay.submit(utf8, anna.address, sender="jürgen@bücher.example", options=("SMTPUTF8", "BODY=8BITMIME"))
    relay.wait_until_empty()
    stored = sorted(server.messages(anna), key=len)
    assert len(stored) == 4, relay.log()[-5000:]
    for sent, got in zip(sorted((dots, eight, utf8, large), key=len), stored, strict=True):
        assert got.endswith(sent), sent[:200]
    assert any(each.startswith("Return-Path: <jürgen@bücher.example>\r\n".encode()) for each in stored)
    assert any(line.get("tls") is True for line in server.log_lines() if line["message"] == "message")
    assert server.messages(sender) == []


def test_an_outage_delays_and_doubles_nothing(server: ServerProcess, relay: Postfix) -> None:
    """Stopped in the middle of a stream of mail, and started again later: each message arrives, once."""
    accounts = [new_account(server, f"outage-{number}") for number in range(3)]
    addresses = [account.address for account in accounts]
    sender = "stream@example.org"
    relay.submit(make_message("before"), *addresses, sender=sender)
    relay.wait_until_empty()
    server.stop()
    try:
        for number in range(5):
            relay.submit(make_message(f"during {number}"), *addresses, sender=sender)
        wait_until(lambda: {relay.statuses().get(each) for each in addresses} == {"deferred"}, 20, "deferral")
        assert len(relay.queue()) >= 5
    finally:
        server.start()
    relay.submit(make_message("after"), *addresses, sender=sender)
    relay.wait_until_empty()
    expected = sorted(["before", *(f"during {number}" for number in range(5)), "after"])
    for account in accounts:
        subjects = [email.message_from_bytes(each)["Subject"] for each in server.messages(account)]
        assert sorted(subjects) == expected
