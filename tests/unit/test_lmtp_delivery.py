"""Who gets a message, once each, and what it begins with."""

import asyncio
from collections.abc import Iterator, Mapping

import pytest

from duckmail.errors import (
    AccountDisabled,
    CommitUnknown,
    InvalidInput,
    NotFound,
    OverQuota,
    Unavailable,
)
from duckmail.mime.headerblock import header_of
from duckmail.model.account import AMPLE_ROOM, Quota
from duckmail.model.envelope import Envelope, Recipient
from duckmail.runtime.batch import Batched
from duckmail.runtime.threads import Pool
from duckmail.services import delivery as module
from duckmail.services.delivery import Delivery, prefix
from duckmail.services.idempotence import delivery_key, identifies_itself
from duckmail.services.recipients import Resolver, wildcards
from tests.support.postbox import Postbox

FROM = Envelope("a@b.example")
RAW = b"Message-ID: <1@b>\r\n\r\nhello\r\n"


@pytest.fixture
def pool() -> Iterator[Pool]:
    pool = Pool("test", 1)
    yield pool
    pool.close()


@pytest.fixture
def postbox() -> Postbox:
    return Postbox()


@pytest.fixture
def delivery(postbox: Postbox, pool: Pool) -> Delivery:
    return Delivery(postbox, pool)


# Recipients


@pytest.mark.parametrize(
    ("address", "user"),
    [
        pytest.param("first.last@a.example", "exact@a.example", id="dots"),
        pytest.param("FirstLast+x.y@A.example", "exact@a.example", id="label-and-case"),
        pytest.param("firstlast@alias.example", "exact@a.example", id="alias-domain"),
        pytest.param("own@alias.example", "own@alias.example", id="exact-before-alias-domain"),
        pytest.param("sales-eu-north@a.example", "long@a.example", id="longest-prefix"),
        pytest.param("sales-us@a.example", "short@a.example", id="shorter-prefix"),
        pytest.param("x-team@a.example", "suffix@a.example", id="suffix"),
        pytest.param("sales-us@alias.example", "short@a.example", id="wildcard-of-the-alias-target"),
        pytest.param("other@a.example", "all@a.example", id="catch-all"),
        pytest.param("other@alias.example", "all@a.example", id="catch-all-of-the-alias-target"),
        pytest.param("abuse@anywhere.example", "abuse@c.example", id="any-domain"),
        pytest.param("abuse@a.example", "all@a.example", id="catch-all-before-any-domain"),
        pytest.param("nobody@d.example", None, id="nobody"),
        pytest.param("*@a.example", None, id="the-pattern-itself-is-nobody"),
        pytest.param("sales*@a.example", None, id="a-partial-pattern-is-nobody"),
        pytest.param("abuse@*", None, id="a-domain-pattern-is-nobody"),
        pytest.param("nodomain", None, id="no-domain"),
    ],
)
async def test_resolving(postbox: Postbox, address: str, user: str | None) -> None:
    postbox.add("exact@a.example", "firstlast@a.example")
    postbox.add("own@alias.example")
    postbox.add("short@a.example", "sales*@a.example")
    postbox.add("long@a.example", "sales-eu*@a.example")
    postbox.add("suffix@a.example", "*-team@a.example")
    postbox.add("all@a.example", "*@a.example")
    postbox.add("abuse@c.example", "abuse@*")
    postbox.aliases["alias.example"] = "a.example"
    record = await Resolver(postbox).resolve(address)
    assert (record and postbox.accounts[record.user].username) == user
    assert sum(name == "find" for name, _ in postbox.queries) <= 3


def test_wildcards_are_few_and_best_first() -> None:
    assert wildcards("ab", "d", "e") == [
        *("ab*@d", "*ab@d", "a*@d", "*b@d", "ab*@e", "*ab@e", "a*@e", "*b@e"),
        *("*@d", "*@e", "ab@*"),
    ]
    assert len(wildcards("x" * 64, "d", None)) == 66


async def test_an_exact_address_costs_one_query_and_aliases_are_cached(postbox: Postbox) -> None:
    postbox.add("a@b.example")
    resolver = Resolver(postbox)
    for _ in range(3):
        assert await resolver.resolve("a@b.example")
    assert postbox.queries == [("alias", 1), ("find", 1), ("find", 1), ("find", 1)]


async def test_concurrent_recipients_share_queries(postbox: Postbox, delivery: Delivery) -> None:
    for number in range(50):
        postbox.add(f"u{number}@b.example")
    await asyncio.gather(*(delivery.recipient(f"u{number}@b.example") for number in range(50)))
    assert [keys for name, keys in postbox.queries if name == "find"] == [1, 49]
    assert len([name for name, _ in postbox.queries if name == "used"]) <= 3


