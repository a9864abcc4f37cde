"""Into the queue: durable when it is answered, together with the copy for the sender, once for each key."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from bson.objectid import ObjectId

from duckmail.errors import InvalidInput, LimitReached, NotFound, OverQuota, Unavailable
from duckmail.model.account import NO_QUOTA, Quota
from duckmail.model.message import NewMessage
from duckmail.model.queue import Origin, OutboundEnvelope, QueueRecipient
from duckmail.services.queue.queue import NewMail, SentCopy
from storage.fsck import check
from storage.queuedocuments import new_document
from tests.support.outbound import Outbound, World, outbound
from tests.support.stores import message


@pytest.fixture
async def idle(mongo_uri: str, database_name: str) -> AsyncIterator[Outbound]:
    async with outbound(mongo_uri, database_name, World(), start=False) as one:
        yield one


async def new_mail(idle: Outbound, user: str = "", key: bytes | None = None, number: int = 1) -> NewMail:
    content = await idle.store.contents.prepare(message(number))
    return NewMail(
        user, Origin.API, OutboundEnvelope("anna@example.com"), [QueueRecipient("c@far.test")], content, key=key
    )


async def queued(idle: Outbound) -> int:
    return await idle.store.database["queue"].count_documents({})


@pytest.mark.parametrize("same", [True, False], ids=["of-the-same-octets", "of-others"])
async def test_the_copy_is_in_the_same_commit(idle: Outbound, same: bool) -> None:
    anna = await idle.account("anna")
    inbox = await idle.store.mailboxes.by_path(anna.user, "INBOX")
    mail = await new_mail(idle, anna.user)
    content = mail.content if same else await idle.store.contents.prepare(b"Bcc: x@far.test\r\n" + message(1))
    identifier = await idle.queue.submit(mail, SentCopy(inbox.id, NewMessage(content, ("\\Seen",)), NO_QUOTA))
    found = await idle.queue.get(identifier)
    assert (found.user, found.content, found.size) == (anna.user, mail.content.id, len(message(1)))
    assert len(await idle.inbox(anna)) == 1
    assert await idle.store.database["contents"].count_documents({}) == (1 if same else 2)
    assert await check(idle.store) == []


async def test_without_room_for_the_copy_nothing_is_queued(idle: Outbound) -> None:
    anna = await idle.account("anna")
    inbox = await idle.store.mailboxes.by_path(anna.user, "INBOX")
    mail = await new_mail(idle, anna.user)
    with pytest.raises(OverQuota):
        await idle.queue.submit(mail, SentCopy(inbox.id, NewMessage(mail.content), Quota(10)))
    with pytest.raises(NotFound):
        await idle.queue.submit(mail, SentCopy(str(ObjectId()), NewMessage(mail.content), NO_QUOTA))
    assert await queued(idle) == 0
    await idle.queue.submit(mail)
    assert await check(idle.store) == []


@pytest.mark.parametrize("with_copy", [False, True], ids=["alone", "with-a-copy"])
async def test_a_key_is_taken_once(idle: Outbound, with_copy: bool) -> None:
    anna, bert = await idle.account("anna"), await idle.account("bert")
    copy = None
    if with_copy:
        inbox = await idle.store.mailboxes.by_path(anna.user, "INBOX")
        copy = SentCopy(inbox.id, NewMessage(await idle.store.contents.prepare(message(7))), NO_QUOTA)
    first = await idle.queue.submit(await new_mail(idle, anna.user, b"k"), copy)
    assert await idle.queue.submit(await new_mail(idle, anna.user, b"k"), copy) == first
    assert await queued(idle) == 1
    assert len(await idle.inbox(anna)) == with_copy
    assert await idle.queue.submit(await new_mail(idle, bert.user, b"k")) != first
    assert await idle.queue.submit(await new_mail(idle, anna.user, b"l")) != first
    assert await queued(idle) == 3


async def test_many_at_once_do_not_suffer_from_each_other(idle: Outbound) -> None:
    """One cannot be written at all, and two are the same."""
    mails = [await new_mail(idle, number=number) for number in range(30)]
    mails[7], mails[19] = [replace(mail, key=b"same") for mail in (mails[7], mails[19])]
    documents = [
        new_document(
            user="",
            origin=mail.origin,
            envelope=mail.envelope,
            recipients=[QueueRecipient("\ud800" if number == 11 else "c@far.test")],
            content=mail.content.id,
            size=mail.size,
            key=mail.key,
        )
        for number, mail in enumerate(mails)
    ]
    tasks = [idle.store.enqueue(document, mail.content) for document, mail in zip(documents, mails, strict=True)]
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(found[11], Unavailable)
    assert found[7] == found[19]
    assert len({str(each) for each in found}) == 29
    assert await queued(idle) == 28
    assert await check(idle.store) == []


async def test_more_than_one_commit_takes(idle: Outbound) -> None:
    mails = [await new_mail(idle, number=number) for number in range(250)]
    assert len(set(await asyncio.gather(*map(idle.queue.submit, mails)))) == 250
    assert await queued(idle) == 250


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"recipients": []}, id="nobody"),
        pytest.param({"recipients": [QueueRecipient("a@b.test>\r\nDATA")]}, id="line-end-in-recipient"),
        pytest.param({"recipients": [QueueRecipient("a@b.test", orcpt="rfc822;x\ny")]}, id="line-end-in-orcpt"),
        pytest.param({"envelope": OutboundEnvelope("a@b.test\r")}, id="line-end-in-sender"),
        pytest.param({"envelope": OutboundEnvelope("a@b.test", envid="x\r\n")}, id="line-end-in-envid"),
        pytest.param({"prefix": b"X: y"}, id="header-line-without-end"),
    ],
)
async def test_nothing_goes_in_that_would_become_a_command(idle: Outbound, change: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        await idle.queue.submit(replace(await new_mail(idle), **change))  # type: ignore[arg-type]
    assert await queued(idle) == 0


async def test_as_many_recipients_as_a_document_can_hold(idle: Outbound) -> None:
    most = [QueueRecipient(f"{number:0150d}@far.test") for number in range(10_000)]
    with pytest.raises(LimitReached):
        await idle.queue.submit(replace(await new_mail(idle), recipients=[*most, QueueRecipient("a@b.test")]))
    identifier = await idle.queue.submit(replace(await new_mail(idle), recipients=most))
    (claim,) = await idle.store.queue.claim("test", 1)
    told = [replace(each, reply="x" * 500, status="5.7.999", host="h" * 253) for each in claim.message.recipients]
    await idle.store.queue.finish(claim, told, range(len(told)))
    assert len((await idle.queue.get(identifier)).recipients) == 10_000


async def test_census(idle: Outbound) -> None:
    assert await idle.store.queue.census() == {}
    identifiers = [await idle.queue.submit(await new_mail(idle)) for _ in range(4)]
    await idle.queue.hold(identifiers[0])
    await idle.store.queue.claim_one(identifiers[1], "test")
    claim = await idle.store.queue.claim_one(identifiers[2], "test")
    await idle.store.queue.finish(claim, [replace(claim.message.recipients[0], due=None)], [0])
    census = await idle.store.queue.census()
    assert {name: group.messages for name, group in census.items()} == {
        "held": 1,
        "sending": 1,
        "deferred": 1,
        "due": 1,
    }
    assert census["held"].oldest == (await idle.queue.get(identifiers[0])).created


async def test_fsck_finds_damage_in_the_queue(idle: Outbound) -> None:
    for _ in range(4):
        await idle.queue.submit(await new_mail(idle))
    assert await check(idle.store) == []
    rows = await idle.store.database["queue"].find({}).to_list(None)
    damage = (
        {"$set": {"content": ObjectId()}},
        {"$set": {"ended": rows[0]["created"]}},
        {"$set": {"recipients.0.state": "relayed"}},
        {"$unset": {"due": 1}},
    )
    for row, update in zip(rows, damage, strict=True):
        await idle.store.database["queue"].update_one({"_id": row["_id"]}, update)
    assert [difference.what for difference in await check(idle.store)] == [
        "its content does not exist",
        "is at its end, but recipients wait",
        "is not at its end, but nobody waits",
        "nobody will look at it",
    ]
