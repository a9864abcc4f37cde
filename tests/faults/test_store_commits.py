"""The wire to MongoDB breaks at the worst moments: a change happens once or not at all, and nobody is lied to."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from bson.objectid import ObjectId

from duckmail.errors import CommitUnknown, Unavailable
from duckmail.model.account import NO_QUOTA, Principal
from duckmail.model.message import FlagChange, FlagOperation, NewMessage
from duckmail.model.ranges import Ranges
from duckmail.services.mail import Mail
from storage.mongo import transactions
from storage.store import Store
from tests.support.proxy import Loss, Proxy
from tests.support.stores import Ears, message, open_store, put
from tests.support.waiting import transactions_stand

ALL = Ranges(((1, 4_294_967_295),))
FLAG = FlagChange(FlagOperation.ADD, ("\\Flagged",))
MANY = 1_000


@pytest.fixture
async def store(wire: Proxy, database_name: str) -> AsyncIterator[Store]:
    async with open_store(wire.uri, database_name) as opened:
        yield opened
        wire.lose_nothing_more()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives a commit up after a second."""
    monkeypatch.setattr(transactions, "COMMIT_SECONDS", 1.0)


async def append(mail: Mail, number: int, key: bytes | None = None) -> int:
    new = NewMessage(await mail.prepare(message(number)), delivery_key=key)
    return (await mail.append("INBOX", [new]))[0].uid


async def check(store: Store, principal: Principal, messages: int) -> None:
    """So many messages, counted rightly, and the view shows them."""
    mailbox = await store.mailboxes.by_path(principal.user, "INBOX")
    rows = await store.database["messages"].find({"mailbox": ObjectId(mailbox.id)}).to_list(None)
    assert (len(rows), mailbox.messages) == (messages, messages)
    assert len({row["uid"] for row in rows}) == messages
    assert mailbox.size == sum(row["size"] for row in rows)


@pytest.mark.parametrize("command", ["update", "find", "insert", "commitTransaction"])
@pytest.mark.parametrize("loss", list(Loss), ids=lambda loss: loss.name.lower())
async def test_a_lost_step_is_made_good(
    store: Store, principal: Principal, mail: Mail, wire: Proxy, command: str, loss: Loss
) -> None:
    view = await mail.open("INBOX", Ears())
    await append(mail, 1)
    wire.lose(command, loss)
    assert await append(mail, 2) == 2
    assert len(wire.lost) == 1
    assert await append(mail, 3) == 3
    await mail.sync(view)
    assert list(view.uids) == [1, 2, 3]
    await check(store, principal, 3)


@pytest.mark.usefixtures("impatient")
async def test_a_commit_that_nobody_heard_of_is_looked_up(
    store: Store, principal: Principal, mail: Mail, wire: Proxy
) -> None:
    view = await mail.open("INBOX", Ears())
    wire.lose("commitTransaction", Loss.ANSWER, MANY)
    assert await append(mail, 1) == 1
    assert list(view.uids) == [1]
    await check(store, principal, 1)


@pytest.mark.usefixtures("impatient")
async def test_a_commit_that_never_arrived_changes_nothing_and_holds_nobody_up(
    store: Store, principal: Principal, mail: Mail, wire: Proxy
) -> None:
    wire.lose("commitTransaction", Loss.REQUEST, MANY)
    with pytest.raises(Unavailable):
        await append(mail, 1)
    await check(store, principal, 0)
    wire.lose_nothing_more()
    assert await append(mail, 2) == 1
    await check(store, principal, 1)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("loss", list(Loss), ids=lambda loss: loss.name.lower())
async def test_what_cannot_be_looked_up_is_said_to_be_unknown(mail: Mail, wire: Proxy, loss: Loss) -> None:
    await append(mail, 1)
    view = await mail.open("INBOX", Ears())
    wire.lose("commitTransaction", loss, MANY)
    with pytest.raises(CommitUnknown):
        await mail.store_flags(view, ALL, FLAG)
    wire.lose_nothing_more()
    await mail.sync(view)
    assert bool(view.flags[0]) is (loss is Loss.ANSWER)
    await mail.store_flags(view, ALL, FLAG)
    assert view.flags[0]


@pytest.mark.usefixtures("impatient")
async def test_nobody_can_ask_whether_it_happened(store: Store, principal: Principal, mail: Mail, wire: Proxy) -> None:
    """Neither the commit nor the question gets through: unknown is what the client is told. A retry stores it once."""
    for command in ("commitTransaction", "killSessions"):
        wire.lose(command, Loss.ANSWER, MANY)
    with pytest.raises(CommitUnknown):
        await append(mail, 1, b"k" * 32)
    wire.lose_nothing_more()
    new = NewMessage(await mail.prepare(message(1)), delivery_key=b"k" * 32)
    inbox = await mail.mailbox("INBOX")
    again = (await store.append_many([(principal.user, inbox.id, new, NO_QUOTA)]))[0]
    assert getattr(again, "duplicate", False)
    await check(store, principal, 1)


async def test_no_transaction_is_left_open_by_a_cut_wire(
    store: Store, principal: Principal, mail: Mail, wire: Proxy, mongo_uri: str, database_name: str
) -> None:
    """A transaction has written the mailbox, then it and its abort are lost. Another process need not wait until
    MongoDB gives up on it: that would be after a minute, longer than anybody tries."""
    content = await mail.prepare(message(1))
    await mail.append("INBOX", [NewMessage(content)])
    async with open_store(mongo_uri, database_name, slot="other") as other, transactions_stand(other.client):
        wire.lose("insert", Loss.REQUEST)
        wire.lose("abortTransaction", Loss.REQUEST, MANY)
        inbox = await mail.mailbox("INBOX")
        here = asyncio.get_running_loop().create_task(
            store.append(principal.user, inbox.id, [NewMessage(content)], NO_QUOTA)
        )
        while not wire.lost:
            await asyncio.sleep(0)
        await put(Mail(other, principal), "INBOX", [3])
        await here
    await check(store, principal, 3)
    await check(store, principal, 3)
