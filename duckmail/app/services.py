"""The store of a process, and the services over it."""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from duckmail.app.authority import LateAuthority
from duckmail.app.certificates import problem
from duckmail.app.incoming import make_inspection, make_reception
from duckmail.app.outside import Outside, open_outside
from duckmail.config.schema import Config
from duckmail.model.account import Principal
from duckmail.model.dmarcreport import Evaluated
from duckmail.model.settings import Value
from duckmail.runtime.budget import OctetBudget
from duckmail.runtime.sealer import Sealer, open_sealer
from duckmail.runtime.targetpasswords import TargetPasswords
from duckmail.runtime.tasks import Tasks
from duckmail.runtime.threads import Pool
from duckmail.services.addresses import Addresses
from duckmail.services.addressregister import AddressRegister
from duckmail.services.allowance import Allowance
from duckmail.services.arrivals import Arrivals
from duckmail.services.asps import ApplicationPasswords
from duckmail.services.audits import Audits
from duckmail.services.auth import Auth, Throttle
from duckmail.services.authlog import AuthLog
from duckmail.services.breaches import Breaches
from duckmail.services.certs.acme import Acme
from duckmail.services.certs.authority import CertificateAuthority
from duckmail.services.certs.certs import Certificates
from duckmail.services.delivery import Delivery
from duckmail.services.dkim.dkim import Dkim
from duckmail.services.domainaliases import DomainAliases
from duckmail.services.files import UserFiles
from duckmail.services.filters import Autoreplies, DomainAccess, Filters
from duckmail.services.inspection import Inspection
from duckmail.services.mail import Mail
from duckmail.services.mailauth.reports import DmarcReports
from duckmail.services.mailboxes import Mailboxes
from duckmail.services.maildrop import Maildrops
from duckmail.services.messages.services import Around, MessageServices, message_services
from duckmail.services.mfa import TwoFactor
from duckmail.services.passwords import Passwords
from duckmail.services.pgp import Pgp
from duckmail.services.queue.forward import Forwarding
from duckmail.services.queue.queue import Queue
from duckmail.services.queue.reports import Reports
from duckmail.services.queue.schedule import Schedule
from duckmail.services.quotas import Quotas
from duckmail.services.receivedreports import ReceivedReports
from duckmail.services.reception.reception import Reception
from duckmail.services.relocation import Relocation
from duckmail.services.scram import Scram, salt_key
from duckmail.services.sending import Policy as SendingPolicy
from duckmail.services.sessions import Sessions
from duckmail.services.settings import ServerSettings
from duckmail.services.sorting import Sorting
from duckmail.services.srs import KEYS as SRS_KEYS
from duckmail.services.srs import Srs
from duckmail.services.submission import Policy, Submission
from duckmail.services.tally import Tally
from duckmail.services.tasks.jobs import jobs
from duckmail.services.tasks.runner import Jobs
from duckmail.services.tasks.tasks import TaskList
from duckmail.services.tokens import Tokens
from duckmail.services.tracing import WINDOW, Tracing
from duckmail.services.transport.policies import Policies
from duckmail.services.transport.tlsreports import TlsReports
from duckmail.services.updates import Updates
from duckmail.services.users import Users
from duckmail.services.webauthn import RelyingParty, WebAuthn
from duckmail.services.webhooks.webhooks import Webhooks
from storage.changes.base import CHUNK
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
class Services:
    """Everything below the edges. `slot`: the name of this process among those of its host and data."""

    acme: Acme
    config: Config
    store: Store
    tasks: Tasks
    threads: Pool
    hashing: Pool
    users: Users
    webhooks: Webhooks
    address_register: AddressRegister
    addresses: Addresses
    asps: ApplicationPasswords
    audits: Audits
    auth: Auth
    authlog: AuthLog
    autoreplies: Autoreplies
    certificates: Certificates
    dkim: Dkim
    domain_access: DomainAccess
    domain_aliases: DomainAliases
    files: UserFiles
    filters: Filters
    tokens: Tokens
    tracing: Tracing
    delivery: Delivery
    mailboxes: Mailboxes
    messages: MessageServices
    maildrops: Maildrops
    mfa: TwoFactor
    sealer: Sealer
    srs: Srs | None
    target_passwords: TargetPasswords
    sessions: Sessions
    updates: Updates
    settings: ServerSettings
    quotas: Quotas
    reception: Reception
    received_reports: ReceivedReports
    reports: Reports
    queue: Queue
    submission: Submission
    task_list: TaskList
    jobs: Jobs
    webauthn: WebAuthn
    budget: OctetBudget
    outside: Outside
    hostname: str
    slot: str
    sts: Policies

    def mail(self, principal: Principal) -> Mail:
        return mail_of(self.store, self.config, self.messages.relocation, principal)


