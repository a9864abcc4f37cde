"""Tasks as everybody else sees them: scheduled, listed, hurried."""

from collections.abc import Callable, Mapping
from datetime import datetime

from duckmail.model.account import Principal
from duckmail.model.task import Task
from duckmail.services.access import require_server
from storage.tasks import TaskRecords, new_document


def _nothing() -> None:
    pass


class TaskList:
    def __init__(self, records: TaskRecords) -> None:
        self._records = records
        self.woken: Callable[[], None] = _nothing  # called when there is something to do at once

    async def schedule(
        self,
        kind: str,
        data: Mapping[str, object],
        *,
        user: str = "",
        due: datetime | None = None,
        key: str = "",
    ) -> str:
        """Makes a task, durably; its id. The caller has checked who may.

        Args:
            due: when it is to begin, at once when None.
            key: while a task with it is open there is no second one; the open one's id is given.

        Raises:
            Unavailable.
        """
        identifier = await self._records.add(new_document(kind, data, user=user, due=due, key=key))
        self.woken()
        return identifier

    async def get(self, identifier: str, by: Principal) -> Task:
        """Raises: NotFound, NotPermitted, Unavailable."""
        require_server(by)
        return await self._records.get(identifier)

    async def page(self, limit: int, by: Principal, before: str = "", *, ended: bool = True) -> list[Task]:
        """The newest, or those older than `before`. Raises: NotFound (not an id), NotPermitted, Unavailable."""
        require_server(by)
        return await self._records.list(limit, before, ended=ended)

    async def hurry(self, identifier: str, by: Principal) -> None:
        """An open task is due now. Raises: NotFound, NotPermitted, Unavailable."""
        require_server(by)
        await self._records.hurry(identifier)
        self.woken()
