"""What the MX listener does with messages: trace and results above them, DMARC, reports, retries, who is told."""

import re
from collections.abc import AsyncIterator, Sequence
from typing import Any

import dkim
import pytest
from cryptography.hazmat.primitives import serialization

from duckmail.errors import DuckmailError, OverQuota, Unavailable
from duckmail.model.envelope import Envelope, Recipient, Verdict
from duckmail.services.dkim import keys
from duckmail.services.inspection import Inspected
from tests.support.mx import CLIENT, SRS, STRANGER, MxHouse, message, shared_mx

FORGED = (
    "Authentication-Results: MX.example; spf=pass\r\n\tsmtp.mailfrom=bank.example\r\n"
    "Authentication-Results: (a comment) mx.example 1; dkim=pass\r\n"
    "Received-SPF: pass receiver=mx.example; client-ip=192.0.2.1\r\n"
    "Authentication-Results: other.example; spf=fail\r\n"
)


@pytest.fixture(scope="module")
async def shared(mongo_uri: str) -> AsyncIterator[MxHouse]:
    async with shared_mx(mongo_uri) as opened:
        yield opened


@pytest.fixture
async def house(shared: MxHouse) -> MxHouse:
    """With an empty queue."""
    await shared.house.store.database["queue"].delete_many({})
    return shared


class Failing:
    """Delivers, but not to those it names."""

    def __init__(self, house: MxHouse, **errors: DuckmailError) -> None:
        self._delivery = house.delivery()
        self.errors = errors
        self.recipient = self._delivery.recipient

    async def deliver(
        self, envelope: Envelope, raw: bytes | bytearray, recipients: Sequence[Recipient], inspected: Inspected
    ) -> list[Verdict]:
        good = [each for each in recipients if each.address.partition("@")[0] not in self.errors]
        taken = iter(await self._delivery.deliver(envelope, raw, good, inspected) if good else [])
        return [
            next(taken) if each in good else Verdict(each, error=self.errors[each.address.partition("@")[0]])
            for each in recipients
        ]


async def test_trace_and_results_stand_above_and_nothing_forged_is_left(house: MxHouse) -> None:
    said = await house.send(message("trace", more=FORGED), "anna@example.com")
    assert re.fullmatch(r"250 2\.0\.0 OK id=[0-9a-f]{24}", said)
    (stored,) = await house.mailbox("anna", "trace")
    assert re.match(
        rb"Return-Path: <a@good\.example>\r\nDelivered-To: anna@example\.com\r\n"
        rb"Authentication-Results: mx\.example;\r\n"
        rb"\tiprev=pass \(client\.good\.example\) policy\.iprev=93\.184\.216\.34;\r\n"
        rb"\tspf=pass smtp\.mailfrom=a@good\.example;\r\n"
        rb"\tdmarc=pass \(p=reject\) header\.from=good\.example;\r\n\tdkim=none\r\n"
        rb"Received-SPF: pass\r\n\tclient-ip=[^\r]*\r\n"
        rb"Received: from client\.good\.example \(\[93\.184\.216\.34\]\)\r\n"
        rb"\tby mx\.example with ESMTP id [0-9a-f]{32}\r\n\tfor <anna@example\.com>;\r\n\t[^\r]+\r\n"
        rb"Authentication-Results: other\.example; spf=fail\r\nFrom: ",
        stored,
    ), stored
    assert stored.endswith(message("trace"))


@pytest.mark.parametrize(
    ("dmarc", "sender", "reply", "place"),
    [
        pytest.param("honour", "a@good.example", "550 5.7.1", "", id="reject-is-refused"),
        pytest.param("quarantine", "a@good.example", "250", "Junk", id="reject-as-quarantine"),
        pytest.param("label", "a@good.example", "250", "INBOX", id="only-labelled"),
        pytest.param("honour", "a@soft.example", "250", "Junk", id="quarantine-is-junk"),
        pytest.param("honour", "a@none.example", "250", "INBOX", id="no-policy"),
    ],
)
async def test_dmarc(house: MxHouse, dmarc: str, sender: str, reply: str, place: str) -> None:
    server = house.server(house.reception(dmarc=dmarc))
    subject = f"dmarc {dmarc} {sender}"
    raw = message(subject, sender)
    assert (await house.send(raw, sender=sender, server=server, host=STRANGER)).startswith(reply)
    found = {path: await house.mailbox("anna", subject, path) for path in ("INBOX", "Junk")}
    assert {path for path, messages in found.items() if messages} == ({place} if place else set())
    assert await house.queued() == []


@pytest.mark.parametrize(
    ("trusted", "reply", "place"),
    [
        pytest.param("list.example", "250", "INBOX", id="trusted"),
        pytest.param("other.example", "550 5.7.1", "", id="anybody"),
    ],
)
async def test_a_forwarder_that_is_trusted_vouches_by_its_seal(
    house: MxHouse, trusted: str, reply: str, place: str
) -> None:
    key = keys.generate("rsa")
    pem = serialization.load_der_private_key(key.private, None).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    selector = f"to-{trusted.partition('.')[0]}"
    house.names.zone[f"{selector}._domainkey.list.example", "TXT"] = [keys.dns_value("rsa", key.public)]
    raw = b"Authentication-Results: list.example; arc=none; dmarc=pass\r\n" + message(f"sealed for {trusted}")
    raw = b"".join(dkim.arc_sign(raw, selector.encode(), b"list.example", pem, b"list.example")) + raw
    server = house.server(house.reception(sealers=frozenset({trusted})))
    assert (await house.send(raw, server=server, host=STRANGER)).startswith(reply)
    found = {path for path in ("INBOX", "Junk") if await house.mailbox("anna", f"sealed for {trusted}", path)}
    assert found == ({place} if place else set())