@pytest.mark.parametrize(
    ("address", "size", "error"),
    [
        pytest.param("nobody@b.example", 0, NotFound, id="unknown"),
        pytest.param("off@b.example", 0, AccountDisabled, id="disabled"),
        pytest.param("held@b.example", 0, AccountDisabled, id="suspended"),
        pytest.param("full@b.example", 0, OverQuota, id="full"),
        pytest.param("room@b.example", 0, None, id="some-room"),
        pytest.param("room@b.example", 501, OverQuota, id="not-enough-room-for-what-is-declared"),
        pytest.param("room@b.example", 500, None, id="just-enough-room"),
        pytest.param("default@b.example", 0, OverQuota, id="full-by-the-default-quota"),
        pytest.param("forward@b.example", 0, Unavailable, id="forward-only-waits"),
        pytest.param("gone@b.example", 0, NotFound, id="address-of-a-deleted-account"),
    ],
)
async def test_recipients(postbox: Postbox, pool: Pool, address: str, size: int, error: type[Exception] | None) -> None:
    postbox.add("off@b.example", disabled=True)
    postbox.add("held@b.example", suspended=True)
    postbox.add("full@b.example", quota=1000, used=1000)
    postbox.add("room@b.example", quota=1000, used=500)
    postbox.add("default@b.example", used=5000)
    postbox.record("forward@b.example", targets=("x@y.example",))
    postbox.record("gone@b.example", user="f" * 24)
    delivery = Delivery(postbox, pool, quota=5000)
    if error is None:
        assert (await delivery.recipient(address, size)).quota == Quota(1000)
    else:
        with pytest.raises(error):
            await delivery.recipient(address, size)


@pytest.mark.parametrize("query", ["alias", "find", "users", "inboxes"])
async def test_a_look_up_that_fails_is_temporary(postbox: Postbox, delivery: Delivery, query: str) -> None:
    postbox.add("a@b.example")
    postbox.failing.add(query)
    with pytest.raises(Unavailable):
        await delivery.recipient("a@b.example")


@pytest.mark.parametrize("query", ["prepare", "append"])
async def test_a_delivery_that_fails_is_temporary(postbox: Postbox, delivery: Delivery, query: str) -> None:
    postbox.add("a@b.example")
    recipient = await delivery.recipient("a@b.example")
    postbox.failing.add(query)
    with pytest.raises(Unavailable):
        await delivery.deliver(FROM, RAW, [recipient])


async def test_who_has_ample_room_is_remembered_for_a_second(
    postbox: Postbox, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    postbox.add("ample@b.example")
    postbox.add("near@b.example", quota=AMPLE_ROOM, used=1)
    delivery = Delivery(postbox, pool, quota=2 * AMPLE_ROOM)
    for address, asked in (("ample@b.example", 1), ("near@b.example", 3)):
        postbox.queries.clear()
        for _ in range(3):
            await delivery.recipient(address)
        assert [name for name, _ in postbox.queries].count("users") == asked
    monkeypatch.setattr("duckmail.services.acceptance.RECIPIENT_SECONDS", 0.0)
    later = Delivery(postbox, pool, quota=2 * AMPLE_ROOM)
    for _ in range(2):
        await later.recipient("ample@b.example")
    assert [name for name, _ in postbox.queries].count("users") == 5


# Delivering


async def test_one_content_for_all_one_prefix_each(postbox: Postbox, delivery: Delivery) -> None:
    postbox.add("a@b.example", "a2@b.example")
    postbox.add("c@b.example")
    addresses = ["a+x@b.example", "c@b.example", "a2@b.example"]
    recipients = [await delivery.recipient(address) for address in addresses]
    verdicts = await delivery.deliver(FROM, bytearray(RAW), recipients)
    assert [verdict.recipient.address for verdict in verdicts] == addresses
    assert [verdict.appended and verdict.appended.id for verdict in verdicts] == ["m1", "m2", "m1"]
    assert postbox.prepared == 1
    assert [stored.octets for stored in postbox.stored] == [RAW, RAW]
    assert postbox.stored[0].prefix == b"Return-Path: <a@b.example>\r\nDelivered-To: a+x@b.example\r\n"
    assert postbox.stored[1].prefix == b"Return-Path: <a@b.example>\r\nDelivered-To: c@b.example\r\n"


async def test_over_quota_for_one_is_stored_for_the_other(postbox: Postbox, delivery: Delivery) -> None:
    postbox.add("full@b.example", quota=60, used=20)
    postbox.add("c@b.example")
    recipients = [await delivery.recipient(address) for address in ("full@b.example", "c@b.example")]
    full, stored = await delivery.deliver(FROM, RAW, recipients)
    assert isinstance(full.error, OverQuota)
    assert stored.appended is not None
    assert [message.username for message in postbox.stored] == ["c@b.example"]


async def test_an_account_without_inbox_is_temporary(postbox: Postbox, delivery: Delivery) -> None:
    user = postbox.add("a@b.example")
    recipient = await delivery.recipient("a@b.example")
    del postbox.filled[user.id]
    with pytest.raises(Unavailable):
        await Delivery(postbox, delivery._pool).recipient("a@b.example")
    (verdict,) = await delivery.deliver(FROM, RAW, [recipient])
    assert isinstance(verdict.error, Unavailable)


@pytest.mark.parametrize("filler", [b"", b"x" * 100_000], ids=["small", "hashed-in-a-thread"])
async def test_a_retry_is_stored_once(postbox: Postbox, delivery: Delivery, filler: bytes) -> None:
    postbox.add("a@b.example")
    recipient = await delivery.recipient("a@b.example")
    verdicts = [(await delivery.deliver(FROM, RAW + filler, [recipient]))[0] for _ in range(2)]
    assert [verdict.appended and verdict.appended.duplicate for verdict in verdicts] == [False, True]
    (other,) = await delivery.deliver(FROM, RAW + filler + b"x", [recipient])
    assert other.appended is not None
    assert not other.appended.duplicate


async def test_an_answer_that_does_not_come_is_unknown(
    postbox: Postbox, delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    postbox.add("a@b.example")
    recipient = await delivery.recipient("a@b.example")
    monkeypatch.setattr(module, "DELIVER_SECONDS", 0.05)
    postbox.commits.clear()
    with pytest.raises(CommitUnknown):
        await delivery.deliver(FROM, RAW, [recipient])


def test_the_key_tells_accounts_senders_and_octets_apart() -> None:
    keys = {delivery_key(a, s, d) for a in ("1", "2") for s in ("x", "y") for d in (b"1", b"2")}
    assert len(keys) == 8
    assert all(len(key) == 32 for key in keys)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        pytest.param(b"message-ID: <1@b>\r\n\r\n", True, id="message-id"),
        pytest.param(b"Subject: x\r\nMessage-ID:\r\n <1@b>\r\n\r\n", True, id="folded-message-id"),
        pytest.param(b"Message-ID: \r\nSubject: x\r\n\r\n", False, id="empty-message-id"),
        pytest.param(b"X-Message-ID: 1\r\n\r\n", False, id="another-field"),
        pytest.param(b"Subject: x\r\n\r\nMessage-ID: <1@b>\r\n", False, id="message-id-in-the-body"),
        pytest.param(b"Received: from a by b\r\n\tid 4F; Mon\r\n\r\n", True, id="received-id"),
        pytest.param(b"Received: from a (x)id 4F; Mon\r\n\r\n", True, id="received-id-behind-a-comment"),
        pytest.param(b"Received: from a by b; Mon\r\nReceived: x id 4\r\n\r\n", False, id="only-the-top-received"),
        pytest.param(b"Received: from a by valid x\r\n\r\n", False, id="word-that-ends-in-id"),
        pytest.param(b"", False, id="empty"),
        pytest.param(b"Message-ID: <1@b>", True, id="header-that-never-ends"),
        pytest.param(b"Received: " + b" id" * 50_000 + b" " * 100_000 + b";\r\n\r\n", True, id="many-ids"),
        pytest.param(b"Received: id" + b" " * 200_000 + b";\r\n\r\n", False, id="id-of-nothing"),
    ],
)
def test_what_identifies_a_message(raw: bytes, expected: bool) -> None:
    assert identifies_itself(header_of(raw)) is expected


