"""Addresses and domain aliases as they are managed: made, listed, changed, removed, renamed with their domain."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from duckmail.errors import AddressNotFound, AddressTaken, AlreadyExists, Cannot, NotFound
from duckmail.model.autoreply import Autoreply
from duckmail.model.events import Event, Told, nobody
from storage.addresses import AddressRecord, new_document, to_record
from storage.mongo.client import Database, Document, object_id, operation
from storage.mongo.transactions import Transactions

RENAMED_TOGETHER = 500  # addresses whose domain changes in one transaction

# Attribute of `AddressRecord` -> field of the document, for all that is stored as it is.
_FIELDS: Mapping[str, str] = {
    "name": "name",
    "forwarded_disabled": "forwardedDisabled",
    "meta_data": "metaData",
    "internal_data": "internalData",
}


@dataclass(frozen=True, slots=True)
class AddressQuery:
    """What a listing is narrowed to; empty values do not narrow. All strings are matched literally."""

    text: str = ""
    forward: str = ""
    tags: tuple[str, ...] = ()
    required_tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AddressSlice:
    """One page of a listing, by ascending `view`; `total` counts all pages."""

    addresses: list[AddressRecord]
    total: int
    has_previous: bool
    has_next: bool


@dataclass(frozen=True, slots=True)
class Alias:
    """`alias` stands for `domain`."""

    id: str
    alias: str
    domain: str
    created: datetime | None = None


@dataclass(frozen=True, slots=True)
class AliasSlice:
    aliases: list[Alias]
    total: int
    has_previous: bool
    has_next: bool


@dataclass(frozen=True, slots=True)
class Renamed:
    """How many of each a new domain name has changed."""

    addresses: int = 0
    users: int = 0
    dkim: int = 0
    aliases: int = 0


def to_alias(document: Document) -> Alias:
    return Alias(str(document["_id"]), document["alias"], document["domain"], document.get("created"))


def to_fields(changes: Mapping[str, object]) -> Document:
    """The document fields of changed `AddressRecord` attributes. Raises: KeyError for another name."""
    fields: Document = {}
    for name, value in changes.items():
        if name in ("targets", "tags") and isinstance(value, tuple | list):
            fields[name] = list(value)
        elif name == "forwards" and isinstance(value, int):
            fields["forwards"] = Int64(value)
        elif name == "autoreply" and isinstance(value, Autoreply):
            fields["autoreply"] = {key: each for key, each in asdict(value).items() if each is not None}
        elif name == "address" and isinstance(value, str):
            fields["address"] = value
        elif name == "view" and isinstance(value, str):
            fields |= {"addrview": value, "domain": value.rpartition("@")[2]}
        else:
            fields[_FIELDS[name]] = value
    if "tags" in fields:
        fields["tagsview"] = [tag.lower() for tag in fields["tags"]]
    return fields


class AddressRecords:
    def __init__(self, database: Database, transactions: Transactions) -> None:
        self._addresses = database["addresses"]
        self._aliases = database["domainaliases"]
        self._users = database["users"]
        self._dkim = database["dkim"]
        self._transactions = transactions

    # -- addresses -------------------------------------------------------------------------------------------------

    async def create(self, record: AddressRecord, main: bool = False, told: Told = nobody) -> str:
        """Makes the address of `record`, whose `id` is not looked at; gives its id.

        Args:
            main: it becomes the main address of its user, as the first one of a user does anyway.

        Raises:
            AddressTaken; NotFound: no such user; Unavailable, CommitUnknown.
        """
        owner = object_id(record.user) if record.user else None
        changes = {
            name: getattr(record, name)
            for name in (*_FIELDS, "targets", "tags", "forwards", "autoreply")
            if getattr(record, name) not in ("", (), 0, None, False, "{}")
        }
        document = new_document(record.address, record.view, owner) | to_fields(changes)

        async def run(session: AsyncClientSession) -> None:
            if owner is not None:
                await self._own(owner, record.address, main, session)
            try:
                await self._addresses.insert_one(document, session=session)
            except DuplicateKeyError as error:
                raise AddressTaken from error

        await self._transactions.run(run, lambda _: told(str(document["_id"])))
        return str(document["_id"])

    async def _own(self, owner: ObjectId, address: str, main: bool, session: AsyncClientSession) -> None:
        """Makes `address` the main one if it is to be or there is none. Raises: NotFound: no such user."""
        wanted = {"$cond": [{"$gt": ["$address", ""]}, "$address", {"$literal": address}]}
        # A wildcard is nobody's main address.
        value: object = {"$literal": address} if main else "$address" if "*" in address else wanted
        # Something changes in any case: who removes the user at the same moment conflicts with it.
        update = [{"$set": {"address": value, "changed": "$$NOW"}}]
        found = await self._users.update_one({"_id": owner}, update, session=session)
        if not found.matched_count:
            raise NotFound("This user does not exist")

    async def get(self, identifier: str) -> AddressRecord:
        """By id. Raises: AddressNotFound, Unavailable."""
        try:
            query = {"_id": object_id(identifier)}
        except NotFound:
            raise AddressNotFound from None
        async with operation():
            document = await self._addresses.find_one(query)
        if document is None:
            raise AddressNotFound
        return to_record(document)

    async def update(self, record: AddressRecord, changes: Mapping[str, object], main: str | None = None) -> None:
        """Sets attributes by name. `main`: what the user's main address is from then on.

        Raises: AddressNotFound, AddressTaken, Unavailable, CommitUnknown.
        """
        query = {"_id": object_id(record.id), "user": object_id(record.user) if record.user else None}
        fields = to_fields(changes)

        async def run(session: AsyncClientSession) -> None:
            if main is not None:
                await self._users.update_one({"_id": query["user"]}, {"$set": {"address": main}}, session=session)
            if not fields:
                return
            try:
                result = await self._addresses.update_one(query, {"$set": fields}, session=session)
            except DuplicateKeyError as error:
                raise AddressTaken("Address already exists") from error
            if not result.matched_count:
                raise AddressNotFound

        if fields or main is not None:
            await self._transactions.run(run)

    async def delete(self, record: AddressRecord, told: Sequence[Event] = ()) -> None:
        """Raises: AddressNotFound; Cannot: it has become its user's main address; Unavailable, CommitUnknown."""
        owner = object_id(record.user) if record.user else None
        query = {"_id": object_id(record.id), "user": owner}

        async def run(session: AsyncClientSession) -> None:
            if owner is not None:
                # Who makes it the main address at the same moment conflicts with this write.
                other = {"_id": owner, "address": {"$ne": record.address}}
                kept = await self._users.update_one(other, [{"$set": {"changed": "$$NOW"}}], session=session)
                if not kept.matched_count:
                    raise Cannot("Can not delete main address")
            result = await self._addresses.delete_one(query, session=session)
            if not result.deleted_count:
                raise AddressNotFound

        await self._transactions.run(run, lambda _: told)

    async def list(self, query: AddressQuery, limit: int, after: str = "", before: str = "") -> AddressSlice:
        """By ascending `view`: the first `limit`, those behind the view `after`, or those just ahead of `before`."""
        narrowed = _narrowed(query)
        page: Document = dict(narrowed)
        if before or after:
            page["addrview"] = {"$lt": before} if before else {"$gt": after}
        async with operation():
            total = await self._addresses.count_documents(narrowed, hint="addrview_1")
            found = self._addresses.find(page).sort("addrview", -1 if before else 1).limit(limit + 1)
            documents = await found.to_list(None)
        more = len(documents) > limit
        records = [to_record(document) for document in documents[:limit]]
        if before:
            return AddressSlice(records[::-1], total, has_previous=more, has_next=True)
        return AddressSlice(records, total, has_previous=bool(after), has_next=more)

    # -- domains ---------------------------------------------------------------------------------------------------

    async def rename_domain(self, old: str, new: str, told: Sequence[Event] = ()) -> Renamed:
        """All addresses of the normalised domain `old`, and what is said of it elsewhere, from now on of `new`.

        Done in steps: broken off, it is completed by doing it again. `told`: with the last one.

        Raises: AddressTaken: there is one of them in `new` already, nothing was changed; Unavailable, CommitUnknown.
        """
        if await self._collides(old, new):
            raise AddressTaken("Address already exists")
        addresses = users = 0
        while True:
            renamed, owners = await self._rename_some(old, new)
            addresses, users = addresses + renamed, users + owners
            if not renamed:
                break
        try:
            dkim, aliases = await self._rename_rest(old, new, told)
        except DuplicateKeyError:  # the new name has just got keys of its own
            dkim, aliases = await self._rename_rest(old, new, told)
        return Renamed(addresses, users, dkim, aliases)

    async def _rename_rest(self, old: str, new: str, told: Sequence[Event]) -> tuple[int, int]:
        """Keys and aliases; how many. The domain's keys sign for the new name, unless that has its own."""
        update = {"$set": {"domain": new}}

        async def run(session: AsyncClientSession) -> tuple[int, int]:
            dkim = 0
            if await self._dkim.find_one({"domain": new}, {"_id": 1}, session=session) is None:
                dkim = (await self._dkim.update_one({"domain": old}, update, session=session)).modified_count
            aliases = await self._aliases.update_many({"domain": old}, update, session=session)
            return dkim, aliases.modified_count

        return await self._transactions.run(run, lambda _: told)

    async def _collides(self, old: str, new: str) -> bool:
        pipeline: list[Document] = [
            {"$match": {"domain": old}},
            {"$project": {"view": _moved("addrview", old, new)}},
            {"$lookup": {"from": "addresses", "localField": "view", "foreignField": "addrview", "as": "other"}},
            {"$match": {"other": {"$ne": []}}},
            {"$limit": 1},
        ]
        async with operation():
            return bool(await (await self._addresses.aggregate(pipeline)).to_list(None))

    async def _rename_some(self, old: str, new: str) -> tuple[int, int]:
        """Addresses and users that one transaction has renamed."""

        async def run(session: AsyncClientSession) -> tuple[int, int]:
            found = self._addresses.find({"domain": old}, {"user": 1}, session=session).limit(RENAMED_TOGETHER)
            rows = await found.to_list(None)
            if not rows:
                return 0, 0
            owners = {
                "_id": {"$in": list({row["user"] for row in rows if "user" in row})},
                "$expr": _in("address", old),
            }
            users = await self._users.update_many(
                owners, [{"$set": {"address": _moved("address", old, new)}}], session=session
            )
            moved = {name: _moved(name, old, new) for name in ("address", "addrview")}
            update = [{"$set": {**moved, "domain": {"$literal": new}}}]
            renamed = {"_id": {"$in": [row["_id"] for row in rows]}}
            addresses = await self._addresses.update_many(renamed, update, session=session)
            return addresses.modified_count, users.modified_count

        try:
            return await self._transactions.run(run)
        except DuplicateKeyError as error:
            raise AddressTaken("Address already exists") from error

    async def create_alias(self, alias: str, domain: str, told: Told = nobody) -> str:
        """Its id. Raises: AlreadyExists, Unavailable, CommitUnknown."""
        document: Document = {"_id": ObjectId(), "alias": alias, "domain": domain, "created": datetime.now(UTC)}

        async def run(session: AsyncClientSession) -> None:
            try:
                await self._aliases.insert_one(document, session=session)
            except DuplicateKeyError as error:
                raise AlreadyExists("This domain alias already exists") from error

        await self._transactions.run(run, lambda _: told(str(document["_id"])))
        return str(document["_id"])

    async def alias(self, alias: str) -> Alias | None:
        """By its normalised domain."""
        async with operation():
            document = await self._aliases.find_one({"alias": alias})
        return None if document is None else to_alias(document)

    async def alias_by_id(self, identifier: str) -> Alias | None:
        async with operation():
            document = await self._aliases.find_one({"_id": object_id(identifier)})
        return None if document is None else to_alias(document)

    async def delete_alias(self, identifier: str, told: Sequence[Event] = ()) -> bool:
        async def run(session: AsyncClientSession) -> bool:
            result = await self._aliases.delete_one({"_id": object_id(identifier)}, session=session)
            return result.deleted_count > 0

        return await self._transactions.run(run, lambda done: told if done else ())

    async def list_aliases(self, text: str, limit: int, after: str = "", before: str = "") -> AliasSlice:
        """By ascending alias; `text`: part of alias or domain."""
        narrowed: Document = {"$expr": {"$or": [_contains("$alias", text), _contains("$domain", text)]}} if text else {}
        page: Document = dict(narrowed)
        if before or after:
            page["alias"] = {"$lt": before} if before else {"$gt": after}
        async with operation():
            total = await self._aliases.count_documents(narrowed, hint="alias_1")
            found = self._aliases.find(page).sort("alias", -1 if before else 1).limit(limit + 1)
            documents = await found.to_list(None)
        more = len(documents) > limit
        aliases = [to_alias(document) for document in documents[:limit]]
        if before:
            return AliasSlice(aliases[::-1], total, has_previous=more, has_next=True)
        return AliasSlice(aliases, total, has_previous=bool(after), has_next=more)


