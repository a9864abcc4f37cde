"""The store of a process, and the services over it."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from duckmail.app.certificates import problem
from duckmail.app.ground import Databases, Ground, open_ground
from duckmail.app.incoming import make_delivery, make_inspection, make_reception, make_srs
from duckmail.app.outside import Outside
from duckmail.app.signin import make_auth, make_scram, make_users, relying_party
from duckmail.config.schema import Config
from duckmail.model.account import Principal
from duckmail.model.settings import Value
from duckmail.runtime.budget import OctetBudget
from duckmail.runtime.sealer import Sealer
from duckmail.runtime.targetpasswords import TargetPasswords
from duckmail.runtime.tasks import Tasks
from duckmail.runtime.threads import Pool
from duckmail.services.addresses import Addresses
from duckmail.services.addressregister import AddressRegister
from duckmail.services.allowance import Allowance
from duckmail.services.asps import ApplicationPasswords
from duckmail.services.audits import Audits
from duckmail.services.auth import Auth
from duckmail.services.authlog import AuthLog
from duckmail.services.certs.acme import Acme
from duckmail.services.certs.certs import Certificates
from duckmail.services.delivery import Delivery
from duckmail.services.dkim.dkim import Dkim
from duckmail.services.domainaliases import DomainAliases
from duckmail.services.files import UserFiles
from duckmail.services.filters import Autoreplies, DomainAccess, Filters
from duckmail.services.mail import Mail
from duckmail.services.mailauth.reports import DmarcReports
from duckmail.services.mailboxes import Mailboxes
from duckmail.services.maildrop import Maildrops
from duckmail.services.messages.services import Around, MessageServices, message_services
from duckmail.services.mfa import TwoFactor
from duckmail.services.passwords import Passwords
from duckmail.services.queue.queue import Queue
from duckmail.services.queue.reports import Reports
from duckmail.services.queue.schedule import Schedule
from duckmail.services.quotas import Quotas
from duckmail.services.receivedreports import ReceivedReports
from duckmail.services.reception.reception import Reception
from duckmail.services.relocation import Relocation
from duckmail.services.sending import Policy as SendingPolicy
from duckmail.services.sessions import Sessions
from duckmail.services.settings import ServerSettings
from duckmail.services.srs import Srs
from duckmail.services.submission import Policy, Submission
from duckmail.services.tasks.jobs import jobs
from duckmail.services.tasks.runner import Jobs
from duckmail.services.tasks.tasks import TaskList
from duckmail.services.tokens import Tokens
from duckmail.services.tracing import WINDOW, Tracing
from duckmail.services.transport.policies import Policies
from duckmail.services.transport.tlsreports import TlsReports
from duckmail.services.updates import Updates
from duckmail.services.users import Users
from duckmail.services.webauthn import WebAuthn
from duckmail.services.webhooks.webhooks import Webhooks
from storage.changes.base import CHUNK
from storage.store import Store


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


@asynccontextmanager
async def open_services(config: Config, databases: Databases, slot: str) -> AsyncIterator[Services]:
    """Opens the store and builds the services over it. `slot` names this process among those of its host and data.

    Raises: Unavailable. InvalidInput: what the configuration names cannot be used.
    """
    async with open_ground(config, databases, slot) as ground, AsyncExitStack() as stack:
        services, tasks = _services(ground), ground.tasks
        stack.push_async_callback(services.tracing.close)
        _tell(services)
        await services.settings.look()
        tasks.start(services.settings.keep(), "settings")
        tasks.start(services.sessions.keep(), "sessions")
        tasks.start(services.sessions.connections.keep(), "connections")
        stack.push_async_callback(services.sessions.connections.tell)  # that there are none any more
        tasks.start(services.updates.keep(), "updates")
        tasks.start(services.address_register.keep(), "addressregister")
        tasks.start(services.tracing.keep(), "tracing")
        yield services


def _services(ground: Ground) -> Services:
    config, store, threads = ground.config, ground.store, ground.threads
    passwords = Passwords(ground.hashing)
    sessions = Sessions(store)
    authlog = AuthLog(store.authlog, store.users, store.settings)
    targets = TargetPasswords(ground.sealer)
    scram = make_scram(ground)
    users = make_users(ground, passwords, authlog, targets, scram)
    asps = ApplicationPasswords(
        store.asps, store.users, store.addresses, passwords, authlog, settings=store.settings, scram=scram
    )
    auth = make_auth(ground, users, asps, passwords, authlog)
    reports = Reports(store, ground.hostname, schedule(config, store))
    tracing = _tracing(config, store)
    queue = Queue(store, reports, tracing)
    register = AddressRegister(store.address_register, store.users)
    inspection = make_inspection(ground)
    delivery = make_delivery(ground, queue, register, inspection, tracing)
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
        srs=make_srs(ground),
        target_passwords=targets,
        maildrops=_maildrops(ground, messages),
        sessions=sessions,
        updates=Updates(store, sessions),
        settings=ServerSettings(store.setting_records, store.settings, configured(config)),
        quotas=quotas,
        reception=make_reception(ground, delivery, inspection, queue, tracing),
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
        webauthn=WebAuthn(store.webauthn, store.users, authlog, threads, relying_party(ground)),
        budget=around.budget,
        outside=ground.outside,
        hostname=ground.hostname,
        slot=ground.slot,
        sts=sts,
    )


def _addresses(ground: Ground, targets: TargetPasswords) -> Addresses:
    store, domains = ground.store, ground.config.api.user_domains
    return Addresses(store.address_records, store.addresses, store.users, store.counters, domains, targets=targets)


def _maildrops(ground: Ground, messages: MessageServices) -> Maildrops:
    store, config = ground.store, ground.config
    return Maildrops(
        store,
        lambda principal: mail_of(store, config, messages.relocation, principal),
        expunge=config.pop3.delete == "expunge",
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


def _tell(services: Services) -> None:
    """What happens goes to the webhooks."""
    services.store.events = services.webhooks


def _around(ground: Ground, queue: Queue, tasks: TaskList, register: AddressRegister) -> Around:
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


def _policy(ground: Ground) -> Policy:
    settings = ground.config.submission
    return Policy(
        ground.hostname,
        rewrite=settings.sender == "rewrite",
        client_address=settings.client_address,
        quota=ground.config.limits.quota,
    )
