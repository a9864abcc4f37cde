"""Addresses that only forward: their mail goes on, once, and never round in circles."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from duckmail.errors import InvalidInput, Unavailable
from duckmail.model.address import view
from duckmail.model.autoreply import Autoreply
from duckmail.model.envelope import Envelope, Verdict
from duckmail.model.queue import Origin, OutboundEnvelope, State
from duckmail.model.rules import Rules
from tests.support.outbound import REFUSE, Outbound, World, outbound
from tests.support.stores import message

FROM = Envelope("writer@away.test")


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def one(mongo_uri: str, database_name: str, world: World) -> AsyncIterator[Outbound]:
    async with outbound(mongo_uri, database_name, world) as running:
        yield running


async def forwarding(one: Outbound, name: str, *targets: str) -> str:
    address = f"{name}@example.com"
    await one.store.addresses.insert_forwarded(address, view(address), targets)
    return address


async def deliver(one: Outbound, *addresses: str, raw: bytes | None = None, envelope: Envelope = FROM) -> list[Verdict]:
    named = [await one.delivery.recipient(address) for address in addresses]
    return await one.delivery.deliver(envelope, message(1) if raw is None else raw, named)


async def test_it_goes_to_all_targets_with_its_sender(one: Outbound, world: World) -> None:
    bert = await one.account("bert")
    team = await forwarding(one, "team", "c@far.test", "bert@example.com", "https://hook.test/x", "smtp://own.test:25")
    (verdict,) = await deliver(one, team)
    assert (verdict.error, verdict.appended) == (None, None)
    await one.all_ended()
    taken, *others = sorted(world.taken, key=lambda taken: (taken.recipients, taken.host))
    posted, relayed = others
    assert (taken.sender, taken.recipients, taken.host) == ("writer@away.test", ("c@far.test",), "relay.test")
    assert (posted.host, posted.recipients) == ("https://hook.test/x", ("team@example.com",))
    assert posted.letter.id
    # A relay of its own gets it for the address itself.
    assert (relayed.host, relayed.recipients) == ("own.test", ("team@example.com",))
    received, _, rest = taken.octets.partition(b"; ")
    assert received == b"Received: by mx.example.com with LMTP\r\n\tfor <team@example.com>"
    assert rest.partition(b"\r\n")[2].startswith(b"X-Duckmail-Forwarded: ")
    assert rest.endswith(b"\r\n" + message(1))
    (stored,) = await one.inbox(bert)
    assert stored.startswith(b"Return-Path: <writer@away.test>\r\nDelivered-To: bert@example.com\r\nReceived: by mx")
    assert stored.endswith(message(1))


async def test_accounts_beside_it_get_theirs(one: Outbound, world: World) -> None:
    bert = await one.account("bert")
    team = await forwarding(one, "team", "c@far.test")
    verdicts = await deliver(one, "bert@example.com", team)
    assert [verdict.error for verdict in verdicts] == [None, None]
    await one.all_ended()
    assert len(world.taken) == len(await one.inbox(bert)) == 1


async def test_a_relays_retry_is_forwarded_once(one: Outbound, world: World) -> None:
    team = await forwarding(one, "team", "c@far.test")
    for _ in range(3):
        (verdict,) = await deliver(one, team)
        assert verdict.error is None
    await deliver(one, team, envelope=Envelope("other@away.test"))
    await one.all_ended()
    assert [taken.sender for taken in world.taken] == ["writer@away.test", "other@away.test"]


async def test_submitted_mail_is_forwarded_too_and_its_failure_goes_back(one: Outbound, world: World) -> None:
    anna = await one.account("anna")
    team = await forwarding(one, "team", "c@far.test")
    world.answers["c@far.test"] = [REFUSE]
    assert await one.ended(await one.submit(team)) == [State.DELIVERED]
    await one.all_ended()
    (report,) = await one.inbox(anna)
    assert b"Final-Recipient: rfc822; c@far.test\r\n" in report


async def test_a_loop_ends(one: Outbound) -> None:
    anna = await one.account("anna")
    ping = await forwarding(one, "ping", "pong@example.com")
    await forwarding(one, "pong", "ping@example.com")
    await one.submit(ping)
    await one.all_ended()
    rounds = [each async for each in one.queue.messages(ended=True) if each.origin is Origin.FORWARD]
    assert len(rounds) == 2
    (report,) = await one.inbox(anna)
    assert b"goes round in circles" in report


@pytest.mark.parametrize(
    ("lines", "fine"), [pytest.param(29, True, id="long-way"), pytest.param(30, False, id="circles")]
)
async def test_received_lines_are_counted(one: Outbound, lines: int, fine: bool) -> None:
    team = await forwarding(one, "team", "c@far.test")
    (verdict,) = await deliver(one, team, raw=b"Received: x\r\n" * lines + message(1) + b"Received: y\r\n" * 9)
    assert (verdict.error is None) == fine
    assert fine or isinstance(verdict.error, InvalidInput)


@pytest.mark.parametrize(
    "targets",
    [
        pytest.param((), id="none"),
        pytest.param(("gopher://hook.test",), id="url"),
        pytest.param(("a b@c.test",), id="no-address"),
    ],
)
async def test_without_a_target_mail_is_kept_by_the_relay(one: Outbound, targets: tuple[str, ...]) -> None:
    await forwarding(one, "team", *targets)
    with pytest.raises(Unavailable):
        await one.delivery.recipient("team@example.com")


@pytest.mark.parametrize("kept", [True, False])
async def test_what_was_required_of_the_way_holds_for_the_rest_of_it(one: Outbound, world: World, kept: bool) -> None:
    """RFC 8689 §6: for what goes from the queue to an address here and on from there, and for automatic answers."""
    await one.account("bert")
    team = await forwarding(one, "team", "c@far.test")
    assert await one.ended(await one.submit(team, envelope=OutboundEnvelope("anna@far.test", requiretls=kept))) == [
        State.DELIVERED
    ]
    named = await one.delivery.recipient("bert@example.com")
    rules = Rules(autoreply=Autoreply(status=True, subject="away", text="later"), address="bert@example.com")
    envelope = Envelope("writer@away.test", requiretls=kept)
    to_bert = message(2).replace(b"\r\n", b"\r\nTo: bert@example.com\r\n", 1)
    await one.delivery.deliver(envelope, to_bert, [replace(named, rules=rules)])
    await one.all_ended()
    found = {taken.recipients: taken.letter.envelope.requiretls for taken in world.taken}
    assert found == {("c@far.test",): kept, ("writer@away.test",): kept}
