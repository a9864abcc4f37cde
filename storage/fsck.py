"""The whole store checked against itself: every counter recomputed, every reference followed.

It runs beside live servers without false alarms: whatever is compared was read in one snapshot. What it finds was
damaged from outside, or is a defect: nothing drifts by itself (DESIGN §4, P4).
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from bson.objectid import ObjectId

from storage.changes.base import Key
from storage.changes.recount import Recount
from storage.checks import accounts, audits, contents, parts, queue
from storage.checks.accounts import Account
from storage.checks.difference import Counts, Difference
from storage.mongo.client import operation
from storage.store import Store

BATCH = 1_000
WALK_SECONDS = 3600.0
# Whose documents begin their keys with the account.
_OWNED = ("mailboxes", "messages", "expunged", "archived", "addresses")


class Fsck:
    """One run over a store. `repair`: recounts the mailboxes whose numbers are wrong. `deep`: reads every octet."""

    def __init__(self, store: Store, *, repair: bool = False, deep: bool = False) -> None:
        self._store = store
        self._database = store.database
        self._repair = repair
        self._deep = deep
        self.counts = Counts()  # so far

    async def run(self) -> AsyncIterator[Difference]:
        """The differences as they are found. Raises: Unavailable."""
        async for user in self._owners():
            for difference in await self._account(user):
                yield difference
        async for difference in queue.examine(self._database, self.counts):
            yield difference
        async for difference in audits.examine(self._database, self.counts):
            yield difference
        async for difference in contents.examine(self._database, self._store.contents, self.counts, deep=self._deep):
            yield difference
        async for difference in parts.examine(self._database, self.counts, deep=self._deep):
            yield difference
        async for difference in parts.stray_chunks(self._database):
            yield difference
        await contents.count_unnamed(self._database, self.counts)
        await parts.count_unnamed(self._database, self.counts)

    async def _owners(self) -> AsyncIterator[ObjectId]:
        """All accounts, then whoever else something belongs to."""
        last: object = None
        while True:
            query = {} if last is None else {"_id": {"$gt": last}}
            async with operation():
                rows = await self._database["users"].find(query, {"_id": 1}).sort("_id", 1).limit(BATCH).to_list(None)
            for row in rows:
                yield row["_id"]
            if len(rows) < BATCH:
                break
            last = rows[-1]["_id"]
        for user in await self._strangers():
            yield user

    async def _strangers(self) -> list[ObjectId]:
        """Owners without an account: removed ones, whose mail is being archived, and damage."""
        found: set[ObjectId] = set()
        for name in _OWNED:
            async with operation(WALK_SECONDS):
                batch: list[ObjectId] = []
                async for row in await self._database[name].aggregate([{"$group": {"_id": "$user"}}]):
                    batch.append(row["_id"])
                    if len(batch) >= BATCH:
                        found |= await self._unknown(batch)
                        batch.clear()
                found |= await self._unknown(batch)
        return sorted(found)

    async def _unknown(self, owners: Sequence[ObjectId | None]) -> set[ObjectId]:
        wanted = {owner for owner in owners if owner is not None}  # addresses that only forward have none
        rows = await self._database["users"].find({"_id": {"$in": list(wanted)}}, {"_id": 1}).to_list(None)
        return wanted - {row["_id"] for row in rows}

    async def _account(self, user: ObjectId) -> list[Difference]:
        account = await accounts.examine(self._database, user)
        self.counts.accounts += 1
        self.counts.mailboxes += account.mailboxes
        self.counts.messages += account.messages
        self.counts.archived += account.archived
        if not self._repair or not account.repairs:
            return [difference for difference, _ in account.differences]
        await self._put_right(account)
        return [replace(difference, repaired=mailbox in account.repairs) for difference, mailbox in account.differences]

    async def _put_right(self, account: Account) -> None:
        for mailbox, repair in account.repairs.items():
            while await self._store.committer.submit(Recount(Key(account.user, mailbox), repair.sizes)):
                pass


async def check(store: Store, repair: bool = False, deep: bool = False) -> list[Difference]:
    """All differences; with `repair` also those that were put right. Raises: Unavailable."""
    return [difference async for difference in Fsck(store, repair=repair, deep=deep).run()]
