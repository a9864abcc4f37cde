"""What an account holds of what it may hold, and counting it anew.

Counters cannot drift by themselves; counting is for damage from outside.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from duckmail.errors import NotFound
from duckmail.model.account import Principal
from duckmail.model.mailbox import Usage
from duckmail.services.access import SYSTEM, require_account, require_server
from duckmail.services.tasks.runner import Handler, Run
from duckmail.services.tasks.tasks import TaskList
from storage.changes.recount import Recount
from storage.store import Store, key

BATCH = 50  # accounts from one note of how far it has come to the next


@dataclass(frozen=True, slots=True)
class Reset:
    """Octets, after and before."""

    used: int
    previous: int


class Quotas:
    def __init__(self, store: Store, tasks: TaskList, default: int = 0) -> None:
        """`default`: octets of accounts without their own, 0 for no limit."""
        self._store = store
        self._tasks = tasks
        self._default = default
        self.handlers: Mapping[str, Handler] = {"quota-reset": self._reset_all}

    async def usage(self, user: str, by: Principal) -> Usage:
        """Raises: NotFound, NotPermitted, Unavailable."""
        require_account(by, user)
        account = await self._store.users.get(user)
        mailboxes = self._store.mailboxes
        return Usage(*await mailboxes.held(user), account.quota(self._default), mailboxes.most)

    async def limit(self, user: str, messages: int, by: Principal) -> None:
        """Messages that the account may hold; 0 for the server's limit. Raises: NotFound, NotPermitted, Unavailable."""
        require_server(by)
        await self._store.users.update(user, {"messages": messages})

    async def reset_all(self, by: Principal) -> str:
        """The task that counts the mail of all accounts anew. Raises: NotPermitted, Unavailable."""
        require_server(by)
        return await self._tasks.schedule("quota-reset", {}, key="quota-reset")

    async def _reset_all(self, run: Run) -> Mapping[str, object]:
        """Account by account, and begun again behind the last that was saved."""
        data: Mapping[str, Any] = run.task.data
        after, accounts, changed = data.get("after", ""), int(data.get("accounts", 0)), int(data.get("changed", 0))
        while users := await self._store.users.ids(BATCH, after):
            for user in users:
                with suppress(NotFound):  # removed meanwhile
                    reset = await self.reset(user, SYSTEM)
                    changed += reset.used != reset.previous
            after, accounts = users[-1], accounts + len(users)
            await run.save(after=after, accounts=accounts, changed=changed)
        return {"accounts": accounts, "changed": changed}

    async def reset(self, user: str, by: Principal) -> Reset:
        """Makes the counters of all mailboxes those of their messages. Raises: NotFound, NotPermitted, Unavailable."""
        require_account(by, user)
        await self._store.users.get(user)
        previous = await self._store.mailboxes.used(user)
        for mailbox in await self._store.mailboxes.list(user):
            while await self._store.committer.submit(Recount(key(user, mailbox.id), {})):
                pass
        return Reset(await self._store.mailboxes.used(user), previous)
