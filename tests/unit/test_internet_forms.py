"""What a server cannot take is encoded anew before it is signed, or comes back; what is stored stays as it is."""

import email
import email.policy
from collections.abc import AsyncIterator

import pytest

from duckmail.model.queue import OutboundEnvelope, QueueRecipient, State
from duckmail.services.access import SYSTEM
from duckmail.services.dkim import keys
from duckmail.services.dkim.dkim import Dkim, NewKey, record_name
from tests.support.dkim import verified_by_dkimpy
from tests.support.internet import Host, Internet, internet
from tests.support.outbound import SEALER, Outbound, World, outbound

SEVEN, BINARY = "7BIT", "BINARYMIME"
ZONE = "".join(f"{name}.test. 60 IN MX 10 mx.{name}.test.\n" for name in ("new", "middle", "old"))
ZONE += "".join(f"mx.{name}.test. 60 IN A {{mx.{name}.test}}\n" for name in ("new", "middle", "old"))

HEAD = b"From: Anna <anna@example.com>\r\nMIME-Version: 1.0\r\nSubject: "
TEXT = b"x\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
GREETING = "Grüße\r\n".encode()
SIGNED = (
    b"x\r\nContent-Type: multipart/signed; boundary=b; micalg=x; protocol=x/y\r\n\r\n--b\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n%b\r\n--b\r\n"
    b"Content-Type: x/y\r\n\r\nz\r\n--b--\r\n" % GREETING
)


@pytest.fixture(scope="module")
async def net(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Internet]:
    hosts = [
        Host("mx.new.test"),
        Host("mx.middle.test", hides=frozenset({"SMTPUTF8"})),
        Host("mx.old.test", hides=frozenset({"SMTPUTF8", "8BITMIME"})),
    ]
    async with internet(tmp_path_factory.mktemp("internet"), ZONE, hosts) as opened:
        yield opened


@pytest.fixture
async def one(net: Internet, mongo_uri: str, database_name: str) -> AsyncIterator[Outbound]:
    async with outbound(
        mongo_uri, database_name, World(), relay=None, mx=True, remote=lambda slots, store: net.remote(slots)
    ) as running:
        yield running


@pytest.mark.parametrize(
    ("raw", "body", "smtputf8", "fates"),
    [
        pytest.param(TEXT + GREETING, "8BITMIME", False, {"new": "8", "middle": "8", "old": "7"}, id="8-bit"),
        pytest.param(
            TEXT + b"plain\r\n", "8BITMIME", False, {"new": "=", "middle": "=", "old": "="}, id="declared-only"
        ),
        pytest.param(TEXT + GREETING, BINARY, False, {"new": "8", "middle": "8", "old": "7"}, id="binary"),
        pytest.param(TEXT + b"long " * 900, SEVEN, False, {"new": "7", "middle": "7", "old": "7"}, id="long-lines"),
        pytest.param(
            "Grüße".encode() + TEXT[1:] + GREETING, "8BITMIME", True, {"new": "=", "middle": "8", "old": "7"}, id="utf8"
        ),
        pytest.param(SIGNED, "8BITMIME", False, {"new": "=", "middle": "=", "old": "5.6.3"}, id="signed"),
    ],
)
async def test_forms(
    net: Internet, one: Outbound, raw: bytes, body: str, smtputf8: bool, fates: dict[str, str]
) -> None:
    """`fates`: `=` as it is, `8` or `7` whether it has octets beyond ASCII, or the status with which it comes back."""
    found = await Dkim(one.store.dkim, SEALER, one.pool).put(NewKey("example.com", "s1"), SYSTEM)
    records = {
        record_name("example.com", key.selector): keys.dns_value(key.algorithm, key.public) for key in found.keys
    }
    raw = HEAD + raw
    envelope = OutboundEnvelope("anna@example.com", body, smtputf8)
    recipients = [QueueRecipient(f"c@{name}.test") for name in fates]
    for host in net.hosts.values():
        host.taken.clear()
    identifier = await one.submit(*recipients, raw=raw, envelope=envelope)
    ended = await one.until(identifier, lambda message: message.ended is not None)
    for recipient, (name, fate) in zip(ended.recipients, fates.items(), strict=True):
        taken = net.hosts[f"mx.{name}.test"].taken
        if "." in fate:
            assert (recipient.state, recipient.status, taken) == (State.FAILED, fate, [])
            continue
        (mail,) = taken
        assert verified_by_dkimpy(mail.octets, records), "the signature is over what was sent"
        assert max(map(len, mail.octets.split(b"\r\n"))) <= 998
        if fate == "=":
            assert mail.octets.endswith(raw)
        else:
            assert mail.octets.isascii() == (fate == "7")
        assert words(mail.octets) == words(raw)
        assert ("SMTPUTF8" in mail.parameters) == (smtputf8 and name == "new")
        assert ("BODY=8BITMIME" in mail.parameters) <= (name != "old")


def words(octets: bytes) -> tuple[str, bytes]:
    """Subject and text, decoded; the last line end of the text is of no account."""
    message = email.message_from_bytes(octets, policy=email.policy.default)
    part = next(one for one in message.walk() if not one.is_multipart())
    return str(message["Subject"]), bytes(part.get_payload(decode=True)).rstrip(b"\r\n")


async def test_an_address_has_no_other_form(net: Internet, one: Outbound) -> None:
    envelope = OutboundEnvelope("änna@example.com", "8BITMIME", True)
    identifier = await one.submit("c@old.test", raw=HEAD + TEXT + GREETING, envelope=envelope)
    ended = await one.until(identifier, lambda message: message.ended is not None)
    assert (ended.recipients[0].state, ended.recipients[0].status) == (State.FAILED, "5.6.7")


async def test_what_cannot_be_sent_to_anybody_comes_back(net: Internet, one: Outbound) -> None:
    anna = await one.account("anna")
    identifier = await one.submit("c@new.test", raw=HEAD + SIGNED.replace(GREETING, b"long " * 900 + b"\r\n"))
    assert await one.ended(identifier) == [State.FAILED]
    await one.all_ended()
    (report,) = [octets for octets in await one.inbox(anna) if b"multipart/report" in octets]
    assert b"Status: 5.6.3\r\n" in report
    assert max(map(len, report.split(b"\r\n"))) <= 998
