"""What leaves the queue is signed, over the octets that are sent, for its author's domain; what arrives here is not."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from duckmail.model.address import view
from duckmail.model.envelope import Envelope
from duckmail.model.queue import State
from duckmail.runtime.sealer import Sealer
from duckmail.services.access import SYSTEM
from duckmail.services.dkim import keys
from duckmail.services.dkim.dkim import Dkim, NewKey, record_name
from protocols.smtp.wire.client_data import DataWriter
from storage.dkim import SigningDomain
from tests.support.dkim import signatures, verified, verified_by_dkimpy
from tests.support.outbound import SEALER, Outbound, Taken, World, outbound
from tests.support.stores import message

RSA, ED25519 = "rsa-sha256", "ed25519-sha256"


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def one(mongo_uri: str, database_name: str, world: World) -> AsyncIterator[Outbound]:
    async with outbound(mongo_uri, database_name, world) as running:
        yield running


async def keyed(one: Outbound, domain: str, selector: str = "s1", **more: object) -> SigningDomain:
    dkim = Dkim(one.store.dkim, SEALER, one.pool)
    return await dkim.put(NewKey(domain, selector, **more), SYSTEM)  # type: ignore[arg-type]


def published(found: SigningDomain, domain: str = "") -> dict[str, str]:
    """The records of its keys, in the name of `domain`."""
    return {
        record_name(domain or found.domain, key.selector): keys.dns_value(key.algorithm, key.public)
        for key in found.keys
    }


def wire(taken: Taken) -> bytes:
    """The message as the other server stores it."""
    writer = DataWriter()
    sent = writer.feed(taken.octets) + writer.finish()
    assert sent.endswith(b"\r\n.\r\n")
    return b"".join(line.removeprefix(b".") for line in sent[:-3].splitlines(keepends=True))


async def sent(one: Outbound, world: World, raw: bytes, to: str = "c@far.test", **more: object) -> bytes:
    await one.ended(await one.submit(to, raw=raw, **more))  # type: ignore[arg-type]
    return wire(world.taken[-1])


async def test_rsa_and_ed25519_sign_together(one: Outbound, world: World) -> None:
    await keyed(one, "example.com", "s1")
    found = await keyed(one, "example.com", "s2", algorithm="ed25519", overlap=timedelta())
    octets = await sent(one, world, message(1))
    assert octets.endswith(b"\r\n" + message(1))
    assert verified(octets, published(found)) == [("example.com", "s1", RSA), ("example.com", "s2", ED25519)]
    assert verified_by_dkimpy(octets, published(found))


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(b"From: a@example.com\r\n\r\n", id="no-body"),
        pytest.param(b"From: a@example.com\r\n\r\nx", id="no-last-line-end"),
        pytest.param(
            b"From: a@example.com\r\nSubject: x\r\n\r\na\nb\rc\r\n.\r\n..d \t\r\n\r\n\r\n", id="bare-ends-and-dots"
        ),
        pytest.param(b"From: A\r\n <a@example.com>\r\nTo: b,\r\n\tc\r\nTo: d\r\n\r\nx\r\n", id="folded"),
        pytest.param(b"From: a@example.com\r\n\r\n" + b"0123456789 abc\t\r\n" * 40_000, id="large"),
        pytest.param("From: ä@example.com\r\nSubject: ü\r\n\r\n€\r\n".encode(), id="utf-8"),
    ],
)
async def test_what_is_signed_is_what_is_sent(one: Outbound, world: World, raw: bytes) -> None:
    found = await keyed(one, "example.com")
    octets = await sent(one, world, raw)
    assert verified(octets, published(found)) == [("example.com", "s1", RSA)]
    assert verified_by_dkimpy(octets, published(found))


@pytest.mark.parametrize("field", [b"From: x@evil.test\r\n", b"Subject: other\r\n", b"Reply-To: x@evil.test\r\n"])
async def test_nothing_can_be_put_on_top(one: Outbound, world: World, field: bytes) -> None:
    found = await keyed(one, "example.com")
    octets = await sent(one, world, message(1))
    assert verified(field + octets, published(found)) == []
    assert not verified_by_dkimpy(field + octets, published(found))


async def test_an_alias_signs_in_its_own_name(one: Outbound, world: World) -> None:
    found = await keyed(one, "example.com")
    await one.store.addresses.insert_alias("alias.test", "example.com")
    octets = await sent(one, world, message(1).replace(b"<s1@example.com>", b"<s1@ALIAS.test>"))
    assert verified(octets, published(found, "alias.test")) == [("alias.test", "s1", RSA)]


async def test_the_default_key_signs_for_domains_here_alone(one: Outbound, world: World) -> None:
    found = await keyed(one, "*", "any")
    await one.account("s1")
    assert verified(await sent(one, world, message(1)), published(found, "example.com")) == [
        ("example.com", "any", RSA)
    ]
    assert signatures(await sent(one, world, message(1).replace(b"<s1@example.com>", b"<s1@other.test>"))) == []


async def test_this_servers_own_mail_is_signed_by_the_domain_above(one: Outbound, world: World) -> None:
    found = await keyed(one, "example.com")
    octets = await sent(one, world, message(1).replace(b"<s1@example.com>", b"<MAILER-DAEMON@mx.example.com>"))
    assert verified(octets, published(found)) == [("example.com", "s1", RSA)]
    other = await sent(one, world, message(1).replace(b"<s1@example.com>", b"<a@sub.example.com>"))
    assert signatures(other) == []


async def test_a_report_is_signed(one: Outbound, world: World) -> None:
    found = await keyed(one, "mx.example.com")
    world.answers["c@far.test"] = [(550, "5.1.1", "No such user")]
    await one.ended(await one.submit("c@far.test", sender="writer@away.test"))
    await one.all_ended()
    (report,) = world.taken
    assert (report.sender, report.recipients) == ("", ("writer@away.test",))
    assert verified(wire(report), published(found)) == [("mx.example.com", "s1", RSA)]


async def forwarded(one: Outbound, world: World) -> bytes:
    await one.all_ended()
    (taken,) = world.taken
    return wire(taken)


async def test_a_stranger_that_names_our_domain_is_not_vouched_for(one: Outbound, world: World) -> None:
    """Forwarded, it would pass DMARC in our name; and what its own server signed stays as it is."""
    await keyed(one, "example.com")
    found = await keyed(one, "mx.example.com")
    await one.store.addresses.insert_forwarded("team@example.com", view("team@example.com"), ["c@far.test"])
    recipient = await one.delivery.recipient("team@example.com")
    theirs = b"DKIM-Signature: v=1; d=away.test\r\n" + message(1)
    await one.delivery.deliver(Envelope("writer@away.test"), theirs, [recipient])
    octets = await forwarded(one, world)
    assert verified(octets, published(found)) == [("mx.example.com", "s1", RSA)]
    assert octets.endswith(b"\r\n" + theirs)


async def test_what_an_account_here_wrote_is_signed_when_it_is_forwarded(one: Outbound, world: World) -> None:
    found = await keyed(one, "example.com")
    for name, target in (("team", "more@example.com"), ("more", "c@far.test")):
        await one.store.addresses.insert_forwarded(f"{name}@example.com", view(f"{name}@example.com"), [target])
    await one.ended(await one.submit("team@example.com"))
    assert verified(await forwarded(one, world), published(found)) == [("example.com", "s1", RSA)]


async def test_what_is_delivered_here_has_no_signature(one: Outbound, world: World) -> None:
    await keyed(one, "example.com")
    bert = await one.account("bert")
    await one.ended(await one.submit("bert@example.com", "c@far.test"))
    (stored,) = await one.inbox(bert)
    assert b"DKIM-Signature" not in stored
    assert signatures(wire(world.taken[0]))


async def test_a_key_that_cannot_be_opened_delays(one: Outbound, world: World) -> None:
    other = Dkim(one.store.dkim, Sealer([bytes([1]) * 32]), one.pool)
    await other.put(NewKey("example.com", "s1"), SYSTEM)
    identifier = await one.submit("c@far.test")
    found = await one.until(identifier, lambda found: found.recipients[0].status == "4.7.5")
    assert found.recipients[0].state is not State.RELAYED
    assert not world.taken


async def test_selectors_overlap_when_a_key_is_rotated(
    one: Outbound, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old one signs on while the new one becomes known to others; what it signed verifies when it is over."""
    monkeypatch.setattr("duckmail.services.dkim.signer.KNOWN_SECONDS", 0.0)
    await keyed(one, "example.com", "s1")
    found = await keyed(one, "example.com", "s2", overlap=timedelta(days=2))
    before = await sent(one, world, message(1))
    await one.store.database["dkim"].update_many({}, {"$set": {"keys.0.since": datetime.now(UTC)}})
    after = await sent(one, world, message(2).replace(b"<s2@example.com>", b"<s1@example.com>"))
    assert [tags["s"] for octets in (before, after) for tags in signatures(octets)] == ["s1", "s2"]
    for octets, selector in ((before, "s1"), (after, "s2")):
        assert verified(octets, published(found)) == [("example.com", selector, RSA)]
        assert verified_by_dkimpy(octets, published(found))


async def test_a_change_of_keys_is_in_effect_within_seconds(
    one: Outbound, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("duckmail.services.dkim.signer.KNOWN_SECONDS", 0.0)
    assert signatures(await sent(one, world, message(1))) == []
    await keyed(one, "example.com", "s1")
    found = await keyed(one, "example.com", "s2")
    assert verified(await sent(one, world, message(1)), published(found)) == [("example.com", "s2", RSA)]
