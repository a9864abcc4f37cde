"""Views whose reads have pauses between them, while two processes write: nothing is lost, stale or disordered."""

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress

import pytest
from bson.objectid import ObjectId
from pymongo.asynchronous.client_session import AsyncClientSession

from duckmail.errors import NotFound, Unavailable
from duckmail.model.account import Principal
from duckmail.model.flags import SEEN
from duckmail.model.message import FlagChange, FlagOperation, NewMessage
from duckmail.model.ranges import Ranges
from duckmail.services.mail import Mail
from storage.store import Store
from storage.viewcache import Key, ViewCache
from storage.views import View
from tests.support.stores import message, new_account, open_store, put

PATHS = ("INBOX", "Other")
SECONDS = 5.0
PAUSE = 0.02  # longest, between two reads of one sync


class SlowViews(ViewCache):
    """The reads of a load or a sync with pauses between them; `fail` raises instead of the next read."""

    chance = random.Random(1)
    fail: Exception | None = None
    reached: asyncio.Event | None = None

    async def _mailbox(self, key: Key, session: AsyncClientSession):  # noqa: ANN202
        document = await super()._mailbox(key, session)
        if self.reached is not None:
            self.reached.set()
        await asyncio.sleep(self.chance.random() * PAUSE)
        if self.fail is not None:
            failure, self.fail = self.fail, None
            raise failure
        return document

    async def _expunged(self, user: ObjectId, mailbox: ObjectId, since: int, session: AsyncClientSession) -> list[int]:
        await asyncio.sleep(self.chance.random() * PAUSE)
        found = await super()._expunged(user, mailbox, since, session)
        await asyncio.sleep(self.chance.random() * PAUSE)
        return found


def slow(store: Store, seed: int) -> SlowViews:
    """The store's views, slowed down."""
    store.views.__class__ = SlowViews
    views = store.views
    assert isinstance(views, SlowViews)
    views.chance = random.Random(seed)
    return views


class Witness:
    """Compares the view after each change with what it was before: every step must be one that a client can follow."""

    def __init__(self) -> None:
        self.view: View | None = None
        self.steps = 0
        self.wrong: list[str] = []

    def watch(self, view: View) -> None:
        self.view = view
        self._keep()

    def _keep(self) -> None:
        assert self.view is not None
        self._rows = dict(zip(self.view.uids, zip(self.view.flags, self.view.modseqs, strict=True), strict=True))
        self._uidnext, self._modseq = self.view.mailbox.uidnext, self.view.mailbox.modseq

    def view_changed(self, expunged: Sequence[int]) -> None:
        if self.view is None:
            return
        view, mailbox, before = self.view, self.view.mailbox, self._rows
        now = dict(zip(view.uids, zip(view.flags, view.modseqs, strict=True), strict=True))
        new = [uid for uid in now if uid not in before]
        changed = [uid for uid in now if uid in before and now[uid] != before[uid]]
        self.steps += 1
        checks = {
            "UIDs ascend": list(view.uids) == sorted(set(view.uids)),
            "the mailbox moves forward": mailbox.modseq > self._modseq and mailbox.uidnext >= self._uidnext,
            "what is new is above every UID known": all(uid >= self._uidnext for uid in new),
            "what is new is below UIDNEXT": all(uid < mailbox.uidnext for uid in new),
            "what left was told": {uid for uid in before if uid not in now} == set(expunged) & set(before),
            "told once": len(expunged) == len(set(expunged)),
            "changes are newer than all before": all(now[uid][1] > self._modseq for uid in (*new, *changed)),
            "none is newer than the mailbox": all(modseq <= mailbox.modseq for _, modseq in now.values()),
            "changes since": view.changed_since(self._modseq) == sorted((*new, *changed)),
            "counters": (mailbox.messages == len(now)),
        }
        self.wrong += [
            f"{name}: modseq {self._modseq} -> {mailbox.modseq}" for name, kept in checks.items() if not kept
        ]
        self._keep()


class Writer:
    """Changes the mailboxes of an account at random, through one process's store."""

    def __init__(self, store: Store, principal: Principal, seed: int) -> None:
        self.mail = Mail(store, principal)
        self.chance = random.Random(seed)
        self.witnesses = {path: Witness() for path in PATHS}
        self.views: dict[str, View] = {}
        self.done = 0

    async def open(self) -> None:
        for path, witness in self.witnesses.items():
            self.views[path] = await self.mail.open(path, witness)
            witness.watch(self.views[path])

    def close(self) -> None:
        for path, witness in self.witnesses.items():
            witness.view = None
            self.mail.close_view(self.views[path], witness)

    async def run(self, end: float) -> None:
        await self.open()
        while asyncio.get_running_loop().time() < end:
            with suppress(Unavailable):
                await self._step()
            self.done += 1
            if self.chance.random() < 0.05:
                self.close()
                await self.open()

    async def _step(self) -> None:
        path = self.chance.choice(PATHS)
        view, other = self.views[path], self.chance.choice(PATHS)
        uids = Ranges.of(*self.chance.sample(list(view.uids), min(len(view.uids), self.chance.randint(1, 4))))
        flags = tuple(self.chance.sample(["\\Seen", "\\Deleted", "\\Flagged", "work"], 2))
        match self.chance.randrange(12):
            case 0 | 1 | 2:
                new = NewMessage(await self.mail.prepare(message(self.chance.randrange(1000))), flags)
                await self.mail.append(path, [new])
            case 3 | 4 | 5:
                operation = self.chance.choice(list(FlagOperation))
                await self.mail.store_flags(view, uids, FlagChange(operation, flags))
            case 6 | 7:
                await self.mail.move(view, uids, other)
            case 8:
                await self.mail.copy(view, uids, other)
            case 9 | 10:
                await self.mail.expunge(view)
            case _:
                await self.mail.sync(view)


