"""What the services of a process stand on: the store, threads, keys, and the ways out."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from duckmail.app.authority import LateAuthority
from duckmail.app.outside import Outside, open_outside
from duckmail.config.schema import Config
from duckmail.model.dmarcreport import Evaluated
from duckmail.runtime.sealer import Sealer, open_sealer
from duckmail.runtime.tasks import Tasks
from duckmail.runtime.threads import Pool
from duckmail.services.certs.authority import CertificateAuthority
from duckmail.services.scram import salt_key
from duckmail.services.tally import Tally
from storage.scram import SaltKeys
from storage.store import Store

SCAN_THREADS = 2
ACME_THREADS = 2  # of their own: each waits for an answer from elsewhere
HASH_THREADS = 2  # more would take the processor from the loop (libraries.md 3.5: two cores)


@dataclass(frozen=True, slots=True)
class Databases:
    """Where they are. `redis_url`: empty for none."""

    mongo_uri: str
    redis_url: str


@dataclass(frozen=True, slots=True)
class Ground:
    """`slot`: the name of this process among those of its host and data."""

    config: Config
    store: Store
    tasks: Tasks
    threads: Pool
    hashing: Pool
    sealer: Sealer
    salts: bytes
    outside: Outside
    authority: CertificateAuthority
    hostname: str
    slot: str
    dmarc: Tally[Evaluated]

    @property
    def domain(self) -> str:
        """Of addresses of accounts that are made without one."""
        return self.config.server.domain or self.hostname


@asynccontextmanager
async def open_ground(config: Config, databases: Databases, slot: str) -> AsyncIterator[Ground]:
    """Opens the store, and what else is shared. `slot` names this process among those of its host and data.

    Raises: Unavailable. InvalidInput: what the configuration names cannot be used.
    """
    hostname = config.server.hostname or socket.getfqdn()
    async with AsyncExitStack() as stack:
        threads, hashing = Pool("scan", SCAN_THREADS), Pool("passwords", HASH_THREADS)
        stack.callback(threads.close)
        stack.callback(hashing.close)
        asking = Pool("acme", ACME_THREADS)
        stack.callback(asking.close)
        authority = LateAuthority(config.acme, asking)
        slot = f"{hostname}:{slot}"
        store = Store(
            databases.mongo_uri,
            config.mongo.database,
            databases.redis_url or None,
            slot,
            threads,
            redis_prefix=config.redis.prefix,
        )
        await stack.enter_async_context(store)
        dmarc = Tally(store.dmarc_results, "DMARC")
        stack.push_async_callback(dmarc.flush)
        tasks = await stack.enter_async_context(Tasks("services"))
        outside = await stack.enter_async_context(open_outside(config.outbound))
        sealer = open_sealer(config.server.data, os.environ)
        salts = await salt_key(SaltKeys(store.database), sealer)
        tasks.start(dmarc.keep(), "dmarc-results")
        yield Ground(config, store, tasks, threads, hashing, sealer, salts, outside, authority, hostname, slot, dmarc)