async def test_what_comes_again_is_stored_once(house: MxHouse) -> None:
    assert (await house.send(message("again"))).startswith("250")
    assert (await house.send(message("again"))).startswith("250")
    assert len(await house.mailbox("anna", "again")) == 1


async def test_somebody_fails_for_good_and_the_sender_is_told_by_a_report(house: MxHouse) -> None:
    server = house.server(house.reception(delivery=Failing(house, bert=OverQuota("Mailbox full"))))
    for _ in range(2):  # a retry tells nothing twice
        said = await house.send(
            message("half"), "anna@example.com", "bert@example.com", server=server, mail=" ENVID=q1"
        )
        assert said.startswith("250")
    (report,) = await house.queued()
    assert (report.message.envelope.sender, report.addresses) == ("", ["a@good.example"])
    assert b"Original-Envelope-Id: q1" in report.octets
    assert b"Final-Recipient: rfc822; bert@example.com\r\nAction: failed\r\n" in report.octets
    assert b"Mailbox full" in report.octets
    assert b"anna@example.com\r\nAction" not in report.octets


@pytest.mark.parametrize(
    ("sender", "host"),
    [
        pytest.param("a@none.example", CLIENT, id="without-spf"),
        pytest.param("a@soft.example", STRANGER, id="forged"),
        pytest.param("", CLIENT, id="null-sender"),
    ],
)
async def test_who_is_not_proved_gets_no_report_but_a_refusal(house: MxHouse, sender: str, host: str) -> None:
    server = house.server(house.reception(delivery=Failing(house, bert=OverQuota("Mailbox full"))))
    raw = message(f"unproved {sender}", sender or "a@none.example")
    options: dict[str, Any] = {"sender": sender, "server": server, "host": host}
    said = await house.send(raw, "anna@example.com", "bert@example.com", rcpt=" NOTIFY=SUCCESS,FAILURE", **options)
    assert said == "552 5.2.2 Mailbox full"
    assert await house.queued() == []


async def test_somebody_fails_for_now_and_the_message_comes_again(house: MxHouse) -> None:
    failing = Failing(house, bert=Unavailable("Not now"))
    server = house.server(house.reception(delivery=failing))
    raw = message("later")
    assert (await house.send(raw, "anna@example.com", "bert@example.com", server=server)) == "451 4.3.0 Not now"
    failing.errors.clear()
    assert (await house.send(raw, "anna@example.com", "bert@example.com", server=server)).startswith("250")
    assert [len(await house.mailbox(name, "later")) for name in ("anna", "bert")] == [1, 1]
    assert await house.queued() == []


async def test_nobody_takes_it(house: MxHouse) -> None:
    server = house.server(house.reception(delivery=Failing(house, anna=OverQuota("Mailbox full"))))
    assert (await house.send(message("nobody"), server=server)) == "552 5.2.2 Mailbox full"
    assert await house.queued() == []


async def test_success_is_told_where_it_was_asked_for(house: MxHouse) -> None:
    rcpt = " NOTIFY=SUCCESS ORCPT=rfc822;Anna+2Bx@example.com"
    assert (await house.send(message("success"), "anna@example.com", mail=" RET=FULL", rcpt=rcpt)).startswith("250")
    (report,) = await house.queued()
    assert report.addresses == ["a@good.example"]
    assert b"Original-Recipient: rfc822; Anna+x@example.com\r\n" in report.octets
    assert b"Action: delivered\r\nStatus: 2.0.0\r\n" in report.octets
    assert b"text/rfc822-headers" in report.octets


async def test_addresses_that_forward(house: MxHouse) -> None:
    rcpt = " NOTIFY=SUCCESS"
    assert (await house.send(message("team"), "team@example.com", rcpt=rcpt)).startswith("250")
    forwarded, report = await house.queued()
    assert forwarded.addresses == ["anna@example.com", "x@y.example"]
    assert {each.notify.value for each in forwarded.message.recipients} == {0}
    assert b"\r\nReceived: from client.good.example" in forwarded.octets
    assert b"team@example.com\r\nAction: relayed\r\n" in report.octets


async def test_bounces_of_forwarded_mail_come_back(house: MxHouse) -> None:
    address = SRS.rewritten("author@away.example")
    raw = message("bounce", "mailer-daemon@none.example")
    assert (await house.send(raw, address, sender="")).startswith("250")
    (bounce,) = await house.queued()
    assert bounce.addresses == ["author@away.example"]
    forged = address.replace("author", "victim")
    assert (await house.send(raw, forged, sender="")) == "550 5.1.1 No such recipient here"
    assert (await house.send(raw, "x@bounces.example", sender="")) == "550 5.1.1 No such recipient here"


async def test_a_postmaster_that_is_nobody_leaves_the_mail_with_the_client(house: MxHouse) -> None:
    collection = house.house.store.database["addresses"]
    kept = await collection.find_one_and_delete({"addrview": "postmaster@*"})
    try:
        said = await house.send(message("p"), "postmaster@example.com")
    finally:
        await collection.insert_one(kept)
    assert said == "451 4.3.0 There is no postmaster yet"


@pytest.mark.parametrize(
    ("recipient", "reply"),
    [("dora@example.com", "550 5.2.1"), ("full@example.com", "552 5.2.2"), ("nobody@example.com", "550 5.1.1")],
)
async def test_what_can_be_known_is_said_at_once(house: MxHouse, recipient: str, reply: str) -> None:
    async with house.session() as client:
        await client.send("EHLO x.example", "MAIL FROM:<a@good.example> SIZE=5000", f"RCPT TO:<{recipient}>")
        await client.replies("220", "250", "250", reply)
