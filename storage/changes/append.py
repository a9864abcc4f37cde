"""Appending messages: many mailboxes in one transaction (DESIGN §5 Write), of two round trips where this process knows
the mailboxes, else of four (docs/adr/0015)."""

from collections.abc import Sequence
from datetime import UTC, datetime

from bson.binary import Binary
from bson.int64 import Int64
from bson.objectid import ObjectId

from duckmail.errors import DuckmailError, LimitReached, NotFound, OverQuota
from duckmail.model.account import Quota
from duckmail.model.flags import missing_keywords, to_mask
from duckmail.model.message import Appended, NewMessage
from storage.audits import copies, copy_queued
from storage.changes.base import Change, Held, Key, Outcome, Tx, keywords_to_add, tally
from storage.changes.remembered import Remembered
from storage.contents.contents import Contents
from storage.contents.prepared import PreparedContent
from storage.documents import message_document
from storage.mailboxes import to_mailbox
from storage.mongo import commands, pipeline
from storage.mongo.client import Document
from storage.mongo.pipeline import Command
from storage.threads import Threads
from storage.views import Delta

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    # A relay's retry is recognised for a day (DESIGN §5 Delivery).
    ("deliveries", [("at", 1)], {"expireAfterSeconds": 86_400}),
)

LARGEST_DOCUMENT = 1_280 * 1024  # octets that a contents document holds inline at most
SMALL_FIELDS = 1024  # octets of a message document beside what is made from the message
QUEUED_FIELDS = 256  # octets of each recipient in a document of the outbound queue

Prepared = Sequence[tuple[NewMessage, PreparedContent]]


class Rejected(Exception):
    """Some appends of a group can never succeed: the group is run again without them."""

    def __init__(self, errors: "dict[Append, DuckmailError]") -> None:
        self.errors = errors
        super().__init__(f"{len(errors)} rejected")


class Outdated(Exception):
    """A mailbox is not as this process remembers it: the group is run again and reads it."""


class Append(Change):
    """One or more messages into one mailbox, all or none. `quota`: what the account may hold.

    `queued`: documents of the outbound queue that are inserted in the same commit.
    """

    def __init__(self, key: Key, messages: Prepared, quota: Quota, queued: Sequence[Document] = ()) -> None:
        super().__init__(key)
        self.queued = queued
        self.key = key
        self.messages = messages
        self.quota = quota
        self.ids = [ObjectId() for _ in messages]
        self.size = sum(len(new.prefix) + content.size for new, content in messages)
        self.octets = sum(
            min(content.size, LARGEST_DOCUMENT) + len(content.envelope) + len(content.bodystructure) + SMALL_FIELDS
            for _, content in messages
        )
        if queued:
            self.octets += sum(len(document["recipients"]) for document in queued) * QUEUED_FIELDS
        self.flags = [flag for new, _ in messages for flag in new.flags]

    async def apply(self, tx: Tx) -> Outcome:
        raise TypeError("appends run in an AppendGroup")

    def amounts(self) -> dict[str, int]:
        counted = tally((to_mask(new.flags, ()) for new, _ in self.messages))
        return {**counted, "size": self.size, "uidnext": len(self.messages)}


