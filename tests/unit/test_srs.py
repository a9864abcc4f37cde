"""The Sender Rewriting Scheme: what is rewritten is found again, by this server alone, and for some days."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from duckmail.errors import NotFound, NotPermitted
from duckmail.model.address import view
from duckmail.model.envelope import Envelope
from duckmail.model.queue import State
from duckmail.runtime.sealer import Sealer
from duckmail.services.srs import Srs
from tests.support.outbound import REFUSE, Outbound, World, outbound
from tests.support.stores import message

DAY = 86_400
KEY = bytes(32)


def srs(domain: str = "fwd.example", key: bytes = KEY, now: float = 100 * DAY) -> Srs:
    return Srs(domain, lambda: [key], lambda: now)


@pytest.mark.parametrize(
    "sender",
    [
        "anna@away.test",
        "Anna.O'Neill+tag=x@Away.Test",
        "first=second@away.test",
        "jürgen@bücher.example",
        "SRS0=abcd=xy=author.test=bert@forwarder.test",
        "srs0+abcd=xy=author.test=bert@forwarder.test",
        "SRS1=abcd=first.test==efgh=xy=author.test=bert@second.test",
    ],
)
def test_a_bounce_finds_its_way_back(sender: str) -> None:
    address = srs().rewritten(sender)
    assert address.endswith("@fwd.example")
    assert address.startswith("SRS1=" if sender[:3].lower() == "srs" else "SRS0=")
    back = srs().original(address)
    if "second.test" in sender:  # the chain is not made longer: back to who rewrote it first
        assert back == "SRS0=efgh=xy=author.test=bert@first.test"
        back = sender
    assert back is not None
    assert back.lower() == sender.lower()


@pytest.mark.parametrize(
    "sender", ["", "anna@fwd.example", '"two words"@away.test', "nobody", f"{'x' * 990}@away.test"]
)
def test_some_senders_stay(sender: str) -> None:
    assert srs().rewritten(sender) == sender


@given(
    st.from_regex(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}", fullmatch=True),
    st.from_regex(r"[a-z0-9-]{1,20}\.[a-z]{2,10}", fullmatch=True),
)
@settings(max_examples=200, deadline=None)
def test_any_address_is_found_again_whatever_becomes_of_its_case(local: str, domain: str) -> None:
    if local.lower().startswith(("srs0", "srs1")):
        return
    address = srs().rewritten(f"{local}@{domain}")
    assert srs().original(address) == f"{local}@{domain}"
    for changed in (address.lower(), address.upper()):
        back = srs().original(changed)
        assert back is not None
        assert back.lower() == f"{local}@{domain}".lower()


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda a: a.replace("anna", "eve"), id="local-part"),
        pytest.param(lambda a: a.replace("away.test", "evil.test"), id="domain"),
        pytest.param(lambda a: a.replace(a[5], "a" if a[5] != "a" else "b", 1), id="mac"),
        pytest.param(lambda a: a[:14] + ("a" if a[14] != "a" else "b") + a[15:], id="day"),
        pytest.param(lambda a: "SRS0=" + a[14:], id="no-mac"),
        pytest.param(lambda a: a.replace("SRS0", "SRS1"), id="other-scheme"),
        pytest.param(lambda a: "SRS0@fwd.example", id="nothing"),
    ],
)
def test_a_forged_one_is_nobody(change: object) -> None:
    address = srs().rewritten("anna@away.test")
    assert callable(change)
    with pytest.raises(NotFound):
        srs().original(change(address))


def test_addresses_of_others_are_none_of_this() -> None:
    for address in ("anna@fwd.example", "SRS0=abcdefgh=aa=away.test=anna@other.example", "SRS0=x", ""):
        assert srs().original(address) is None


@pytest.mark.parametrize(("days", "fine"), [(0, True), (21, True), (22, False), (1000, False), (-1, True), (-2, False)])
def test_it_is_valid_for_three_weeks(days: int, fine: bool) -> None:
    address = srs(now=2000 * DAY).rewritten("anna@away.test")
    later = srs(now=(2000 + days) * DAY)
    if fine:
        assert later.original(address) == "anna@away.test"
    else:
        with pytest.raises(NotFound):
            later.original(address)


def test_a_rotated_key_still_verifies() -> None:
    old, new = bytes(32), bytes([1]) * 32
    address = Srs("fwd.example", lambda: Sealer([old]).derived("srs")).rewritten("anna@away.test")
    assert Srs("fwd.example", lambda: Sealer([new, old]).derived("srs")).original(address) == "anna@away.test"
    with pytest.raises(NotFound):
        Srs("fwd.example", lambda: Sealer([new]).derived("srs")).original(address)
    assert Sealer([old]).derived("srs") != Sealer([old]).derived("other")


# -- through delivery and queue ------------------------------------------------------------------------------------


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
async def one(mongo_uri: str, database_name: str, world: World) -> AsyncIterator[Outbound]:
    async with outbound(mongo_uri, database_name, world, srs_domain="fwd.example") as running:
        yield running


async def deliver(one: Outbound, sender: str, address: str) -> list[object]:
    named = [await one.delivery.recipient(address)]
    return [verdict.error for verdict in await one.delivery.deliver(Envelope(sender), message(1), named)]


async def forwarded(one: Outbound, *targets: str) -> None:
    await one.store.addresses.insert_forwarded("team@example.com", view("team@example.com"), targets)
    await one.account("bert")


async def test_what_is_forwarded_has_a_sender_of_this_server_and_its_bounce_comes_back_once(
    one: Outbound, world: World
) -> None:
    await forwarded(one, "c@far.test", "bert@example.com", "smtp://own.test:25")
    assert await deliver(one, "writer@away.test", "team@example.com") == [None]
    await one.all_ended()
    senders = {taken.host: taken.sender for taken in world.taken}
    assert senders["own.test"] == "writer@away.test"  # whoever names a relay knows where it is
    address = senders["relay.test"]
    assert address.startswith("SRS0=")
    assert address.endswith("=away.test=writer@fwd.example")
    world.taken.clear()
    for _ in range(2):  # the other server tries again, since our answer was lost
        assert await deliver(one, "", address) == [None]
    await one.all_ended()
    (bounce,) = world.taken
    assert (bounce.sender, bounce.recipients) == ("", ("writer@away.test",))
    assert bounce.octets.endswith(message(1))


async def test_bounces_alone_come_in(one: Outbound) -> None:
    await forwarded(one, "c@far.test")
    address = Srs("fwd.example", lambda: [bytes(32)]).rewritten("writer@away.test")
    (error,) = await deliver(one, "spammer@evil.test", address)
    assert isinstance(error, NotPermitted)
    with pytest.raises(NotFound):
        await deliver(one, "", address.replace("writer", "victim"))


async def test_a_failure_that_is_seen_here_is_told_to_who_wrote(one: Outbound, world: World) -> None:
    await forwarded(one, "c@far.test")
    world.answers["c@far.test"] = [REFUSE]
    await deliver(one, "writer@away.test", "team@example.com")
    await one.all_ended()
    (report,) = world.taken
    assert (report.sender, report.recipients) == ("", ("writer@away.test",))


async def test_mail_of_accounts_here_keeps_its_sender(one: Outbound, world: World) -> None:
    await forwarded(one, "c@far.test")
    assert await one.ended(await one.submit("team@example.com", sender="bert@example.com")) == [State.DELIVERED]
    await one.all_ended()
    assert [taken.sender for taken in world.taken] == ["bert@example.com"]


async def test_its_domain_is_ours(one: Outbound) -> None:
    """What the queue sends to such an address stays here."""
    assert await one.ended(await one.submit("SRS0=aaaaaaaa=aa=away.test=x@fwd.example", sender="")) == [State.FAILED]
