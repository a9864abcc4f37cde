"""What is done to many messages behind the answer, as tasks.

Who asks means the messages there are: a task works on those alone that were in their mailboxes when it was made, so one
that is begun again touches nothing that has come since.
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any

from duckmail.errors import NotFound
from duckmail.model.account import Principal
from duckmail.model.ranges import Ranges
from duckmail.services.access import SYSTEM, require_account
from duckmail.services.messages.archive import Archive
from duckmail.services.messages.changing import Changing, MessageChanges
from duckmail.services.messages.criteria import Filters
from duckmail.services.messages.finding import Action, Finding, Wanted
from duckmail.services.tasks.runner import Handler, Run
from duckmail.services.tasks.tasks import TaskList
from storage.store import Store


class Later:
    def __init__(self, store: Store, tasks: TaskList, finding: Finding, changing: Changing, archive: Archive) -> None:
        self._store = store
        self._tasks = tasks
        self._finding = finding
        self._changing = changing
        self._archive = archive
        self.handlers: Mapping[str, Handler] = {
            "search-action": self._act,
            "delete-messages": self._delete,
            "restore-archived": self._restore,
        }

    async def act(self, user: str, wanted: Wanted, action: Action, by: Principal) -> str:
        """The task that does `action` to all that is found.

        Raises: NoSuchMailbox, NotFound (the account), InvalidInput, LimitReached, NotPermitted, Unavailable.
        """
        await self._finding.check(user, wanted, action, by)
        bounds = {mailbox.id: mailbox.uidnext - 1 for mailbox in await self._store.mailboxes.list(user)}
        data = {"wanted": to_plain(wanted), "action": to_plain(action), "bounds": bounds}
        return await self._tasks.schedule("search-action", data, user=user)

    async def delete_all(self, user: str, mailbox: str, by: Principal, *, archive: bool) -> str:
        """The task that deletes all messages of a mailbox; of one that is not there none. Raises: NotPermitted, ..."""
        require_account(by, user)
        try:
            last = (await self._store.mailboxes.get(user, mailbox)).uidnext - 1
        except NotFound:
            last = 0
        data = {"mailbox": mailbox, "last": last, "archive": archive}
        return await self._tasks.schedule("delete-messages", data, user=user)

    async def restore_range(self, user: str, start: datetime, end: datetime, by: Principal) -> str:
        """The task that brings back what was removed from `start` to `end`.

        Raises: NotFound (the account), NotPermitted, Unavailable.
        """
        require_account(by, user)
        await self._store.users.get(user)
        data = {"start": start, "end": min(end, datetime.now(UTC))}
        return await self._tasks.schedule("restore-archived", data, user=user)

    async def _act(self, run: Run) -> Mapping[str, object]:
        data: Mapping[str, Any] = run.task.data
        done = await self._finding.act(
            run.task.user, to_wanted(data["wanted"]), to_action(data["action"]), SYSTEM, data["bounds"]
        )
        return {"messages": done}

    async def _delete(self, run: Run) -> Mapping[str, object]:
        data: Mapping[str, Any] = run.task.data
        deleted = await self._changing.delete_all(
            run.task.user, data["mailbox"], SYSTEM, archive=data["archive"], last=int(data["last"])
        )
        return {"messages": deleted}

    async def _restore(self, run: Run) -> Mapping[str, object]:
        data: Mapping[str, Any] = run.task.data
        return {"messages": await self._archive.restore_range(run.task.user, data["start"], data["end"], SYSTEM)}


def to_plain(value: object) -> Any:  # noqa: ANN401 -- whatever a document holds
    """A request as a task keeps it: dataclasses by the names of their fields, ranges as pairs."""
    if isinstance(value, Ranges):
        return [list(pair) for pair in value.pairs]
    if is_dataclass(value):
        return {each.name: to_plain(getattr(value, each.name)) for each in fields(value)}
    return list(value) if isinstance(value, tuple) else value


def to_wanted(plain: Mapping[str, Any]) -> Wanted:
    return Wanted(**{**plain, "filters": _filters(plain["filters"]), "either": _filters(plain["either"])})


def _filters(plain: Mapping[str, Any]) -> Filters:
    uids = plain["uids"]
    return Filters(**{**plain, "uids": None if uids is None else Ranges.from_pairs(map(tuple, uids))})


def to_action(plain: Mapping[str, Any]) -> Action:
    changes = plain["changes"]
    names = {name: tuple(changes[name]) for name in ("add", "remove")}
    return Action(**{**plain, "changes": MessageChanges(**{**changes, **names})})
