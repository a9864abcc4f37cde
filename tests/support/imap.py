"""An IMAP server for tests: the real services over a test's own database, with the accounts that dialogs log in to."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from duckmail.runtime.budget import OctetBudget
from duckmail.runtime.threads import Pool
from duckmail.services.access import SYSTEM
from duckmail.services.mail import Mail
from duckmail.services.passwords import Passwords
from duckmail.services.users import NewUser, Users
from protocols.imap.server import make_serve
from protocols.imap.session import ImapServices
from protocols.imap.settings import ImapSettings
from protocols.net.connection import Connection
from protocols.net.limits import Limits
from storage.store import Store
from tests.support.stores import open_auth, open_scram, open_sessions, open_store, open_urls

MIB = 1024 * 1024


@dataclass(slots=True)
class ImapHouse:
    """`anna` and `bert`, each with the password `secret`, may have `per_user` sessions each."""

    store: Store
    users: Users
    services: ImapServices

    def serve(self, settings: ImapSettings) -> Callable[[Connection], Awaitable[None]]:
        return make_serve(self.services, settings)

    async def mail(self, username: str) -> Mail:
        """The account's mailboxes, past IMAP: what another protocol or process would do."""
        principal = await self.services.auth.login(username, "secret", "imap", "", "test")
        return Mail(self.store, principal)


@asynccontextmanager
async def open_imap(
    mongo_uri: str,
    database_name: str,
    redis_url: str | None = None,
    *,
    per_user: int = 10,
    budget: int = 256 * MIB,
    quota: int = 0,
    messages: int = 0,
    new: bool = True,
) -> AsyncIterator[ImapHouse]:
    """`new`: False for a further process on a database that has the accounts already."""
    pool = Pool("passwords", 2)
    try:
        async with open_store(mongo_uri, database_name, redis_url) as store:
            passwords, scram = Passwords(pool), open_scram(pool)
            users = Users(store.users, store.addresses, passwords, "example.com", scram=scram)
            for name in ("anna", "bert") if new else ():
                limits: dict[str, object] = {"imap_max_connections": 1000, "messages": messages}
                await users.create(NewUser(username=name, password="secret", attributes=limits), SYSTEM)
            services = ImapServices(
                auth=open_auth(store, users, passwords, scram),
                sessions=open_sessions(store),
                mail=lambda principal: Mail(store, principal, quota),
                user_slot=Limits(1000, per_user=per_user).user,
                budget=OctetBudget(budget),
                threads=pool,
                urls=open_urls(store),
            )
            yield ImapHouse(store, users, services)
    finally:
        pool.close()