def mail_of(store: Store, config: Config, relocation: Relocation, principal: Principal) -> Mail:
    return Mail(store, principal, config.limits.quota, relocation)


@dataclass(frozen=True, slots=True)
class _Ground:
    """What the services stand on. `slot`: the name of this process among those of its host and data."""

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
async def open_services(config: Config, databases: Databases, slot: str) -> AsyncIterator[Services]:
    """Opens the store and builds the services over it. `slot` names this process among those of its host and data.

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
        ground = _Ground(
            config, store, tasks, threads, hashing, sealer, salts, outside, authority, hostname, slot, dmarc
        )
        services = _services(ground)
        stack.push_async_callback(services.tracing.close)
        _tell(services)
        await services.settings.look()
        tasks.start(services.settings.keep(), "settings")
        tasks.start(dmarc.keep(), "dmarc-results")
        tasks.start(services.sessions.keep(), "sessions")
        tasks.start(services.sessions.connections.keep(), "connections")
        stack.push_async_callback(services.sessions.connections.tell)  # that there are none any more
        tasks.start(services.updates.keep(), "updates")
        tasks.start(services.address_register.keep(), "addressregister")
        tasks.start(services.tracing.keep(), "tracing")
        yield services


def _services(ground: _Ground) -> Services:
    config, store, threads = ground.config, ground.store, ground.threads
    passwords = Passwords(ground.hashing)
    sessions = Sessions(store)
    authlog = AuthLog(store.authlog, store.users, store.settings)
    targets = TargetPasswords(ground.sealer)
    scram = _scram(ground)
    users = _users(ground, passwords, authlog, targets, scram)
    asps = ApplicationPasswords(
        store.asps, store.users, store.addresses, passwords, authlog, settings=store.settings, scram=scram
    )
    auth = _auth(ground, users, asps, passwords, authlog)
    reports = Reports(store, ground.hostname, schedule(config, store))
    tracing = _tracing(config, store)
    queue = Queue(store, reports, tracing)
    register = AddressRegister(store.address_register, store.users)
    inspection = make_inspection(
        config, ground.outside, threads, ground.hostname, note=ground.dmarc.note, reports=store.report_records
    )
    delivery = _delivery(ground, queue, register, inspection, tracing)
    task_list = TaskList(store.task_records)
    around = _around(ground, queue, task_list, register)
    messages = message_services(store, around)
    quotas, audits = Quotas(store, task_list, config.limits.quota), Audits(store, task_list)
    certificates = Certificates(store.certs, ground.sealer, threads, problem, task_list)
    acme = Acme(store.acme, certificates, ground.authority, ground.sealer, task_list)
    sts = Policies(store.sts_policies, ground.outside.dns, ground.outside.http)
    tls_reports = TlsReports(store, queue, ground.outside.dns, ground.outside.http, ground.hostname)
    return Services(
        acme=acme,
        config=config,
        store=store,
        tasks=ground.tasks,
        threads=threads,
        hashing=ground.hashing,
        users=users,
        webhooks=Webhooks(store.webhooks, store.users, targets),
        address_register=register,
        addresses=_addresses(ground, targets),
        asps=asps,
        audits=audits,
        auth=auth,
        authlog=authlog,
        autoreplies=Autoreplies(store.autoreplies),
        certificates=certificates,
        dkim=Dkim(store.dkim, ground.sealer, threads),
        domain_access=DomainAccess(store.domain_access),
        domain_aliases=DomainAliases(store.address_records),
        files=around.files,
        filters=Filters(store.filters, store.users, store.mailboxes, targets, authlog=authlog),
        tokens=Tokens(store.tokens, store.users),
        tracing=tracing,
        delivery=delivery,
        mailboxes=Mailboxes(store),
        messages=messages,
        mfa=TwoFactor(store.mfa, auth, authlog, ground.sealer, threads),
        sealer=ground.sealer,
        srs=_srs(ground),
        target_passwords=targets,
        maildrops=_maildrops(ground, messages),
        sessions=sessions,
        updates=Updates(store, sessions),
        settings=ServerSettings(store.setting_records, store.settings, configured(config)),
        quotas=quotas,
        reception=_reception(ground, delivery, inspection, queue, tracing),
        received_reports=ReceivedReports(store.report_records),
        reports=reports,
        queue=queue,
        submission=Submission(store, delivery, queue, threads, _policy(ground), register=register, tracing=tracing),
        task_list=task_list,
        jobs=jobs(store, messages.later.handlers, quotas.handlers, audits.handlers)
        .also(acme.jobs())
        .also(sts.jobs())
        .also(tls_reports.jobs())
        .also(DmarcReports(store, queue, ground.outside.dns, ground.hostname).jobs()),
        webauthn=WebAuthn(store.webauthn, store.users, authlog, threads, _relying_party(ground)),
        budget=around.budget,
        outside=ground.outside,
        hostname=ground.hostname,
        slot=ground.slot,
        sts=sts,
    )


def _addresses(ground: _Ground, targets: TargetPasswords) -> Addresses:
    store, domains = ground.store, ground.config.api.user_domains
    return Addresses(store.address_records, store.addresses, store.users, store.counters, domains, targets=targets)


def _maildrops(ground: _Ground, messages: MessageServices) -> Maildrops:
    store, config = ground.store, ground.config
    return Maildrops(
        store,
        lambda principal: mail_of(store, config, messages.relocation, principal),
        expunge=config.pop3.delete == "expunge",
    )


def _reception(
    ground: _Ground, delivery: Delivery, inspection: Inspection | None, queue: Queue, tracing: Tracing
) -> Reception:
    return make_reception(
        config=ground.config,
        store=ground.store,
        outside=ground.outside,
        threads=ground.threads,
        hostname=ground.hostname,
        delivery=delivery,
        inspection=inspection,
        queue=queue,
        tracing=tracing,
    )


def schedule(config: Config, store: Store) -> Schedule:
    delay = timedelta(seconds=config.outbound.delay_notice)
    return Schedule(config.outbound.schedule, store.settings, delay)


def configured(config: Config) -> dict[str, Value]:
    """What the configuration says of what can be set while the server runs."""
    return {
        "const:max:storage": config.limits.quota,
        "const:max:rcpt_to": config.submission.max_recipients,
        "const:max:bulk_batch_size": CHUNK,
        "const:sender:defer_times": ", ".join(f"{round(wait)}s" for wait in config.outbound.schedule),
    }


def _relying_party(ground: _Ground) -> RelyingParty:
    settings = ground.config.webauthn
    identifier = settings.id or ground.hostname
    return RelyingParty(identifier, settings.name or identifier)


def _tell(services: Services) -> None:
    """What happens goes to the webhooks."""
    services.store.events = services.webhooks


def _scram(ground: _Ground) -> Scram | None:
    settings = ground.config.auth
    if not settings.scram:
        return None
    return Scram(ground.sealer, ground.salts, ground.hashing, ground.domain, settings.scram_iterations)


def _users(
    ground: _Ground, passwords: Passwords, authlog: AuthLog, targets: TargetPasswords, scram: Scram | None
) -> Users:
    config, store = ground.config, ground.store
    breaches = Breaches(ground.outside.http, config.auth.breach_url)
    return Users(
        store.users,
        store.addresses,
        passwords,
        ground.domain,
        config.limits.quota,
        authlog=authlog,
        targets=targets,
        breaches=breaches,
        pgp=Pgp(ground.threads),
        scram=scram,
    )


def _auth(ground: _Ground, users: Users, asps: ApplicationPasswords, passwords: Passwords, authlog: AuthLog) -> Auth:
    store, settings = ground.store, ground.config.auth
    return Auth(
        users,
        store.users,
        passwords,
        store.counters,
        asps=asps,
        authlog=authlog,
        tasks=ground.tasks,
        account=Throttle(settings.account_failures, int(settings.account_window)),
        network=Throttle(settings.network_failures, int(settings.network_window)),
    )


def _delivery(
    ground: _Ground, queue: Queue, register: AddressRegister, inspection: Inspection | None, tracing: Tracing
) -> Delivery:
    store, limits, threads = ground.store, ground.config.limits, ground.threads
    return Delivery(
        store,
        threads,
        limits.quota,
        received=limits.received,
        sorter=Sorting(store, queue, Forwarding(ground.hostname), threads, ground.hostname),
        arrivals=Arrivals(store.counters),
        register=register,
        settings=store.settings,
        srs=_srs(ground),
        inspection=inspection,
        tracing=tracing,
    )


def _srs(ground: _Ground) -> Srs | None:
    domain = ground.config.outbound.srs_domain
    return Srs(domain, lambda: ground.sealer.derived(SRS_KEYS)) if domain else None


def _around(ground: _Ground, queue: Queue, tasks: TaskList, register: AddressRegister) -> Around:
    store, limits = ground.store, ground.config.limits
    recipients = ground.config.submission.max_recipients
    return Around(
        ground.threads,
        queue,
        tasks,
        UserFiles(store.files, store.users, ground.threads),
        OctetBudget(limits.octet_budget),
        SendingPolicy(ground.hostname, recipients, limits.message_size, limits.quota),
        register,
    )


def _tracing(config: Config, store: Store) -> Tracing:
    settings = config.trace
    refusals = Allowance(settings.network_refusals, settings.refusals, WINDOW)
    return Tracing(store.traces, store.mailboxes, settings.keep, refusals)


def _policy(ground: _Ground) -> Policy:
    settings = ground.config.submission
    return Policy(
        ground.hostname,
        rewrite=settings.sender == "rewrite",
        client_address=settings.client_address,
        quota=ground.config.limits.quota,
    )
