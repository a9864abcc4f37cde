"""Stores and mailboxes for tests: the real thing on the run's own MongoDB and Valkey."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from bson.int64 import Int64
from bson.objectid import ObjectId

from duckmail.model.account import Principal
from duckmail.model.message import NewMessage
from duckmail.runtime.sealer import Sealer
from duckmail.runtime.threads import Pool
from duckmail.services.asps import ApplicationPasswords
from duckmail.services.auth import Auth
from duckmail.services.authlog import AuthLog
from duckmail.services.mail import Mail
from duckmail.services.passwords import Passwords
from duckmail.services.scram import Scram
from duckmail.services.sessions import Sessions
from duckmail.services.urlauth import UrlAuth
from duckmail.services.users import Users
from storage.store import Store
from storage.urlkeys import UrlKeys


class Ears:
    """Holds a view, and notes what left it."""

    def __init__(self) -> None:
        self.expunged: list[int] = []

    def view_changed(self, expunged: Sequence[int]) -> None:
        self.expunged += expunged


@asynccontextmanager
async def open_store(
    mongo_uri: str, database_name: str, redis_url: str | None = None, slot: str = "test"
) -> AsyncIterator[Store]:
    """One process's store; two of them on one database stand for two processes."""
    pool = Pool("test", 2)
    store = Store(mongo_uri, database_name, redis_url, slot, pool)
    async with store:
        yield store


def open_scram(pool: Pool) -> Scram:
    """With as few iterations as are allowed."""
    return Scram(Sealer([b"k" * 32]), b"s" * 32, pool, "example.com", 4096)


def open_auth(store: Store, users: Users, passwords: Passwords, scram: Scram | None = None) -> Auth:
    log = AuthLog(store.authlog, store.users)
    asps = ApplicationPasswords(store.asps, store.users, store.addresses, passwords, log, scram=scram)
    return Auth(users, store.users, passwords, store.counters, asps=asps, authlog=log, tasks=store.tasks)


def open_urls(store: Store) -> UrlAuth:
    """Authorises URLs under a key of the tests."""
    return UrlAuth(UrlKeys(store.database), store.users, Sealer([b"k" * 32]), lambda by: Mail(store, by))


def open_sessions(store: Store) -> Sessions:
    """The sessions of a process, which end when their account says so."""
    sessions = Sessions(store)
    store.tasks.start(sessions.keep(), "sessions")
    return sessions


async def new_account(store: Store, username: str = "anna") -> Principal:
    """An account with an INBOX, put straight into the database."""
    user = ObjectId()
    await store.database["users"].insert_one(
        {"_id": user, "username": username, "unameview": username, "uidvalidity": Int64(1000), "tree": Int64(0)}
    )
    await store.mailboxes.create(str(user), "INBOX")
    return Principal(str(user), username)


def message(number: int, body: str = "hello") -> bytes:
    return (
        f"From: Sender {number} <s{number}@example.com>\r\nTo: anna@example.com\r\nSubject: number {number}\r\n"
        f"Message-ID: <{number}@example.com>\r\nDate: Mon, 02 Nov 2026 10:00:00 +0100\r\n\r\n{body} {number}\r\n"
    ).encode()


async def put(mail: Mail, path: str, numbers: Sequence[int], flags: tuple[str, ...] = ()) -> list[int]:
    """Appends small messages one by one; their UIDs."""
    uids = []
    for number in numbers:
        appended = await mail.append(path, [NewMessage(await mail.prepare(message(number)), flags)])
        uids.append(appended[0].uid)
    return uids
