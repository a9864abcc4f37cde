"""A message store in memory, as small as delivery needs it: addresses, accounts, and what was appended."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from duckmail.errors import DuckmailError, NotFound, OverQuota, Unavailable
from duckmail.mime.index import Index
from duckmail.model import address as addresses
from duckmail.model.account import Limits, Quota, User
from duckmail.model.mailbox import Inbox
from duckmail.model.message import Appended, NewMessage
from storage.addresses import AddressRecord


@dataclass
class MemoryContent:
    id: str
    octets: bytes

    @property
    def size(self) -> int:
        return len(self.octets)

    @property
    def index(self) -> Index:
        raise NotImplementedError("delivery does not look inside")

    async def read(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        yield self.octets[start:stop]


class Postbox:
    """Implements `MessageStore`, its addresses, users, mailboxes and contents in one; `down` makes all queries fail,
    `failing` those it names."""

    def __init__(self) -> None:
        self.records: dict[str, AddressRecord] = {}
        self.aliases: dict[str, str] = {}
        self.accounts: dict[str, User] = {}
        self.stored: list[Stored] = []
        self.keys: dict[bytes, Appended] = {}
        self.filled: dict[str, int] = {}
        self.queries: list[tuple[str, int]] = []
        self.prepared = 0
        self.down = False
        self.failing: set[str] = set()
        self.commits = asyncio.Event()
        self.commits.set()

    def add(self, name: str, *more: str, quota: int = 0, used: int = 0, **state: bool) -> User:
        """An account with these addresses."""
        user = User(id=f"{len(self.accounts) + 1:024x}", username=name, limits=Limits(quota=quota), **state)
        self.accounts[user.id] = user
        self.filled[user.id] = used
        for address in (name, *more):
            self.record(address, user=user.id)
        return user

    def record(self, address: str, **fields: object) -> None:
        view = addresses.view(address)
        self.records[view] = AddressRecord(id=f"{len(self.records):024x}", address=address, view=view, **fields)

    @property
    def addresses(self) -> "Postbox":
        return self

    users = mailboxes = contents = addresses

    def _ask(self, name: str, keys: int) -> None:
        self.queries.append((name, keys))
        if self.down or name in self.failing:
            raise Unavailable

    async def find(self, views: Sequence[str]) -> dict[str, AddressRecord]:
        await asyncio.sleep(0)
        self._ask("find", len(views))
        return {view: self.records[view] for view in views if view in self.records}

    async def has_domain(self, domain: str) -> bool:
        self._ask("domain", 1)
        return any(view.rpartition("@")[2] == domain for view in self.records)

    async def alias_target(self, domain: str) -> str | None:
        self._ask("alias", 1)
        return self.aliases.get(domain)

    async def many(self, users: Sequence[str]) -> dict[str, User]:
        self._ask("users", len(users))
        return {user: self.accounts[user] for user in users if user in self.accounts}

    async def inboxes(self, users: Sequence[str]) -> dict[str, Inbox]:
        self._ask("inboxes", len(users))
        return {user: Inbox(f"inbox-{user}", self.filled[user]) for user in users if user in self.filled}

    async def prepare(self, raw: bytes | bytearray) -> MemoryContent:
        self._ask("prepare", len(raw))
        self.prepared += 1
        return MemoryContent(f"content{self.prepared}", bytes(raw))

    examine = prepare

    async def append_many(self, items: Sequence[tuple[str, str, NewMessage, Quota]]) -> list[Appended | DuckmailError]:
        self._ask("append", len(items))
        await self.commits.wait()
        return [self._append(*item) for item in items]

    def _append(self, account: str, mailbox: str, message: NewMessage, quota: Quota) -> Appended | DuckmailError:
        user = self.accounts[account]
        if account not in self.filled:
            return NotFound("No such mailbox")
        if message.delivery_key in self.keys:
            known = self.keys[message.delivery_key]
            return Appended(known.mailbox, known.uidvalidity, known.uid, known.id, duplicate=True)
        size = message.content.size + len(message.prefix)
        if not quota.allows(self.filled[user.id] + size, 0):
            return OverQuota("Mailbox full")
        self.filled[user.id] += size
        number = len(self.stored) + 1
        self.stored.append(Stored(user.username, message.prefix, message.content.octets, message.content.id))
        appended = Appended(mailbox, 1, number, f"m{number}")
        if message.delivery_key is not None:
            self.keys[message.delivery_key] = appended
        return appended


@dataclass
class Stored:
    """One message as stored."""

    username: str
    prefix: bytes
    octets: bytes
    content: str = field(default="")