class AppendGroup:
    """Appends to disjoint or equal mailboxes that commit together."""

    def __init__(self, appends: Sequence[Append], contents: Contents, remembered: Remembered) -> None:
        self.appends = appends
        self._contents = contents
        self._remembered = remembered
        self._threads: Sequence[ObjectId | None] = ()
        self._by_mailbox: dict[Key, list[Append]] = {}
        for append in appends:
            self._by_mailbox.setdefault(append.key, []).append(append)

    async def apply(self, tx: Tx) -> list[Outcome]:
        """One outcome per append. Raises: Rejected, Outdated, PyMongoError."""
        threads = Threads(tx.database)
        messages = [(append.key.user, content.summary) for append in self._in_order() for _, content in append.messages]
        self._threads = await threads.assign(messages)
        found, counting = await self._count(tx)
        self._reject(found)
        await tx.alone(self._nearly_full(found))
        await self._add_keywords(tx, found)
        documents, deliveries, outcomes = self._build(found)
        new, queued = self._new_contents(), [document for append in self.appends for document in append.queued]
        audited = self._audited(found, documents)
        inserted = (("messages", documents), ("deliveries", deliveries), ("queue", queued))
        await self._contents.keep(new)
        writes = [
            *counting,
            *self._contents.insertions(new),
            *(commands.insert(name, each, tx.session) for name, each in inserted if each),
            *([commands.update("auditmails", audited, tx.session)] if audited else ()),
            *threads.insertions(),
        ]
        try:
            await pipeline.run(tx.database, writes)
        except pipeline.Unmatched:
            self._remembered.distrust(list(found))
            raise Outdated from None
        if audited:  # then what the account sends is looked at too
            await copy_queued(tx.database, queued, tx.session)
        for key in self._by_mailbox:
            self._remembered.put(found[key.mailbox])
        return [outcomes[append] for append in self.appends]

    def _in_order(self) -> list[Append]:
        """As their messages are numbered."""
        return [append for appends in self._by_mailbox.values() for append in appends]

    def committed(self) -> None:
        """The transaction is durable, and with it the contents."""
        for append in self.appends:
            for _, content in append.messages:
                content.inserted = True

    def _new_contents(self) -> list[PreparedContent]:
        unique = {content.id: content for append in self.appends for _, content in append.messages}
        return [content for content in unique.values() if not content.inserted]

    async def _count(self, tx: Tx) -> tuple[dict[ObjectId, Document], list[Command]]:
        """Increments the counters; the mailboxes after it, and with them all others of the users with a quota. What is
        remembered need not be read: then the increments are still to be carried out."""
        increments = {key: self._increment(appends) for key, appends in self._by_mailbox.items()}
        known = self._remembered.take([key.mailbox for key in increments])
        ample = all(self._remembered.ample(append.key.user, append.quota) for append in self.appends)
        if known is None or not ample or self._new_keywords(known):
            updates = [
                {"q": {"_id": key.mailbox, "user": key.user, "path": {"$exists": True}}, "u": {"$inc": amounts}}
                for key, amounts in increments.items()
            ]
            await pipeline.run(tx.database, [commands.update("mailboxes", updates, tx.session)])
            found = await self._mailboxes(tx)
            self._note_room(found)
            return found, []
        # The hint: the other fields are in indexes too, and MongoDB would try each of those as well.
        updates = [
            {"q": self._remembered.unchanged(known[key.mailbox]), "u": {"$inc": amounts}, "hint": {"_id": 1}}
            for key, amounts in increments.items()
        ]
        for key, amounts in increments.items():
            document = known[key.mailbox]
            known[key.mailbox] = {
                **document,
                **{name: Int64(document[name] + amount) for name, amount in amounts.items()},
            }
        return known, [commands.update("mailboxes", updates, tx.session, required=len(updates))]

    def _note_room(self, found: dict[ObjectId, Document]) -> None:
        held = self._held(found)
        for append in self.appends:
            if append.quota and held[append.key.user].far(append.quota):
                self._remembered.found_ample(append.key.user, append.quota)

    def _new_keywords(self, known: dict[ObjectId, Document]) -> bool:
        return any(missing_keywords(append.flags, known[append.key.mailbox]["keywords"]) for append in self.appends)

    def _build(self, found: dict[ObjectId, Document]) -> tuple[list[Document], list[Document], dict[Append, Outcome]]:
        """What to insert into `messages` and `deliveries`, and the outcomes."""
        moment = datetime.now(UTC)
        documents: list[Document] = []
        deliveries: list[Document] = []
        outcomes: dict[Append, Outcome] = {}
        threads = iter(self._threads)
        for key, appends in self._by_mailbox.items():
            mailbox = found[key.mailbox]
            uid = int(mailbox["uidnext"]) - sum(len(append.messages) for append in appends)
            for append in appends:
                made = append_documents(append, mailbox, uid, moment)
                for document, thread in zip(made, threads, strict=False):
                    if thread is not None:
                        document["thread"] = thread
                uid += len(made)
                documents += made
                deliveries += append_deliveries(append, made, mailbox, moment)
                outcomes[append] = Outcome(_results(made, mailbox))
            self._give_delta(outcomes, appends, mailbox, documents)
        return documents, deliveries, outcomes

    @staticmethod
    def _audited(found: dict[ObjectId, Document], documents: Sequence[Document]) -> list[Document]:
        """The statements that copy messages for the audits of their mailboxes: none, as a rule."""
        audited = {identifier for identifier, mailbox in found.items() if mailbox.get("audits")}
        if not audited:
            return []
        return [
            statement
            for document in documents
            if document["mailbox"] in audited
            for mailbox in [found[document["mailbox"]]]
            for statement in copies(mailbox, document, mailbox["path"], document["savedate"])
        ]

    @staticmethod
    def _give_delta(
        outcomes: dict[Append, Outcome], appends: Sequence[Append], mailbox: Document, documents: Sequence[Document]
    ) -> None:
        """All appends to one mailbox share one modseq, so one delta: the last one carries it."""
        count = sum(len(append.messages) for append in appends)
        added = [(int(row["uid"]), int(row["flags"])) for row in documents[-count:]]
        last = appends[-1]
        outcomes[last] = Outcome(outcomes[last].result, (Delta(to_mailbox(mailbox), added=added),))

    @staticmethod
    def _increment(appends: Sequence[Append]) -> Document:
        total: dict[str, int] = {"modseq": 1}
        for append in appends:
            for name, amount in append.amounts().items():
                total[name] = total.get(name, 0) + amount
        return {name: Int64(amount) for name, amount in total.items() if amount}

    async def _mailboxes(self, tx: Tx) -> dict[ObjectId, Document]:
        """The mailboxes written, and all others of the users with a quota: together they are what is held."""
        limited = list({append.key.user for append in self.appends if append.quota})
        written = list(self._by_mailbox)
        query: Document = {
            "_id": {"$in": [key.mailbox for key in written]},
            "user": {"$in": list({key.user for key in written})},
        }
        if limited:
            query = {"$or": [query, {"user": {"$in": limited}, "messages": {"$gt": 0}}]}
        found = await tx.mailboxes.find(query, session=tx.session).to_list(None)
        return {document["_id"]: document for document in found}

    def _reject(self, found: dict[ObjectId, Document]) -> None:
        """In their order: one too many takes the room of none before it. Raises: Rejected."""
        held = self._held(found)
        tables = {identifier: list(mailbox["keywords"]) for identifier, mailbox in found.items()}
        errors: dict[Append, DuckmailError] = {}
        for append in self.appends:
            user, mailbox = append.key.user, append.key.mailbox
            if "path" not in found.get(mailbox, ()):
                errors[append] = NotFound("No such mailbox")
            elif not held[user].plus(append.size, len(append.messages)).within(append.quota):
                errors[append] = OverQuota()
            else:
                try:
                    tables[mailbox] += keywords_to_add(append.flags, tables[mailbox])
                    held[user] = held[user].plus(append.size, len(append.messages))
                except LimitReached as error:
                    errors[append] = error
        if errors:
            raise Rejected(errors)

    def _nearly_full(self, found: dict[ObjectId, Document]) -> list[ObjectId]:
        """The accounts that have little room left."""
        quotas = {append.key.user: append.quota for append in self.appends if append.quota}
        held = self._held(found)
        for append in self.appends:
            held[append.key.user] = held[append.key.user].plus(append.size, len(append.messages))
        return [user for user, quota in quotas.items() if held[user].nearly(quota)]

    def _held(self, found: dict[ObjectId, Document]) -> dict[ObjectId, Held]:
        """What is in the mailboxes found, without what this group has added to them; by account."""
        held: dict[ObjectId, Held] = {key.user: Held() for key in self._by_mailbox}
        for mailbox in found.values():
            held[mailbox["user"]] = held[mailbox["user"]].plus(int(mailbox["size"]), int(mailbox["messages"]))
        for append in self.appends:
            if "path" in found.get(append.key.mailbox, ()):
                held[append.key.user] = held[append.key.user].plus(-append.size, -len(append.messages))
        return held

    async def _add_keywords(self, tx: Tx, found: dict[ObjectId, Document]) -> None:
        for key, appends in self._by_mailbox.items():
            mailbox = found[key.mailbox]
            flags = [flag for append in appends for flag in append.flags]
            missing = keywords_to_add(flags, mailbox["keywords"]) if flags else []
            if missing:
                await tx.count(key, {}, missing)
                mailbox["keywords"] = [*mailbox["keywords"], *missing]


