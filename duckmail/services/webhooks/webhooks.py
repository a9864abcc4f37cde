"""Webhooks as they are managed, and the events that go to them."""

import logging
from collections.abc import Sequence

from duckmail.errors import NotFound, Unavailable
from duckmail.model.account import Principal
from duckmail.model.events import Event
from duckmail.runtime.log import event
from duckmail.runtime.targetpasswords import TargetPasswords
from duckmail.services.access import SERVER_ROLES, require_account, require_server
from storage.users import Users
from storage.webhooks import Webhooks as Records
from storage.webhooks import WebhookSlice

_logger = logging.getLogger("duckmail.webhooks")


class Webhooks:
    def __init__(self, records: Records, users: Users, passwords: TargetPasswords) -> None:
        self._records = records
        self._users = users
        self._passwords = passwords

    async def create(self, types: Sequence[str], user: str, url: str, by: Principal) -> str:
        """`user`: "" for what happens to anybody. Its id. Raises: NotFound (the user), NotPermitted, Unavailable."""
        require_server(by)
        if user:
            await self._users.get(user)
        (sealed,) = self._passwords.sealed([url])
        return await self._records.create(tuple(dict.fromkeys(types)), user, sealed)

    async def list(
        self, kind: str, user: str, limit: int, by: Principal, *, after: str = "", before: str = ""
    ) -> WebhookSlice:
        """An account lists its own. Raises: NotPermitted, Unavailable."""
        if by.role not in SERVER_ROLES:
            user = user or by.user
            require_account(by, user)
        return await self._records.list(kind, user, limit, after, before)

    async def delete(self, hook: str, by: Principal) -> None:
        """Raises: NotFound, NotPermitted, Unavailable."""
        require_server(by)
        if not await self._records.delete(hook):
            raise NotFound("This webhook does not exist")

    async def emit(self, name: str, user: str = "", /, **fields: object) -> None:
        """`duckmail.model.events.Events`: durable on return, unless the database is away."""
        try:
            await self._records.tell(Event(name, user, fields))
        except Unavailable as error:
            event(_logger, logging.WARNING, "event not told", name=name, fields=error.fields)
