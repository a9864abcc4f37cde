"""The store of a process, and the services over it."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from duckmail.app.outside import Outside, open_outside
from duckmail.config.schema import Config
from duckmail.model.account import Principal
from duckmail.runtime.budget import OctetBudget
from duckmail.runtime.sealer import Sealer, open_sealer
from duckmail.runtime.tasks import Tasks
from duckmail.runtime.threads import Pool
from duckmail.services.addresses import Addresses
from duckmail.services.addressregister import AddressRegister
from duckmail.services.arrivals import Arrivals
from duckmail.services.asps import ApplicationPasswords
from duckmail.services.auth import Auth, Throttle
from duckmail.services.authlog import AuthLog
from duckmail.services.delivery import Delivery
from duckmail.services.dkim.dkim import Dkim
from duckmail.services.domainaliases import DomainAliases
from duckmail.services.files import UserFiles
from duckmail.services.filters import Autoreplies, DomainAccess, Filters
from duckmail.services.mail import Mail
from duckmail.services.mailboxes import Mailboxes
from duckmail.services.maildrop import Maildrops
from duckmail.services.messages.services import MessageServices, message_services
from duckmail.services.mfa import TwoFactor
from duckmail.services.passwords import Passwords
from duckmail.services.queue.forward import Forwarding
from duckmail.services.queue.queue import Queue
from duckmail.services.queue.reports import Reports
from duckmail.services.queue.schedule import Schedule
from duckmail.services.sessions import Sessions
from duckmail.services.sorting import Sorting
from duckmail.services.submission import Policy, Submission
from duckmail.services.tasks.jobs import jobs
from duckmail.services.tasks.runner import Jobs
from duckmail.services.tasks.tasks import TaskList
from duckmail.services.tokens import Tokens
from duckmail.services.users import Users
from storage.store import Store

SCAN_THREADS = 2
HASH_THREADS = 2  # more would take the processor from the loop (libraries.md 3.5: two cores)


@dataclass(frozen=True, slots=True)
class Databases:
    """Where they are. `redis_url`: empty for none."""

    mongo_uri: str
    redis_url: str


@dataclass(frozen=True, slots=True)
class Services:
    """Everything below the edges. `slot`: the name of this process among those of its host and data."""

    config: Config
    store: Store
    tasks: Tasks
    threads: Pool
    hashing: Pool
    users: Users
    address_register: AddressRegister
    addresses: Addresses
    asps: ApplicationPasswords
    auth: Auth
    authlog: AuthLog
    autoreplies: Autoreplies
    dkim: Dkim
    domain_access: DomainAccess
    domain_aliases: DomainAliases
    files: UserFiles
    filters: Filters
    tokens: Tokens
    delivery: Delivery
    mailboxes: Mailboxes
    messages: MessageServices
    maildrops: Maildrops
    mfa: TwoFactor
    sealer: Sealer
    sessions: Sessions
    reports: Reports
    queue: Queue
    submission: Submission
    task_list: TaskList
    jobs: Jobs
    budget: OctetBudget
    outside: Outside
    hostname: str
    slot: str

    def mail(self, principal: Principal) -> Mail:
        return mail_of(self.store, self.config, principal)


def mail_of(store: Store, config: Config, principal: Principal) -> Mail:
    return Mail(store, principal, config.limits.quota)


def _delivery(  # noqa: PLR0917 -- parts that exist once
    config: Config, store: Store, threads: Pool, queue: Queue, register: AddressRegister, hostname: str
) -> Delivery:
    return Delivery(
        store,
        threads,
        config.limits.quota,
        received=config.limits.received,
        sorter=Sorting(store, queue, Forwarding(hostname), threads, hostname),
        arrivals=Arrivals(store.counters),
        register=register,
    )


@asynccontextmanager
async def open_services(config: Config, databases: Databases, slot: str) -> AsyncIterator[Services]:
    """Opens the store and builds the services over it. `slot` names this process among those of its host and data.

    Raises: Unavailable. InvalidInput: what the configuration names cannot be used.
    """
    hostname = config.server.hostname or socket.getfqdn()
    async with AsyncExitStack() as stack:
        threads, hashing = Pool("scan", SCAN_THREADS), Pool("passwords", HASH_THREADS)
        stack.callback(threads.close)
        stack.callback(hashing.close)
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
        tasks = await stack.enter_async_context(Tasks("services"))
        passwords = Passwords(hashing)
        authlog = AuthLog(store.authlog, store.users)
        users = Users(
            store.users,
            store.addresses,
            passwords,
            config.server.domain or hostname,
            config.limits.quota,
            authlog=authlog,
        )
        asps = ApplicationPasswords(store.asps, store.users, store.addresses, passwords, authlog)
        auth = Auth(
            users,
            store.users,
            passwords,
            store.counters,
            asps=asps,
            authlog=authlog,
            tasks=tasks,
            account=Throttle(config.auth.account_failures, int(config.auth.account_window)),
            network=Throttle(config.auth.network_failures, int(config.auth.network_window)),
        )
        outside = await stack.enter_async_context(open_outside(config.outbound))
        sealer = open_sealer(config.server.data, os.environ)
        sessions = Sessions(store)
        tasks.start(sessions.keep(), "sessions")
        reports = Reports(store, hostname, Schedule(config.outbound.schedule))
        queue = Queue(store, reports)
        register = AddressRegister(store.address_register, store.users)
        tasks.start(register.keep(), "addressregister")
        delivery = _delivery(config, store, threads, queue, register, hostname)
        policy = Policy(
            hostname,
            rewrite=config.submission.sender == "rewrite",
            client_address=config.submission.client_address,
            quota=config.limits.quota,
        )
        yield Services(
            config=config,
            store=store,
            tasks=tasks,
            threads=threads,
            hashing=hashing,
            users=users,
            address_register=register,
            addresses=Addresses(
                store.address_records, store.addresses, store.users, store.counters, config.api.user_domains
            ),
            asps=asps,
            auth=auth,
            authlog=authlog,
            autoreplies=Autoreplies(store.autoreplies),
            dkim=Dkim(store.dkim, sealer, threads),
            domain_access=DomainAccess(store.domain_access),
            domain_aliases=DomainAliases(store.address_records),
            files=UserFiles(store.files, store.users, threads),
            filters=Filters(store.filters, store.users, store.mailboxes),
            tokens=Tokens(store.tokens, store.users),
            delivery=delivery,
            mailboxes=Mailboxes(store),
            messages=message_services(store, threads, config.limits.quota),
            mfa=TwoFactor(store.mfa, auth, authlog, sealer, threads),
            sealer=sealer,
            maildrops=Maildrops(
                store, lambda principal: mail_of(store, config, principal), expunge=config.pop3.delete == "expunge"
            ),
            sessions=sessions,
            reports=reports,
            queue=queue,
            submission=Submission(store, delivery, queue, threads, policy, register=register),
            task_list=TaskList(store.task_records),
            jobs=jobs(store),
            budget=OctetBudget(config.limits.octet_budget),
            outside=outside,
            hostname=hostname,
            slot=slot,
        )
