"""The message store of a process: builds its parts, starts and ends what runs beside them."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Self

from bson.objectid import ObjectId
from redis.asyncio import Redis

from duckmail.errors import DuckmailError, Unavailable
from duckmail.model.account import Quota
from duckmail.model.events import SILENT, Events
from duckmail.model.message import Appended, Content, NewMessage, StoredMessage
from duckmail.model.settings import Settings
from duckmail.runtime.tasks import Tasks
from duckmail.runtime.threads import Pool
from storage import (
    acme,
    addresses,
    addressrecords,
    addressregister,
    annotations,
    archived,
    asps,
    audits,
    authlog,
    certs,
    dkim,
    dmarcresults,
    filters,
    grants,
    mailboxes,
    maildrops,
    mfa,
    positions,
    queue,
    receivedreports,
    retention,
    settings,
    stspolicies,
    tasks,
    textindex,
    tlsresults,
    tokens,
    traces,
    userfiles,
    users,
    webauthn,
    webhooks,
)
from storage.catalog import COLLECTIONS, INDEXES, MIGRATIONS
from storage.changes.append import Append
from storage.changes.base import Key
from storage.changes.copy import undo_query
from storage.changes.replace import Replace
from storage.changes.restore import Restore
from storage.changes.rewriting import Rewritten, content_fields
from storage.columns import Columns
from storage.committer import Committer
from storage.contents.contents import Contents
from storage.contents.prepared import PreparedContent
from storage.entrance import Entrance
from storage.health import Health
from storage.housekeeping import Housekeeping, new_undo, take_back
from storage.leases import Lease, Slot
from storage.listing import Listing
from storage.messages import Messages
from storage.mongo.client import Document, close, connect, database, object_id, operation
from storage.mongo.schema import Schema
from storage.mongo.transactions import Transactions
from storage.redis.client import connect as connect_redis
from storage.redis.client import connect_subscriber
from storage.redis.counters import Counters
from storage.redis.notifier import Notifier
from storage.redis.presence import Presence
from storage.redis.traffic import Traffic
from storage.textsource import TextSource
from storage.viewcache import ViewCache
from storage.views import Delta

log = logging.getLogger("duckmail.storage")

DRAIN_SECONDS = 5.0
TAKE_BACK_SECONDS = 2.0


class Store:
    """`async with Store(...) as store`: connected, schema current, lease held, background work running."""

    events: Events = SILENT  # who is told what happens to mailboxes

    def __init__(  # noqa: PLR0915 -- parts that exist once
        self,
        mongo_uri: str,
        database_name: str,
        redis_url: str | None,
        slot: str,
        threads: Pool,
        *,
        redis_prefix: str = "duckmail:",
    ) -> None:
        """`slot`: a name that this process has again after a restart. `redis_prefix`: of all keys and channels."""
        prefix = f"{redis_prefix}{database_name}:"
        self.client = connect(mongo_uri)
        self.database = database(self.client, database_name)
        self.schema = Schema(self.database, INDEXES, COLLECTIONS, MIGRATIONS)
        self.transactions = Transactions(self.client)
        self.lease = Lease(self.database, self.transactions, Slot(slot))
        self.tasks = Tasks("storage")
        self.pool = threads
        self.settings = Settings()
        self.setting_records = settings.SettingRecords(self.database)
        self.contents = Contents(self.database, threads)
        self.mailboxes = mailboxes.Mailboxes(self.database, self.transactions, self.settings)
        self.users = users.Users(self.database, self.transactions, self.settings)
        self.users.changed = self._account_changed
        self.mailbox_changed: Callable[[str], None] = lambda _user: None  # of this account, in any process; a hint
        self.account_changed: Callable[[str], None] = lambda _user: None  # in any process; a hint
        self.addresses = addresses.Addresses(self.database)
        self.address_records = addressrecords.AddressRecords(self.database, self.transactions)
        self.address_register = addressregister.AddressRegister(self.database)
        self.grants = grants.Grants(self.database, self.transactions)
        self.annotations = annotations.AnnotationRecords(self.database, self.transactions)
        self.annotations.changed = self.shared
        self.filters = filters.Filters(self.database, self.transactions)
        self.autoreplies = filters.Autoreplies(self.database, self.transactions)
        self.domain_access = filters.DomainAccess(self.database)
        self.asps = asps.Asps(self.database, self.transactions)
        self.audits = audits.Audits(self.database, self.transactions)
        self.authlog = authlog.AuthEvents(self.database)
        self.certs = certs.CertificateRecords(self.database, self.transactions)
        self.acme = acme.AcmeRecords(self.database, self.certs)
        self.dkim = dkim.DkimRecords(self.database, self.transactions)
        self.tls_results = tlsresults.TlsResults(self.database)
        self.report_records = receivedreports.ReportRecords(self.database)
        self.dmarc_results = dmarcresults.DmarcResults(self.database)
        self.sts_policies = stspolicies.StsRecords(self.database)
        self.mfa = mfa.Mfa(self.database, self.transactions, self.users)
        self.tokens = tokens.Tokens(self.database)
        self.traces = traces.Traces(self.database)
        self.positions = positions.Positions(self.database)
        self.files = userfiles.UserFiles(self.database)
        self.maildrops = maildrops.MaildropLocks(self.database)
        self.messages = Messages(self.database, self.contents)
        self.columns = Columns(self.messages)
        self.text_index = textindex.TextIndex(self.database, self.tasks, TextSource(self.messages))
        self.archived = archived.Archived(self.database)
        self.listing = Listing(self.database, self.contents)
        self.queue = queue.QueueRecords(self.database, self.transactions)
        self.task_records = tasks.TaskRecords(self.database)
        self.webauthn = webauthn.WebAuthnRecords(self.database, self.transactions)
        self.webhooks = webhooks.Webhooks(self.database)
        self.transactions.outbox = self.webhooks.outbox
        self.views = ViewCache(self.client, self.database, self.mailboxes, self.tasks)
        self.entrance = Entrance(self.database, self.transactions, self.contents, self.queue, self.tasks)
        self.committer = Committer(self.database, self.transactions, self.views, self.contents, self.tasks)
        self.housekeeping = Housekeeping(self.database, self.committer, self.settings)
        self.retention = retention.Retention(self.database, self.committer)
        self._redis: tuple[Redis, ...] = ()
        self.notifier: Notifier | None = None
        if redis_url:
            self._use_redis(redis_url, prefix)
        self.counters = Counters(self.redis, prefix)
        self.traffic = Traffic(self.counters)
        self.presence = Presence(self.redis, prefix, slot)
        self.health = Health(self.database, self.redis, prefix, self.schema)
        self.committer.publish = self._publish

    def _use_redis(self, url: str, prefix: str) -> None:
        commands, subscriber = self._redis = connect_redis(url), connect_subscriber(url)
        self.notifier = Notifier(commands, subscriber, prefix, str(self.lease.id))
        self.notifier.changed = self._mailbox_heard
        self.notifier.account_changed = self._account_heard
        self.notifier.reconnected = self.views.changed_all
        self.views.watch, self.views.unwatch = self.notifier.watch, self.notifier.unwatch

    async def __aenter__(self) -> Self:
        try:
            async with operation():
                hello = await self.client.admin.command("hello")
            self.contents.sharded = hello.get("msg") == "isdbgrid"
            self.committer.mix_users = not self.contents.sharded
            await self.schema.upgrade()
            await self.lease.acquire()
        except BaseException:
            await self._close_clients()
            raise
        self.tasks.start(self.lease.keep(), "lease")
        self.tasks.start(self.maildrops.keep(), "maildrops")
        self.tasks.start(self.views.poll(), "poll")
        self.tasks.start(self.traffic.keep(), "traffic")
        if self.notifier is not None:
            self.tasks.start(self.notifier.send(), "publish")
            self.tasks.start(self.notifier.listen(), "listen")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not await self.committer.drain(DRAIN_SECONDS):
            log.warning("changes were still waiting at the end")
        await self.tasks.aclose()
        await self.traffic.flush()
        if await self.transactions.aclose():
            await self.lease.release()
        await self._close_clients()

    async def _close_clients(self) -> None:
        for redis in self._redis:
            with contextlib.suppress(Exception):
                await redis.aclose()
        await close(self.client)

    def _mailbox_heard(self, user: str, mailbox: str, modseq: int) -> None:
        self.views.changed(user, mailbox, modseq)
        self.mailbox_changed(user)

    def _publish(self, delta: Delta) -> None:
        self.mailbox_changed(delta.mailbox.user)
        if self.notifier is not None:
            self.notifier.publish(delta)

    def shared(self, document: Document, user: str = "") -> None:
        """What an account may do with a mailbox, or what is noted of it, has changed; "": not of a single one."""
        mailbox = mailboxes.to_mailbox(document)
        for whose in dict.fromkeys((mailbox.user, user or mailbox.user)):
            self._mailbox_heard(whose, mailbox.id, mailbox.modseq)
            if self.notifier is not None:
                self.notifier.publish(Delta(replace(mailbox, user=whose)))

    def _account_heard(self, user: str) -> None:
        self.account_changed(user)

    def _account_changed(self, user: str) -> None:
        self._account_heard(user)
        if self.notifier is not None:
            self.notifier.publish_account(user)

    def watch(self, user: str) -> None:
        """From now on `account_changed` hears of this account's changes in other processes; until `unwatch`."""
        if self.notifier is not None:
            self.notifier.watch(user)

    def unwatch(self, user: str) -> None:
        if self.notifier is not None:
            self.notifier.unwatch(user)

    async def append(
        self,
        user: str,
        mailbox: str,
        messages: Sequence[NewMessage],
        quota: Quota,
        *,
        queued: Sequence[Document] = (),
    ) -> list[Appended]:
        """All of them or none. `quota`: what the account may hold. `queued`: of `storage.queue`, put
        into the outbound queue in the same commit.

        Raises: NotFound, OverQuota, LimitReached, Unavailable, CommitUnknown.
        """
        pairs = [(new, _prepared(new.content)) for new in messages]
        await self.contents.keep(content for _, content in pairs)
        change = Append(Key(object_id(user), object_id(mailbox)), pairs, quota, queued)
        results: list[Appended] = await self.committer.submit(change)
        return results

    async def replace(self, source: Key, uid: int, target: Key, new: NewMessage, quota: Quota) -> Appended:
        """Appends to `target` and takes `uid` out of `source`, both or neither.

        Raises: NoSuchMessage, NotFound, OverQuota, LimitReached, Unavailable, CommitUnknown.
        """
        content = _prepared(new.content)
        await self.contents.keep([content])
        append = Append(target, [(new, content)], quota)
        appended: Appended = await self.committer.submit(Replace(source, uid, append, self.contents))
        return appended

    async def restore(
        self, user: str, mailbox: str, ids: Sequence[str], quota: Quota, rewritten: Rewritten | None = None
    ) -> list[tuple[str, int]]:
        """Archived messages come back into a mailbox, at most `changes.restore.MOST`; (id, UID) of those there were.

        Raises: NoSuchMailbox, OverQuota, LimitReached, Unavailable, CommitUnknown.
        """
        change = Restore(key(user, mailbox), [object_id(identifier) for identifier in ids], quota, rewritten)
        restored: list[tuple[str, int]] = await self.committer.submit(change)
        return restored

    async def insert(self, content: Content) -> None:
        """Makes a content durable before what names it. Raises: Unavailable."""
        await self.contents.insert_many([_prepared(content)])

    async def enqueue(self, document: Document, content: Content) -> str:
        """Puts a message (`storage.queuedocuments.new_document`) and its content into the outbound queue; its id, or
        that of the message that has its key already.

        Raises: Unavailable, CommitUnknown.
        """
        prepared = _prepared(content)
        await self.contents.keep([prepared])
        return await self.entrance.put(document, prepared)

    async def rewrite(self, message: StoredMessage, content: Content) -> Document:
        """What `content` makes of a message that is copied or moved (`changes.rewriting.Rewritten`); it is durable.

        Raises: Unavailable.
        """
        prepared = _prepared(content)
        await self.contents.insert_many([prepared])
        return content_fields(message, prepared)

    async def append_many(self, items: Sequence[tuple[str, str, NewMessage, Quota]]) -> list[Appended | DuckmailError]:
        """(user, mailbox, message, quota) each on its own, together in as few transactions as can be."""
        if len(items) == 1:  # nearly every delivery: it needs no task of its own
            user, mailbox, new, quota = items[0]
            try:
                return [(await self.append(user, mailbox, [new], quota))[0]]
            except DuckmailError as error:
                return [error]
        outcomes = await asyncio.gather(
            *(self.append(user, mailbox, [new], quota) for user, mailbox, new, quota in items), return_exceptions=True
        )
        results: list[Appended | DuckmailError] = []
        for outcome in outcomes:
            if isinstance(outcome, DuckmailError):
                results.append(outcome)
            elif isinstance(outcome, BaseException):
                raise outcome
            else:
                results.append(outcome[0])
        return results

    @contextlib.asynccontextmanager
    async def undo(self, user: str, mailbox: str) -> AsyncIterator[ObjectId]:
        """Makes a sequence of `Copy` chunks into `mailbox` all or nothing: a failure takes them back, and should this
        process die, housekeeping does."""
        record = new_undo(key(user, mailbox), self.lease.id)
        undos = self.database["undos"]
        async with operation():
            await undos.insert_one(record)
        identifier: ObjectId = record["_id"]
        try:
            yield identifier
        except BaseException:
            if not await self._taken_back(identifier):
                self.tasks.start(self._take_back(identifier), "take back")
            raise
        async with operation():
            finished = await undos.delete_one(undo_query(identifier))
        if not finished.deleted_count:
            # This process stalled, was taken for dead, and what it copied is being removed.
            raise Unavailable(error="the copy was taken back")

    async def _taken_back(self, undo: ObjectId) -> bool:
        try:
            await take_back(self.database, self.committer, undo)
        except DuckmailError as error:
            log.warning("a copy is not taken back yet", extra={"fields": error.fields})
            return False
        return True

    async def _take_back(self, undo: ObjectId) -> None:
        """Until it is done; should this process end before, housekeeping does it."""
        while True:
            await asyncio.sleep(TAKE_BACK_SECONDS)
            if await self._taken_back(undo):
                return

    async def ping(self) -> None:
        """Raises: Unavailable when MongoDB has no primary that answers."""
        async with operation(5):
            await self.client.admin.command("ping")

    @property
    def redis(self) -> Redis | None:
        return self._redis[0] if self._redis else None


def _prepared(content: Content) -> PreparedContent:
    if not isinstance(content, PreparedContent):
        raise TypeError("only prepared content can be stored")
    return content


def key(user: str, mailbox: str) -> Key:
    return Key(object_id(user), object_id(mailbox))


def new_id() -> str:
    return str(ObjectId())
