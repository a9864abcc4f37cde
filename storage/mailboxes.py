"""Mailbox documents: the folder tree of an account, and the counters as of now.

A deleted mailbox stays as a stub without a path (`gone` holds the time) until its messages are archived and its
tombstones pruned; `path` is unique per user among the living.
"""

import contextlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo import ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from duckmail.errors import AlreadyExists, LimitReached, NoSuchAccount, NoSuchMailbox, SpecialUseTaken, Unavailable
from duckmail.model.events import Event, Told, nobody, of
from duckmail.model.mailbox import INBOX, SEPARATOR, Inbox, Mailbox, MailboxChanges
from duckmail.model.settings import Settings
from duckmail.model.sharing import ANYONE
from storage.grants import to_grants
from storage.mongo.client import Database, Document, object_id, operation
from storage.mongo.transactions import Transactions

MAX_MAILBOXES = 1500
MAX_SHARED = 3000  # of others, that one account sees
MAX_STUBS = 6000  # deleted ones, which stay for as long as tombstones

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("mailboxes", [("user", 1), ("path", 1)], {"unique": True, "partialFilterExpression": {"path": {"$exists": True}}}),
    # Quota is a sum over living and deleted ones: without this index each append would read all mailboxes there are.
    ("mailboxes", [("user", 1)], {}),
    ("mailboxes", [("gone", 1)], {"sparse": True}),
    ("mailboxes", [("acl.who", 1)], {"sparse": True}),
)


def new_document(
    user: ObjectId, path: str, special_use: str | None, uidvalidity: int, retention: int = 0, *, hidden: bool = False
) -> Document:
    """A new, empty mailbox, ready to insert. `retention`: milliseconds, 0 keeps mail for ever."""
    document: Document = {
        "_id": ObjectId(),
        "user": user,
        "path": path,
        "uidvalidity": Int64(uidvalidity),
        "uidnext": Int64(1),
        "modseq": Int64(1),
        "messages": Int64(0),
        "unseen": Int64(0),
        "deleted": Int64(0),
        "size": Int64(0),
        "recentuid": Int64(1),
        "keywords": [],
        "vanishedfloor": Int64(0),
        "subscribed": True,
        "hidden": hidden,
        "retention": Int64(retention),
    }
    if special_use:
        document["specialUse"] = special_use
    return document


# Fields that a mailbox document may get later.
OPTIONAL = ("acl", "annotated", "audits", "encryptMessages", "specialUse")


def to_mailbox(document: Document) -> Mailbox:
    return Mailbox(
        id=str(document["_id"]),
        user=str(document["user"]),
        path=document.get("path", ""),
        uidvalidity=int(document["uidvalidity"]),
        uidnext=int(document["uidnext"]),
        modseq=int(document["modseq"]),
        messages=int(document["messages"]),
        unseen=int(document["unseen"]),
        deleted=int(document["deleted"]),
        size=int(document["size"]),
        recentuid=int(document["recentuid"]),
        keywords=tuple(document["keywords"]),
        vanishedfloor=int(document["vanishedfloor"]),
        special_use=document.get("specialUse"),
        subscribed=bool(document["subscribed"]),
        hidden=bool(document["hidden"]),
        retention=int(document["retention"]),
        encrypt_messages=bool(document.get("encryptMessages")),
        acl=to_grants(document),
        annotated=int(document.get("annotated", 0)),
    )


def _fields(changes: MailboxChanges) -> Document:
    named = {
        "subscribed": changes.subscribed,
        "hidden": changes.hidden,
        "encryptMessages": changes.encrypt_messages,
    }
    fields: Document = {name: value for name, value in named.items() if value is not None}
    if changes.retention is not None:
        fields["retention"] = Int64(changes.retention)
    return fields


def below(path: str) -> dict[str, str]:
    """The query for every path under `path`: a range of the index, no pattern."""
    return {"$gt": path + SEPARATOR, "$lt": path + chr(ord(SEPARATOR) + 1)}


