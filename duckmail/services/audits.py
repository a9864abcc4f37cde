"""Audits: made, looked at, exported and deleted, by those who have that role."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from duckmail.errors import InvalidInput, NotFound, NotPermitted, Unavailable
from duckmail.mime.mbox import Quoting, first_lines
from duckmail.model.account import Principal
from duckmail.model.audit import Audit, AuditedMessage
from duckmail.services.tasks.runner import Handler, Run
from duckmail.services.tasks.tasks import TaskList
from storage.audits import DELETE, IMPORT
from storage.store import Store

PAGE = 200  # messages of an export that are looked up at once
LOADED = 4  # contents in memory at once, up to 2 MiB each
# A message that moved while the walk went on is found by when it came to where it is: clocks differ by less than this.
SKEW = timedelta(seconds=30)

_READERS = frozenset({"root", "audit", "auditclient"})
_WRITERS = frozenset({"root", "audit"})


class Audits:
    def __init__(self, store: Store, tasks: TaskList) -> None:
        self._store = store
        self._records = store.audits
        self._tasks = tasks
        self.handlers: Mapping[str, Handler] = {IMPORT: self._import, DELETE: self._delete}

    async def create(
        self, user: str, start: datetime | None, end: datetime | None, expires: datetime, by: Principal
    ) -> str:
        """Copies what the account has, and what it gets and sends from now on, by the internal date from `start` to
        `end`, until it expires; its id.

        Raises: InvalidInput, NotPermitted, Unavailable, CommitUnknown.
        """
        _require(by, _WRITERS)
        if expires <= datetime.now(UTC):
            raise InvalidInput('"expires" must be greater than "now"')
        audit = await self._records.create(user, start, end, expires)
        self._tasks.woken()
        return audit

    async def get(self, audit: str, by: Principal) -> Audit:
        """Raises: NotFound, NotPermitted, Unavailable."""
        _require(by, _READERS)
        return await self._records.get(audit)

    async def delete(self, audit: str, by: Principal) -> None:
        """Nothing is copied any more; what it has goes with its task. Raises: NotFound, NotPermitted, ..."""
        _require(by, _WRITERS)
        if await self._records.close(audit) is None:
            raise NotFound("Audit was not found")
        await self._store.task_records.hurry(audit)
        self._tasks.woken()

    async def export(self, audit: str, by: Principal) -> AsyncIterator[bytes]:
        """Its messages as a mailbox file, by internal date. Raises: NotFound, NotPermitted, Unavailable."""
        return self._export(await self.get(audit, by))

    async def _export(self, audit: Audit) -> AsyncIterator[bytes]:
        last: AuditedMessage | None = None
        while page := await self._records.page(audit, PAGE, last):
            for start in range(0, len(page), LOADED):
                some = page[start : start + LOADED]
                contents = await self._store.contents.load([message.content for message in some])
                for message in some:
                    if message.content not in contents:
                        raise Unavailable(error="a content is missing", content=message.content)
                    fields = [("X-Export-Draft", "Yes")] if message.draft else []
                    fields += [("X-Export-Mailbox", message.path)] if message.path else []
                    yield first_lines(message.idate, fields)
                    quoting = Quoting()
                    yield quoting.feed(message.prefix)
                    async for octets in contents[message.content].read():
                        yield quoting.feed(octets)
                    yield quoting.finish()
            last = page[-1]

    async def _import(self, run: Run) -> Mapping[str, object]:
        """Walks all messages, then those that came meanwhile, until there is none that it has not."""
        data: Mapping[str, Any] = run.task.data
        audit, since = str(data["audit"]), data.get("since")
        began, place = data.get("began", datetime.now(UTC)), data.get("place", ())
        new = int(data.get("new", 0))
        try:
            await self._records.set_status(audit, "importing")
            while True:
                place, count = await self._records.copy_some(audit, place, since)
                new += count
                if not place:
                    if since is not None and not new:
                        break
                    since, began, new = began - SKEW, datetime.now(UTC), 0
                await run.save(place=place, since=since, began=began, new=new)
            await self._records.copy_removed(audit)
        except NotFound:  # deleted meanwhile
            return {}
        await self._records.set_status(audit, "imported")
        return {}

    async def _delete(self, run: Run) -> Mapping[str, object]:
        return {"messages": await self._records.end(run.task.id)}


def _require(by: Principal, roles: frozenset[str]) -> None:
    """The API's table keeps `root` out: there it is the server itself. Raises: NotPermitted."""
    if by.role not in roles:
        raise NotPermitted("Not enough privileges")
