"""Delivery to accounts that want more than an INBOX: what is queued with the message, counted, and counted back."""

from collections.abc import AsyncIterator

import pytest
from bson.objectid import ObjectId

from duckmail.errors import OverQuota, RateLimited
from duckmail.model.envelope import Envelope, Verdict
from duckmail.model.filters import Filter, FilterAction, FilterQuery
from duckmail.model.queue import Origin, QueuedMessage
from duckmail.services.addresses import forwards_key
from duckmail.services.arrivals import Arrivals
from storage.redis.counters import Count
from tests.support.outbound import Outbound, World, outbound
from tests.support.stores import message

FROM = Envelope("writer@away.test")
TRUSTED = Envelope("writer@away.test", trusted=True)


@pytest.fixture
async def one(mongo_uri: str, database_name: str) -> AsyncIterator[Outbound]:
    async with outbound(mongo_uri, database_name, World(), start=False) as running:
        yield running


async def account(one: Outbound, name: str, **fields: object) -> str:
    user = (await one.account(name)).user
    await one.store.database["users"].update_one({"_id": ObjectId(user)}, {"$set": fields})
    return user


async def deliver(one: Outbound, name: str, raw: bytes | None = None, envelope: Envelope = FROM) -> Verdict:
    recipient = await one.delivery.recipient(f"{name}@example.com")
    (verdict,) = await one.delivery.deliver(envelope, message(1) if raw is None else raw, [recipient])
    return verdict


async def queued(one: Outbound) -> list[QueuedMessage]:
    return [each async for each in one.queue.messages()]


async def forwards(one: Outbound, user: str) -> int:
    return (await one.store.counters.get(forwards_key(user))).value


async def test_a_forward_is_queued_with_the_message_once(one: Outbound) -> None:
    user = await account(one, "anna", targets=["a@far.test", "anna@example.com", "smtp://own.test", "https://x.test"])
    verdicts = [await deliver(one, "anna") for _ in range(3)]
    assert [verdict.appended.duplicate for verdict in verdicts if verdict.appended] == [False, True, True]
    (letter,) = await queued(one)
    assert (letter.user, letter.origin, letter.envelope.sender) == (user, Origin.FORWARD, "writer@away.test")
    assert [(each.address, each.via) for each in letter.recipients] == [
        ("a@far.test", ""), ("anna@example.com", "smtp://own.test"), ("anna@example.com", "https://x.test"),
    ]  # fmt: skip
    assert await forwards(one, user) == 3


async def test_what_is_not_stored_is_not_sent_on(one: Outbound) -> None:
    user = await account(one, "anna", targets=["a@far.test"], quota=3000)
    assert (await deliver(one, "anna", message(1) + b"x" * 2000)).error is None
    assert isinstance((await deliver(one, "anna", message(2) + b"x" * 2000)).error, OverQuota)
    assert len(await queued(one)) == 1
    assert await forwards(one, user) == 1


async def test_the_null_sender_stays(one: Outbound) -> None:
    await account(one, "anna", targets=["a@far.test"])
    await deliver(one, "anna", envelope=Envelope(""))
    (letter,) = await queued(one)
    assert letter.envelope.sender == ""


@pytest.mark.parametrize(
    ("envelope", "header", "sent"),
    [
        pytest.param(TRUSTED, b"X-Spam-Score: 10.5\r\n", 0, id="many-points"),
        pytest.param(TRUSTED, b"X-Spam-Score: 9.5\r\n", 1, id="few-points"),
        pytest.param(TRUSTED, b"X-Rspamd-Action: reject\r\n", 0, id="spam"),
        pytest.param(FROM, b"X-Rspamd-Action: reject\r\n", 1, id="not-from-a-trusted-relay"),
        pytest.param(FROM, b"Received: x\r\n" * 30, 0, id="long-way"),
    ],
)
async def test_what_is_sent_on(one: Outbound, envelope: Envelope, header: bytes, sent: int) -> None:
    await account(one, "anna", targets=["a@far.test"])
    assert (await deliver(one, "anna", header + message(1), envelope)).error is None
    assert len(await queued(one)) == sent


async def test_what_is_dropped_is_sent_on_once(one: Outbound) -> None:
    user = await account(one, "anna", filtered=True, targets=["not@far.test"])
    new = Filter("", user, FilterQuery(size=1), FilterAction(delete=True, targets=("a@far.test",)))
    await one.store.filters.create(new, 10)
    for _ in range(2):
        verdict = await deliver(one, "anna")
        assert (verdict.error, verdict.appended) == (None, None)
    (letter,) = await queued(one)
    assert [each.address for each in letter.recipients] == ["a@far.test"]


async def test_a_mailbox_that_is_gone_falls_back_to_inbox(one: Outbound) -> None:
    anna = await one.account("anna")
    new = Filter("", anna.user, FilterQuery(size=1), FilterAction(mailbox=str(ObjectId())))
    await one.store.filters.create(new, 10)
    assert (await deliver(one, "anna")).error is None
    assert len(await one.inbox(anna)) == 1


async def test_who_has_nothing_costs_no_query_more(one: Outbound, monkeypatch: pytest.MonkeyPatch) -> None:
    await account(one, "anna")

    async def fail(*_: object) -> None:
        raise AssertionError("asked")

    for records in (one.store.filters, one.store.autoreplies, one.store.domain_access):
        for name in ("enabled", "many", "used"):
            if hasattr(records, name):
                monkeypatch.setattr(records, name, fail)
    assert (await deliver(one, "anna")).error is None


class Counted:
    """Redis, as far as arrivals need it."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.calls = 0

    async def incr(self, key: str, window: int, by: int = 1) -> Count:
        self.calls += 1
        self.counts[key] = self.counts.get(key, 0) + by
        return Count(self.counts[key], window)


async def test_accounts_receive_so_much_a_minute() -> None:
    redis = Counted()
    here, there = Arrivals(redis), Arrivals(redis)
    for _ in range(10):
        here.check("anna", 40)
        await here.add("anna", 40)
    assert redis.calls == 0
    for _ in range(40):
        there.check("anna", 40)
        await there.add("anna", 40)
    with pytest.raises(RateLimited):
        there.check("anna", 40)
    await here.add("anna", 40)
    with pytest.raises(RateLimited):
        here.check("anna", 40)
    here.check("bert", 40)
    here.check("anna", 0)
