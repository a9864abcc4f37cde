"""Indexes and the schema's version. Migrations run online, once, under a lease, and can be previewed."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from bson.objectid import ObjectId
from pymongo.errors import CollectionInvalid, DuplicateKeyError, OperationFailure

from duckmail.errors import Unavailable
from duckmail.runtime.tasks import Tasks
from storage.mongo.client import Database, operation

log = logging.getLogger("duckmail.storage")

LEASE = timedelta(seconds=10)
RENEW_SECONDS = 3.0
WAIT_SECONDS = 600.0

IndexSpec = tuple[str, list[tuple[str, int]], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema. `run` is idempotent: a process may die in it and another begins it anew."""

    version: int
    summary: str
    run: Callable[[Database], Awaitable[None]]


class Schema:
    """`indexes` and `collections` are ensured at every start, the migrations once per database."""

    def __init__(
        self,
        database: Database,
        indexes: Sequence[IndexSpec],
        collections: Sequence[str],
        migrations: Sequence[Migration],
    ) -> None:
        self._database = database
        self._indexes = indexes
        self._collections = sorted({spec[0] for spec in indexes} | set(collections))
        self._migrations = sorted(migrations, key=lambda migration: migration.version)

    @property
    def latest(self) -> int:
        return max((migration.version for migration in self._migrations), default=1)

    async def version(self) -> int | None:
        """The database's version; None when it is empty."""
        async with operation():
            document = await self._database["schema"].find_one({"_id": "version"})
        return int(document["version"]) if document else None

    async def pending(self) -> list[Migration]:
        """What `upgrade` would run, in order."""
        found = await self.version()
        return [] if found is None else [step for step in self._migrations if step.version > found]

    async def upgrade(self) -> None:
        """Brings the database up to this version; waits while another process does it.

        Raises: Unavailable: the database is newer than this program, or does not answer.
        """
        if await self._current():
            return
        owner = ObjectId()
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while not await self._lock(owner):  # noqa: ASYNC110 -- the lock is in the database
                    await asyncio.sleep(0.5)
        except TimeoutError:
            raise Unavailable("Another process has been changing the database for too long") from None
        try:
            async with Tasks("schema") as tasks:
                tasks.start(self._keep(owner), "lease")
                if not await self._current():
                    await self._run()
        finally:
            async with operation():
                await self._database["schema"].delete_one({"_id": "lease", "owner": owner})

    async def _keep(self, owner: ObjectId) -> None:
        """A short lease, renewed: who is killed in the middle holds up the next one for no longer than that."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            expires = datetime.now(UTC) + LEASE
            try:
                async with operation(5):
                    query = {"_id": "lease", "owner": owner}
                    await self._database["schema"].update_one(query, {"$set": {"expires": expires}})
            except Unavailable as error:
                log.warning("schema lease not renewed", extra={"fields": error.fields})

    async def _current(self) -> bool:
        found = await self.version()
        if found is not None and found > self.latest:
            raise Unavailable(f"The database has schema version {found}, newer than this program's {self.latest}")
        return found == self.latest and await self._fingerprint() == self._wanted()

    def _wanted(self) -> list[str]:
        return sorted(f"{collection} {keys} {options}" for collection, keys, options in self._indexes)

    async def _fingerprint(self) -> list[str]:
        async with operation():
            document = await self._database["schema"].find_one({"_id": "version"})
        return list(document.get("indexes", [])) if document else []

    async def _lock(self, owner: ObjectId) -> bool:
        now = datetime.now(UTC)
        try:
            async with operation():
                result = await self._database["schema"].update_one(
                    {"_id": "lease", "expires": {"$lt": now}},
                    {"$set": {"owner": owner, "expires": now + LEASE}},
                    upsert=True,
                )
        except Unavailable as error:
            if isinstance(error.__cause__, DuplicateKeyError):
                return False
            raise
        return result.modified_count == 1 or result.upserted_id is not None

    async def _run(self) -> None:
        steps = await self.pending()
        await self._ensure()
        for step in steps:
            log.info("migrating", extra={"fields": {"version": step.version, "summary": step.summary}})
            await step.run(self._database)
            await self._record({"version": step.version})  # so that dying in a later one does not repeat it
        await self._record({"version": self.latest, "indexes": self._wanted()})

    async def _record(self, found: dict[str, Any]) -> None:
        update = {"$set": {**found, "at": datetime.now(UTC)}}
        async with operation():
            await self._database["schema"].update_one({"_id": "version"}, update, upsert=True)

    async def _ensure(self) -> None:
        """Collections must exist before transactions write to them; indexes are built online."""
        async with operation(WAIT_SECONDS):
            existing = set(await self._database.list_collection_names())
        for name in self._collections:
            if name not in existing:
                try:
                    async with operation():
                        await self._database.create_collection(name, storageEngine=_ZSTD)
                except Unavailable as error:
                    if not isinstance(error.__cause__, CollectionInvalid | OperationFailure):
                        raise
        for collection, keys, options in self._indexes:
            async with operation(WAIT_SECONDS):
                await self._database[collection].create_index(keys, **options)


_ZSTD = {"wiredTiger": {"configString": "block_compressor=zstd"}}