async def rows_of(store: Store, view: View) -> list[tuple[int, int, int]]:
    query = {"user": ObjectId(view.mailbox.user), "mailbox": ObjectId(view.mailbox.id)}
    found = await store.database["messages"].find(query).sort("uid", 1).to_list(None)
    return [(row["uid"], row["flags"], row["modseq"]) for row in found]


@pytest.mark.parametrize("redis", [True, False], ids=["redis", "polling"])
async def test_no_listener_misses_anything(mongo_uri: str, database_name: str, redis_url: str, redis: bool) -> None:
    url = redis_url if redis else None
    async with (
        open_store(mongo_uri, database_name, url, slot="one") as one,
        open_store(mongo_uri, database_name, url, slot="two") as two,
    ):
        slow(one, 1)
        slow(two, 2)
        principal = await new_account(one)
        await Mail(one, principal).create("Other")
        end = asyncio.get_running_loop().time() + SECONDS
        writers = [Writer(store, principal, seed) for seed, store in enumerate([one, two] * 3)]
        await asyncio.gather(*(writer.run(end) for writer in writers))
        for writer in writers:
            for path, witness in writer.witnesses.items():
                assert witness.wrong == []
                view = writer.views[path]
                await writer.mail.sync(view)
                assert list(zip(view.uids, view.flags, view.modseqs, strict=True)) == await rows_of(one, view)
            writer.close()
        steps = sum(witness.steps for writer in writers for witness in writer.witnesses.values())
        print(f"{sum(writer.done for writer in writers)} operations, {steps} steps seen")
        assert steps > 30


@pytest.mark.parametrize("first", ["vanishes", "fails"])
async def test_a_failed_opening_leaves_the_next_one_a_live_view(mongo_uri: str, database_name: str, first: str) -> None:
    """Two sessions open a mailbox at the same time, one of them comes to nothing: the other hears what happens."""
    async with open_store(mongo_uri, database_name) as store:
        views = slow(store, 1)
        principal = await new_account(store)
        mail = Mail(store, principal)
        inbox = await mail.mailbox("INBOX")
        views.reached = asyncio.Event()
        ears = [Witness(), Witness()]
        opening = [
            asyncio.get_running_loop().create_task(views.open(principal.user, inbox.id, listener)) for listener in ears
        ]
        await views.reached.wait()
        if first == "fails":
            views.fail = Unavailable()
            with pytest.raises(Unavailable):
                await opening[0]
            left = 1
        else:
            opening[1].cancel()
            with pytest.raises(asyncio.CancelledError):
                await opening[1]
            left = 0
        view = await opening[left]
        ears[left].watch(view)
        await mail.append("INBOX", [NewMessage(await mail.prepare(message(1)))])
        await mail.sync(view)
        assert list(view.uids) == [1]
        assert ears[left].steps == 1
        views.release(view, ears[left])


async def test_a_deleted_mailbox_is_gone_for_who_is_opening_it(mongo_uri: str, database_name: str) -> None:
    async with open_store(mongo_uri, database_name) as store:
        views = slow(store, 1)
        principal = await new_account(store)
        mail = Mail(store, principal)
        other = await mail.create("Other")
        await views.open(principal.user, other.id, Witness())
        await mail.delete("Other")
        with pytest.raises(NotFound):
            await views.open(principal.user, other.id, Witness())


@pytest.mark.parametrize("what", ["store", "store-nothing-left-to-do", "expunge", "move"])
async def test_a_change_is_seen_by_who_made_it_although_another_process_was_faster(
    mongo_uri: str, database_name: str, what: str
) -> None:
    """The answer to a command is written from the view: it must not show what was before the command."""
    async with (
        open_store(mongo_uri, database_name, slot="one") as one,
        open_store(mongo_uri, database_name, slot="two") as two,
    ):
        principal = await new_account(one)
        here, there = Mail(one, principal), Mail(two, principal)
        await here.create("Other")
        await put(here, "INBOX", range(3), ("\\Deleted",))
        witness = Witness()
        view = await here.open("INBOX", witness)
        witness.watch(view)
        far = await there.open("INBOX", Witness())
        seen = FlagChange(FlagOperation.ADD, ("\\Seen",))
        # Nobody tells the first process of this: no Redis, and the next poll is far away.
        await there.store_flags(far, Ranges.of(1 if what.startswith("store-") else 3), seen)
        match what:
            case "expunge":
                await here.expunge(view, Ranges.of(1))
            case "move":
                await here.move(view, Ranges.of(1), "Other")
            case _:
                await here.store_flags(view, Ranges.of(1), seen)
        if what.startswith("store"):
            assert view.flags[view.position(1)] & SEEN
        else:
            assert view.position(1) < 0
        assert witness.wrong == []
        here.close_view(view, witness)