def _narrowed(query: AddressQuery) -> Document:
    # Protocols §10.1 H11: substrings are found by $indexOfCP on a literal, so that nothing becomes a pattern.
    conditions: list[Document] = []
    if query.text:
        conditions.append({"$expr": _contains("$address", query.text)})
    if query.forward:
        within = _contains("$$this", query.forward)
        matched = {"$map": {"input": {"$ifNull": ["$targets", []]}, "in": within}}
        conditions.append({"$expr": {"$anyElementTrue": [matched]}})
    if query.tags:
        conditions.append({"tagsview": {"$in": [tag.lower() for tag in query.tags]}})
    if query.required_tags:
        conditions.append({"tagsview": {"$all": [tag.lower() for tag in query.required_tags]}})
    return {"$and": conditions} if conditions else {}


def _contains(field: str, needle: str) -> Document:
    return {"$gte": [{"$indexOfCP": [field, {"$literal": needle}]}, 0]}


def _in(field: str, domain: str) -> Document:
    return {"$eq": [{"$arrayElemAt": [{"$split": [{"$ifNull": [f"${field}", ""]}, "@"]}, -1]}, {"$literal": domain}]}


def _moved(field: str, old: str, new: str) -> Document:
    """The address in `field` with `new` in the place of the domain `old`, which it ends with."""
    kept = {"$subtract": [{"$strLenCP": f"${field}"}, len(old)]}
    return {"$concat": [{"$substrCP": [f"${field}", 0, kept]}, {"$literal": new}]}