@pytest.mark.parametrize("evil", ["a\r\nBcc: x@b.example", "a\nb@c", "a\x00b@c", "x" * 4096 + "@b"])
def test_no_address_adds_a_header_line(evil: str) -> None:
    with pytest.raises(InvalidInput):
        prefix(Envelope(evil), Recipient("a@b", "1"))
    with pytest.raises(InvalidInput):
        prefix(FROM, Recipient(evil, "1"))


# Batches


class Slow:
    """A query that takes a turn of the loop and notes its keys."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []
        self.go = asyncio.Event()
        self.error: Exception | None = None

    async def __call__(self, keys: list[int]) -> Mapping[int, str]:
        self.asked.append(keys)
        await self.go.wait()
        if self.error:
            raise self.error
        return {key: str(key) for key in keys if key}


async def test_questions_during_a_query_share_the_next() -> None:
    slow = Slow()
    batched = Batched(slow)
    tasks = [asyncio.get_running_loop().create_task(batched.get(key)) for key in (1, 2, 0, 2)]
    await asyncio.sleep(0.01)
    slow.go.set()
    assert await asyncio.gather(*tasks) == ["1", "2", None, "2"]
    assert slow.asked == [[1], [2, 0]]


async def test_an_error_reaches_all_who_asked() -> None:
    slow = Slow()
    slow.error = Unavailable()
    batched = Batched(slow)
    tasks = [asyncio.get_running_loop().create_task(batched.get(key)) for key in (1, 2, 3)]
    await asyncio.sleep(0.01)
    slow.go.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, Unavailable) for result in results)
    slow.error = None
    assert await batched.get(4) == "4"


@pytest.mark.parametrize("victim", [0, 1, 2])
async def test_one_that_is_cancelled_takes_nobody_along(victim: int) -> None:
    slow = Slow()
    batched = Batched(slow)
    tasks = [asyncio.get_running_loop().create_task(batched.get(key)) for key in (1, 2, 3)]
    await asyncio.sleep(0.01)
    tasks[victim].cancel()
    await asyncio.sleep(0.01)
    slow.go.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, asyncio.CancelledError) for result in results] == [at == victim for at in range(3)]
    assert [result for result in results if isinstance(result, str)] == [
        str(key) for at, key in enumerate((1, 2, 3)) if at != victim
    ]
