"""The parts of the server that accounts need, over a test's own database."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from redis.asyncio import Redis

from duckmail.runtime.sealer import Sealer
from duckmail.runtime.targetpasswords import TargetPasswords
from duckmail.runtime.tasks import Tasks
from duckmail.runtime.threads import Pool
from duckmail.services.asps import ApplicationPasswords
from duckmail.services.auth import ACCOUNT, NETWORK, Auth, Throttle
from duckmail.services.authlog import AuthLog
from duckmail.services.passwords import Passwords
from duckmail.services.pgp import Pgp
from duckmail.services.tokens import Tokens
from duckmail.services.users import Users
from storage import addresses, addressregister, authlog, filters, mailboxes, tokens, users
from storage import asps as asp_records
from storage.addresses import Addresses
from storage.asps import Asps
from storage.authlog import AuthEvents
from storage.mongo.client import Database, connect, database
from storage.mongo.transactions import Transactions
from storage.redis.counters import Counters
from storage.tokens import Tokens as TokenRecords
from storage.users import Users as Records
from storage.webhooks import Outbox
from tests.support.stores import open_scram

P = ParamSpec("P")
T = TypeVar("T")

_INDEXES: Sequence[tuple[str, list[tuple[str, int]], dict[str, object]]] = (
    *users.INDEXES,
    *addresses.INDEXES,
    *addressregister.INDEXES,
    *filters.INDEXES,
    *tokens.INDEXES,
    *asp_records.INDEXES,
    *authlog.INDEXES,
    *mailboxes.INDEXES,
)


class CountingPool(Pool):
    """A pool that tells how many calls were made, to compare what attempts cost without a clock."""

    calls = 0

    async def run(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        self.calls += 1
        return await super().run(fn, *args, **kwargs)


@dataclass(slots=True)
class Accounts:
    database: Database
    transactions: Transactions
    records: Records
    addresses: Addresses
    counters: Counters
    passwords: Passwords
    users: Users
    auth: Auth
    tokens: Tokens
    tasks: Tasks
    pool: CountingPool
    asps: ApplicationPasswords
    authlog: AuthLog


@asynccontextmanager
async def open_accounts(
    mongo_uri: str,
    database_name: str,
    redis: Redis | None = None,
    prefix: str = "",
    account: Throttle = ACCOUNT,
    network: Throttle = NETWORK,
    *,
    scram: bool = False,
) -> AsyncIterator[Accounts]:
    client = connect(mongo_uri)
    pool = CountingPool("passwords", 2)
    try:
        db = database(client, database_name)
        for collection, keys, options in _INDEXES:
            await db[collection].create_index(keys, **options)
        transactions = Transactions(client, 4)
        transactions.outbox = Outbox(db)
        transactions.start()
        async with Tasks("accounts") as tasks:
            records, found = Records(db, transactions), Addresses(db)
            passwords, counters = Passwords(pool), Counters(redis, prefix)
            keys = open_scram(pool) if scram else None
            service = Users(
                records,
                found,
                passwords,
                "example.com",
                targets=TargetPasswords(Sealer([bytes(32)])),
                pgp=Pgp(pool),
                scram=keys,
            )
            log = AuthLog(AuthEvents(db), records)
            asps = ApplicationPasswords(Asps(db, transactions), records, found, passwords, log, scram=keys)
            auth = Auth(
                service,
                records,
                passwords,
                counters,
                asps=asps,
                authlog=log,
                tasks=tasks,
                account=account,
                network=network,
            )
            issued = Tokens(TokenRecords(db), records)
            yield Accounts(
                db, transactions, records, found, counters, passwords, service, auth, issued, tasks, pool, asps, log
            )
        await transactions.aclose()
    finally:
        pool.close()
        await client.close()
