"""Addresses and domain aliases: who receives mail for what.

`view` is the comparison form of an address (`duckmail.model.address`), unique over all accounts. `domain` is its part
behind the `@`: the one thing that is asked for without a local part. A wildcard for all domains has the domain `*`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from bson.objectid import ObjectId
from pymongo.errors import DuplicateKeyError

from duckmail.errors import AddressTaken, AlreadyExists
from duckmail.model.autoreply import Autoreply
from storage.mongo.client import Database, Document, object_id, operation
from storage.mongo.schema import Migration

FILL_SECONDS = 600.0  # for the migration, whatever the number of addresses

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("addresses", [("addrview", 1)], {"unique": True}),
    ("addresses", [("user", 1), ("address", 1)], {"partialFilterExpression": {"user": {"$exists": True}}}),
    ("addresses", [("domain", 1)], {}),
    ("domainaliases", [("alias", 1)], {"unique": True}),
)


async def _fill_domains(database: Database) -> None:
    domain = {"$arrayElemAt": [{"$split": ["$addrview", "@"]}, -1]}
    async with operation(FILL_SECONDS):
        await database["addresses"].update_many({"domain": {"$exists": False}}, [{"$set": {"domain": domain}}])


MIGRATIONS = (Migration(2, "addresses know their domain", _fill_domains),)


@dataclass(frozen=True, slots=True)
class AddressRecord:
    """One address. `user` is empty for a forwarded address, which has `targets` instead.

    `forwards`: how often a day a forwarded one forwards, 0 for the server's limit. `autoreply`: of a forwarded one.
    `meta_data`, `internal_data`: a JSON object as text.
    """

    id: str
    address: str
    view: str
    user: str = ""
    name: str = ""
    targets: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    forwarded_disabled: bool = False
    created: datetime | None = None
    forwards: int = 0
    autoreply: Autoreply | None = None
    meta_data: str = "{}"
    internal_data: str = "{}"


def new_document(address: str, view: str, user: ObjectId | None, tags: Sequence[str] = (), name: str = "") -> Document:
    """An address of `user`, ready to insert; forwarded addresses have no user."""
    document: Document = {
        "_id": ObjectId(),
        "address": address,
        "addrview": view,
        "domain": view.rpartition("@")[2],
        "created": datetime.now(UTC),
    }
    if user is not None:
        document["user"] = user
    if name:
        document["name"] = name
    if tags:
        document["tags"] = list(tags)
        document["tagsview"] = [tag.lower() for tag in tags]
    return document


def to_record(document: Document) -> AddressRecord:
    return AddressRecord(
        id=str(document["_id"]),
        address=document["address"],
        view=document["addrview"],
        user=str(document.get("user", "")),
        name=document.get("name", ""),
        targets=tuple(document.get("targets", ())),
        tags=tuple(document.get("tags", ())),
        forwarded_disabled=bool(document.get("forwardedDisabled", False)),
        created=document.get("created"),
        forwards=int(document.get("forwards", 0)),
        autoreply=Autoreply(**document["autoreply"]) if "autoreply" in document else None,
        meta_data=document.get("metaData", "{}"),
        internal_data=document.get("internalData", "{}"),
    )


class Addresses:
    def __init__(self, database: Database) -> None:
        self._addresses = database["addresses"]
        self._aliases = database["domainaliases"]

    async def find(self, views: Sequence[str]) -> dict[str, AddressRecord]:
        """The addresses with these comparison forms, by form; what does not exist is absent."""
        async with operation():
            documents = await self._addresses.find({"addrview": {"$in": list(views)}}).to_list(None)
        return {document["addrview"]: to_record(document) for document in documents}

    async def has_domain(self, domain: str) -> bool:
        """Whether there is an address in the normalised `domain`; a wildcard in its local part is one."""
        async with operation():
            return await self._addresses.find_one({"domain": domain}, {"_id": 1}) is not None

    async def by_user(self, user: str) -> list[AddressRecord]:
        """All addresses of an account, by address."""
        async with operation():
            documents = await self._addresses.find({"user": object_id(user)}).sort("address", 1).to_list(None)
        return [to_record(document) for document in documents]

    async def insert(
        self, address: str, view: str, user: str, tags: Sequence[str] = (), name: str = ""
    ) -> AddressRecord:
        """Gives `user` one more address. Raises: AddressTaken."""
        return await self._insert(new_document(address, view, object_id(user), tags, name))

    async def insert_forwarded(self, address: str, view: str, targets: Sequence[str]) -> AddressRecord:
        """An address whose mail only goes on to `targets`. Raises: AddressTaken."""
        return await self._insert({**new_document(address, view, None), "targets": list(targets)})

    async def _insert(self, document: Document) -> AddressRecord:
        async with operation():
            try:
                await self._addresses.insert_one(document)
            except DuplicateKeyError as error:
                raise AddressTaken from error
        return to_record(document)

    async def delete_by_user(self, user: str) -> int:
        """Takes all addresses from an account; how many there were."""
        async with operation():
            result = await self._addresses.delete_many({"user": object_id(user)})
        return result.deleted_count

    async def alias_target(self, domain: str) -> str | None:
        """The domain that `domain` (normalised) is an alias of."""
        async with operation():
            document = await self._aliases.find_one({"alias": domain})
        return None if document is None else str(document["domain"])

    async def insert_alias(self, alias: str, domain: str) -> None:
        """Makes the normalised domain `alias` stand for `domain`. Raises: AlreadyExists."""
        async with operation():
            try:
                await self._aliases.insert_one({"alias": alias, "domain": domain, "created": datetime.now(UTC)})
            except DuplicateKeyError as error:
                raise AlreadyExists("This domain alias already exists") from error