def append_documents(append: Append, mailbox: Document, uid: int, moment: datetime) -> list[Document]:
    """The message documents of one append, with ascending UIDs from `uid`."""
    made = []
    for offset, (identifier, (new, content)) in enumerate(zip(append.ids, append.messages, strict=True)):
        document = message_document(new, content, moment)
        document |= {
            "_id": identifier,
            "user": append.key.user,
            "mailbox": append.key.mailbox,
            "uid": Int64(uid + offset),
            "modseq": mailbox["modseq"],
            "flags": Int64(to_mask(new.flags, mailbox["keywords"])),
            "emailid": identifier,
        }
        made.append(document)
    return made


def append_deliveries(append: Append, made: Sequence[Document], mailbox: Document, at: datetime) -> list[Document]:
    return [
        {
            # The key is made of the account too, so it is unique wherever the account's documents are.
            "_id": Binary(new.delivery_key),
            "user": append.key.user,
            "mailbox": append.key.mailbox,
            "uid": document["uid"],
            "uidvalidity": mailbox["uidvalidity"],
            "message": document["_id"],
            "at": at,
        }
        for (new, _), document in zip(append.messages, made, strict=True)
        if new.delivery_key is not None
    ]


def _results(made: Sequence[Document], mailbox: Document) -> list[Appended]:
    return [
        Appended(str(mailbox["_id"]), int(mailbox["uidvalidity"]), int(document["uid"]), str(document["_id"]))
        for document in made
    ]
