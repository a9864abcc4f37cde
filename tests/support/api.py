"""The API over a test's own database, behind a real HTTP server and client."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import orjson
from aiohttp import ClientSession, web
from redis.asyncio import Redis

from api.app import make_app, make_runner
from api.services import ApiServices, ApiSettings
from duckmail.app.certificates import problem
from duckmail.clients.acme import AcmeAuthority
from duckmail.runtime.budget import OctetBudget
from duckmail.runtime.sealer import Sealer
from duckmail.runtime.targetpasswords import TargetPasswords
from duckmail.services.addresses import Addresses
from duckmail.services.addressregister import AddressRegister
from duckmail.services.audits import Audits
from duckmail.services.certs.acme import Acme
from duckmail.services.certs.certs import Certificates
from duckmail.services.dkim.dkim import Dkim
from duckmail.services.domainaliases import DomainAliases
from duckmail.services.files import UserFiles
from duckmail.services.filters import Autoreplies, DomainAccess, Filters
from duckmail.services.mailboxes import Mailboxes
from duckmail.services.messages.services import Around, message_services
from duckmail.services.mfa import TwoFactor
from duckmail.services.profile import Profiles, ProfileSettings
from duckmail.services.queue.byhand import QueueByHand
from duckmail.services.queue.queue import Queue
from duckmail.services.queue.reports import Reports
from duckmail.services.queue.schedule import Schedule
from duckmail.services.quotas import Quotas
from duckmail.services.receivedreports import ReceivedReports
from duckmail.services.sending import Policy
from duckmail.services.sessions import Sessions
from duckmail.services.settings import ServerSettings
from duckmail.services.tasks.jobs import jobs
from duckmail.services.tasks.runner import TaskRunner
from duckmail.services.tasks.tasks import TaskList
from duckmail.services.tracing import Tracing
from duckmail.services.transfer import Transfer
from duckmail.services.updates import Updates
from duckmail.services.usage import Usages
from duckmail.services.webauthn import RelyingParty, WebAuthn
from duckmail.services.webhooks.webhooks import Webhooks
from storage.addressrecords import AddressRecords
from storage.addressregister import AddressRegister as AddressRegisterRecords
from storage.filters import Autoreplies as AutoreplyRecords
from storage.filters import DomainAccess as DomainRecords
from storage.filters import Filters as FilterRecords
from storage.health import Health
from storage.mailboxes import Mailboxes as MailboxRecords
from storage.store import Store
from tests.support.accounts import Accounts, open_accounts
from tests.support.stores import open_store

TOKEN = "a-static-token"
SEALER = Sealer([bytes(32)])
HOSTNAME = "mail.example.com"


@dataclass(slots=True)
class Reply:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def json(self) -> dict[str, Any]:
        found = orjson.loads(self.text)
        assert isinstance(found, dict)
        return found


async def call(
    session: ClientSession, method: str, url: str, json: object = None, token: str = "", **options: Any
) -> Reply:
    """`token`: "" for none."""
    headers = dict(options.pop("headers", {}))
    if token:
        headers.setdefault("X-Access-Token", token)
    if json is not None:
        options["data"] = BytesIO(orjson.dumps(json))
        headers.setdefault("Content-Type", "application/json")
    async with session.request(method, url, headers=headers, **options) as response:
        return Reply(response.status, dict(response.headers), await response.text(errors="replace"))


@dataclass(slots=True)
class Api:
    accounts: Accounts
    store: Store
    base: str
    session: ClientSession
    services: ApiServices
    runner: TaskRunner
    token: str = TOKEN

    async def call(
        self, method: str, path: str, json: object = None, token: str | None = None, **options: Any
    ) -> Reply:
        """`token`: None for the static one, "" for none."""
        wanted = self.token if token is None else token
        return await call(self.session, method, self.base + path, json, wanted, **options)

    async def work(self) -> int:
        """Does the tasks that are due; how many attempts that were."""
        return await self.runner.once()

    async def make_user(self, username: str = "anna", **fields: object) -> str:
        reply = await self.call("POST", "/users", {"username": username, "password": "secretvalue", **fields})
        assert reply.status == 200, reply.text
        user = reply.json["id"]
        assert isinstance(user, str)
        return user


@asynccontextmanager
async def open_api(
    mongo_uri: str,
    database_name: str,
    redis: Redis | None = None,
    prefix: str = "",
    settings: ApiSettings | None = None,
    policy: Policy | None = None,
    acme_directory: str = "http://127.0.0.1:9/directory",
) -> AsyncIterator[Api]:
    async with (
        open_accounts(mongo_uri, database_name, redis, prefix) as accounts,
        open_store(mongo_uri, database_name) as store,
        ClientSession() as session,
    ):
        task_list = TaskList(store.task_records)
        passwords = TargetPasswords(Sealer([bytes(32)]))
        register = AddressRegister(AddressRegisterRecords(accounts.database), accounts.records)
        files, budget = UserFiles(store.files, store.users, accounts.pool), OctetBudget(256 << 20)
        queue = Queue(store, Reports(store, HOSTNAME, Schedule((60.0,))))
        sessions = Sessions(store)
        around = Around(accounts.pool, queue, task_list, files, budget, policy or Policy(HOSTNAME), register)
        certificates = Certificates(store.certs, SEALER, accounts.pool, problem, task_list)
        authority = AcmeAuthority(acme_directory, "", None, "test", accounts.pool)
        acme = Acme(store.acme, certificates, authority, SEALER, task_list)
        records = AddressRecords(accounts.database, accounts.transactions)
        services = ApiServices(
            address_register=register,
            addresses=Addresses(records, accounts.addresses, accounts.records, accounts.counters, targets=passwords),
            asps=accounts.asps,
            audits=Audits(store, task_list),
            auth=accounts.auth,
            authlog=accounts.authlog,
            autoreplies=Autoreplies(AutoreplyRecords(accounts.database, accounts.transactions)),
            budget=budget,
            acme=acme,
            certificates=certificates,
            dkim=Dkim(store.dkim, SEALER, accounts.pool),
            domain_access=DomainAccess(DomainRecords(accounts.database)),
            domain_aliases=DomainAliases(records),
            files=files,
            filters=Filters(
                FilterRecords(accounts.database, accounts.transactions),
                accounts.records,
                MailboxRecords(accounts.database, accounts.transactions),
                passwords,
            ),
            health=Health(accounts.database, redis, prefix),
            mailboxes=Mailboxes(store),
            mfa=TwoFactor(store.mfa, accounts.auth, accounts.authlog, SEALER, accounts.pool),
            messages=message_services(store, around),
            profiles=Profiles(ProfileSettings("mail.example.com"), (Path("/none"), Path("/none")), accounts.pool),
            quotas=Quotas(store, task_list),
            queue=QueueByHand(queue),
            reports=ReceivedReports(store.report_records),
            settings=ServerSettings(store.setting_records, store.settings),
            tasks=task_list,
            threads=accounts.pool,
            tokens=accounts.tokens,
            tracing=Tracing(store.traces, store.mailboxes, 86400.0),
            updates=Updates(store, sessions),
            transfer=Transfer(store),
            usages=Usages(accounts.counters, store.filters, store.traffic, sessions.connections),
            users=accounts.users,
            webauthn=WebAuthn(
                store.webauthn,
                accounts.records,
                accounts.authlog,
                accounts.pool,
                RelyingParty("mail.example.com", "Example"),
            ),
            webhooks=Webhooks(store.webhooks, accounts.records, passwords),
        )
        runner = make_runner(make_app(services, settings or ApiSettings(access_token=TOKEN)))
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        later, counted = services.messages.later.handlers, services.quotas.handlers
        tasks = TaskRunner(store.task_records, jobs(store, later, counted).also(acme.jobs()), "test")
        try:
            yield Api(accounts, store, f"http://{host}:{port}", session, services, tasks)
        finally:
            await runner.cleanup()