class Mailboxes:
    def __init__(self, database: Database, transactions: Transactions, settings: Settings | None = None) -> None:
        self._settings = settings or Settings()
        self._mailboxes = database["mailboxes"]
        self._users = database["users"]
        self._annotations = database["annotations"]
        self._filters = database["filters"]
        self._transactions = transactions

    async def list(self, user: str) -> list[Mailbox]:
        """All living mailboxes of an account, by path."""
        query = {"user": object_id(user), "path": {"$exists": True}}
        async with operation():
            documents = await self._mailboxes.find(query).sort("path", 1).to_list(None)
        return [to_mailbox(document) for document in documents]

    async def get(self, user: str, mailbox: str) -> Mailbox:
        """By id. Raises: NotFound."""
        return await self._one({"_id": object_id(mailbox), "user": object_id(user), "path": {"$exists": True}})

    async def by_ids(self, mailboxes: Iterable[str]) -> dict[str, Mailbox]:
        """Living ones, of whatever account, by id; what does not exist is absent."""
        query = {"_id": {"$in": [object_id(mailbox) for mailbox in mailboxes]}, "path": {"$exists": True}}
        async with operation():
            documents = await self._mailboxes.find(query).to_list(None)
        return {str(document["_id"]): to_mailbox(document) for document in documents}

    async def by_path(self, user: str, path: str) -> Mailbox:
        """By normalised path. Raises: NotFound."""
        return await self._one({"user": object_id(user), "path": path})

    async def shared_with(self, user: str) -> Sequence[Mailbox]:
        """Those of others whose ACL names this account, or anyone; whatever it says. At most `MAX_SHARED`."""
        query = {"acl.who": {"$in": [object_id(user), ANYONE]}, "path": {"$exists": True}}
        async with operation():
            documents = await self._mailboxes.find(query).limit(MAX_SHARED).to_list(None)
        return [to_mailbox(document) for document in documents if str(document["user"]) != user]

    async def by_special_use(self, user: str, special_use: str) -> Mailbox:
        return await self._one({"user": object_id(user), "specialUse": special_use, "path": {"$exists": True}})

    async def inboxes(self, users: Sequence[str]) -> dict[str, Inbox]:
        """By user id; a user without an INBOX is absent."""
        query = {"user": {"$in": [object_id(user) for user in users]}}
        async with operation():
            documents = await self._mailboxes.find(query, {"user": 1, "path": 1, "size": 1, "messages": 1}).to_list(
                None
            )
        used: dict[ObjectId, int] = {}
        messages: dict[ObjectId, int] = {}
        for document in documents:
            used[document["user"]] = used.get(document["user"], 0) + int(document["size"])
            messages[document["user"]] = messages.get(document["user"], 0) + int(document["messages"])
        return {
            str(document["user"]): Inbox(str(document["_id"]), used[document["user"]], messages[document["user"]])
            for document in documents
            if document.get("path") == INBOX
        }

    async def _one(self, query: Document) -> Mailbox:
        async with operation():
            document = await self._mailboxes.find_one(query)
        if document is None:
            raise NoSuchMailbox
        return to_mailbox(document)

    async def used(self, user: str) -> int:
        """Octets used by the account: the sum over its mailboxes (DESIGN §4)."""
        return (await self.held(user))[0]

    async def held(self, user: str) -> tuple[int, int, int]:
        """Octets, messages and mailboxes of the account. Raises: Unavailable."""
        there = {"$cond": [{"$ne": [{"$type": "$path"}, "missing"]}, 1, 0]}  # the rest are deleted
        sums = {"octets": {"$sum": "$size"}, "messages": {"$sum": "$messages"}, "mailboxes": {"$sum": there}}
        pipeline: list[Document] = [{"$match": {"user": object_id(user)}}, {"$group": {"_id": None, **sums}}]
        async with operation():
            cursor = await self._mailboxes.aggregate(pipeline)
            rows = await cursor.to_list(None)
        return (int(rows[0]["octets"]), int(rows[0]["messages"]), int(rows[0]["mailboxes"])) if rows else (0, 0, 0)

    @property
    def most(self) -> int:
        """Mailboxes that an account may have."""
        return self._settings.given("const:max:mailboxes", MAX_MAILBOXES)

    async def stamps(self, users: Iterable[str]) -> dict[str, tuple[int, int]]:
        """Of each account a value that differs when a mailbox, or the folder tree, has changed. Raises: Unavailable."""
        wanted = [object_id(user) for user in users]
        pipeline: list[Document] = [
            {"$match": {"user": {"$in": wanted}}},
            {"$group": {"_id": "$user", "sum": {"$sum": "$modseq"}}},
        ]
        async with operation(5):
            sums = await (await self._mailboxes.aggregate(pipeline)).to_list(None)
            trees = await self._users.find({"_id": {"$in": wanted}}, {"tree": 1}).to_list(None)
        by_user = {row["_id"]: int(row["sum"]) for row in sums}
        return {str(row["_id"]): (int(row.get("tree", 0)), by_user.get(row["_id"], 0)) for row in trees}

    async def modseqs(self, mailboxes: Iterable[str]) -> dict[str, int]:
        """The modseq of each mailbox as of now; a deleted mailbox gives -1, an unknown one is absent."""
        query = {"_id": {"$in": [object_id(mailbox) for mailbox in mailboxes]}}
        async with operation(5):
            documents = await self._mailboxes.find(query, {"modseq": 1, "gone": 1}).to_list(None)
        return {str(row["_id"]): -1 if "gone" in row else int(row["modseq"]) for row in documents}

    async def create(
        self,
        user: str,
        path: str,
        special_use: str | None = None,
        retention: int = 0,
        *,
        hidden: bool = False,
        encrypt_messages: bool = False,
        told: Told = nobody,
    ) -> Mailbox:
        """Without a `retention` of its own it has that of the account.

        Raises: AlreadyExists, SpecialUseTaken, LimitReached, ...
        """
        owner = object_id(user)

        async def run(session: AsyncClientSession) -> Document:
            account = await self._bump_tree(owner, session)
            await self._check_number(owner, session)
            if special_use:
                same = {"user": owner, "specialUse": special_use, "path": {"$exists": True}}
                if await self._mailboxes.find_one(same, {"_id": 1}, session=session) is not None:
                    raise SpecialUseTaken
            kept = retention or int(account.get("retention", 0))
            document = new_document(owner, path, special_use, int(account["uidvalidity"]), kept, hidden=hidden)
            if encrypt_messages:
                document["encryptMessages"] = True
            if account.get("audits"):
                document["audits"] = account["audits"]
            if grants := await self._inherited(owner, path, session):
                document["acl"] = grants
            await self._mailboxes.insert_one(document, session=session)
            return document

        try:
            return to_mailbox(await self._transactions.run(run, lambda made: told(str(made["_id"]))))
        except DuplicateKeyError as error:
            raise AlreadyExists("Mailbox already exists") from error

    async def _inherited(self, owner: ObjectId, path: str, session: AsyncClientSession) -> Sequence[Document]:
        """RFC 4314 §4: a new mailbox has the ACL of its parent."""
        parent = path.rpartition(SEPARATOR)[0]
        if not parent:
            return []
        query = {"user": owner, "path": parent}
        found = await self._mailboxes.find_one(query, {"acl": 1}, session=session)
        return found.get("acl", []) if found else []

    async def rename(self, user: str, path: str, new_path: str, told: Sequence[Event] = ()) -> None:
        """Renames the mailbox and everything below it, in one transaction (RFC 9051 §6.3.6).

        Raises: NotFound, AlreadyExists.
        """
        owner = object_id(user)

        async def run(session: AsyncClientSession) -> None:
            # The mailboxes first, in few steps: deliveries change them all the time, and the transaction only gets
            # through if nobody does between its beginning and its writes.
            top = {"user": owner, "path": path}
            moved = await self._mailboxes.update_one(top, {"$set": {"path": new_path}}, session=session)
            if not moved.matched_count:
                raise NoSuchMailbox
            rest = {"$substrBytes": ["$path", len(path.encode()), -1]}
            renamed = [{"$set": {"path": {"$concat": [{"$literal": new_path}, rest]}}}]
            await self._mailboxes.update_many({"user": owner, "path": below(path)}, renamed, session=session)
            await self._bump_tree(owner, session)

        try:
            await self._transactions.run(run, lambda _: told)
        except DuplicateKeyError as error:
            raise AlreadyExists("Mailbox already exists") from error

    async def bury(self, user: str, path: str, told: Told = nobody) -> Mailbox:
        """Makes the mailbox a stub: gone for everybody at once, its messages still to be archived.

        Raises: NotFound.
        """
        owner = object_id(user)

        async def run(session: AsyncClientSession) -> Document:
            document = await self._mailboxes.find_one_and_update(
                {"user": owner, "path": path},
                {
                    "$set": {"gone": datetime.now(UTC), "was": path},
                    "$unset": {"path": 1, "acl": 1},  # RFC 4314 §4: DELETE deletes the ACL
                    "$inc": {"modseq": Int64(1)},
                },
                session=session,
                return_document=ReturnDocument.AFTER,
            )
            if document is None:
                raise NoSuchMailbox
            await self._annotations.delete_one({"user": owner, "mailbox": document["_id"]}, session=session)
            document["filters"] = await self._forget_filters(owner, document["_id"], session)
            await self._bump_tree(owner, session)
            return document

        def events(stub: Document) -> Sequence[Event]:
            gone = [of("filter.deleted", user, filter=identifier) for identifier in stub["filters"]]
            return [*gone, *told(str(stub["_id"]))]

        buried = to_mailbox(await self._transactions.run(run, events))
        with contextlib.suppress(Unavailable):  # what others noted for themselves, which may be on other shards
            async with operation():
                await self._annotations.delete_many({"mailbox": object_id(buried.id)})
        return buried

    async def _forget_filters(self, owner: ObjectId, mailbox: ObjectId, session: AsyncClientSession) -> Sequence[str]:
        """Those that file mail there have nothing left to say; their ids."""
        query: Document = {"user": owner, "action.mailbox": mailbox}
        found = await self._filters.find(query, {"_id": 1}, session=session).to_list(None)
        if found:
            await self._filters.delete_many({"_id": {"$in": [each["_id"] for each in found]}}, session=session)
        return [str(each["_id"]) for each in found]

    async def subscribe(self, user: str, path: str, subscribed: bool) -> None:
        """Raises: NotFound."""
        owner = object_id(user)

        async def run(session: AsyncClientSession) -> None:
            update = {"$set": {"subscribed": subscribed}}
            result = await self._mailboxes.update_one({"user": owner, "path": path}, update, session=session)
            if not result.matched_count:
                raise NoSuchMailbox
            await self._bump_tree(owner, session)

        await self._transactions.run(run)

    async def update(self, user: str, mailbox: str, changes: MailboxChanges) -> None:
        """Raises: NotFound."""
        owner = object_id(user)
        query = {"_id": object_id(mailbox), "user": owner, "path": {"$exists": True}}

        async def run(session: AsyncClientSession) -> None:
            result = await self._mailboxes.update_one(query, {"$set": _fields(changes)}, session=session)
            if not result.matched_count:
                raise NoSuchMailbox
            await self._bump_tree(owner, session)

        await self._transactions.run(run)

    async def claim_recent(self, user: str, mailbox: str) -> int:
        """Takes the \\Recent messages for one session: the old `recentuid`, which becomes `uidnext`."""
        query = {"_id": object_id(mailbox), "user": object_id(user)}
        async with operation():
            before = await self._mailboxes.find_one_and_update(
                query, [{"$set": {"recentuid": "$uidnext"}}], projection={"recentuid": 1}
            )
        if before is None:
            raise NoSuchMailbox
        return int(before["recentuid"])

    async def _check_number(self, owner: ObjectId, session: AsyncClientSession) -> None:
        """Raises: LimitReached."""
        living = await self._mailboxes.count_documents({"user": owner, "path": {"$exists": True}}, session=session)
        if living >= self.most:
            raise LimitReached("The account has its maximum number of mailboxes")
        if await self._mailboxes.count_documents({"user": owner}, session=session) >= living + MAX_STUBS:
            raise LimitReached("The account has deleted too many mailboxes lately")

    async def _bump_tree(self, owner: ObjectId, session: AsyncClientSession) -> Document:
        """Counts one change of the user's folder tree; of the account what new mailboxes need: `uidvalidity`, fresh and
        larger than any before, `retention` and `audits`."""
        document = await self._users.find_one_and_update(
            {"_id": owner},
            {"$inc": {"uidvalidity": Int64(1), "tree": Int64(1)}},
            projection={"uidvalidity": 1, "retention": 1, "audits": 1},
            session=session,
            return_document=ReturnDocument.AFTER,
        )
        if document is None:
            raise NoSuchAccount
        return document
