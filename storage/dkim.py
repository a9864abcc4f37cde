"""The keys that sign mail: one document per domain, with one or more keys of different selectors, newest first."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bson.binary import Binary
from bson.int64 import Int64
from bson.objectid import ObjectId
from pymongo import ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from duckmail.model.events import Event, nobody
from storage.mongo.client import Database, Document, object_id, operation
from storage.mongo.transactions import Transactions

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("dkim", [("domain", 1)], {"unique": True}),
)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """`algorithm`: `rsa` or `ed25519`. `sealed`: the private key. `public`: SubjectPublicKeyInfo, DER. `since`: when it
    signs, or began to; a newer one of the same algorithm takes its place."""

    id: str
    selector: str
    algorithm: str
    sealed: bytes = field(repr=False)
    public: bytes = field(repr=False)
    created: datetime
    since: datetime


@dataclass(frozen=True, slots=True)
class SigningDomain:
    """`domain`: normalised, `*` for all that have none. `keys`: newest first, at least one. `revision`: of the keys."""

    id: str
    domain: str
    description: str
    keys: tuple[SigningKey, ...]
    created: datetime
    revision: int = 0


@dataclass(frozen=True, slots=True)
class DomainSlice:
    domains: list[SigningDomain]
    total: int
    has_previous: bool
    has_next: bool


def new_key_id() -> str:
    """A key's id is in its seal, so it is there before the key is stored."""
    return str(ObjectId())


def seal_context(key: str) -> str:
    """What a private key's seal is bound to. `key`: its id."""
    return f"dkim {key}"


class DkimRecords:
    def __init__(self, database: Database, transactions: Transactions) -> None:
        self._dkim = database["dkim"]
        self._transactions = transactions

    async def get(self, identifier: str) -> SigningDomain | None:
        return await self._one({"_id": object_id(identifier)})

    async def by_domain(self, domain: str) -> SigningDomain | None:
        """By the normalised name."""
        return await self._one({"domain": domain})

    async def _one(self, query: Document) -> SigningDomain | None:
        async with operation():
            document = await self._dkim.find_one(query)
        return None if document is None else _domain(document)

    async def find(self, domains: Sequence[str]) -> dict[str, SigningDomain]:
        """Those of these normalised names that there are, by name."""
        async with operation():
            documents = await self._dkim.find({"domain": {"$in": list(domains)}}).to_list(None)
        return {document["domain"]: _domain(document) for document in documents}

    async def put(
        self,
        domain: str,
        description: str,
        keys: Sequence[SigningKey],
        revision: int | None,
        told: Callable[[SigningDomain], Sequence[Event]] = nobody,
    ) -> SigningDomain | None:
        """Sets the keys of a domain whose keys have this `revision`, None for a new one.

        None when they have another one by now.
        """
        fields: Document = {"description": description, "keys": [_from_key(key) for key in keys]}
        document = {"_id": ObjectId(), "domain": domain, "created": datetime.now(UTC), "revision": Int64(1), **fields}

        async def run(session: AsyncClientSession) -> SigningDomain | None:
            if revision is None:
                await self._dkim.insert_one(document, session=session)
                return _domain(document)
            found = await self._dkim.find_one_and_update(
                {"domain": domain, "revision": revision},
                {"$set": fields, "$inc": {"revision": Int64(1)}},
                return_document=ReturnDocument.AFTER,
                session=session,
            )
            return None if found is None else _domain(found)

        try:
            return await self._transactions.run(run, lambda stored: told(stored) if stored is not None else ())
        except DuplicateKeyError:
            return None

    async def delete(self, identifier: str, told: Sequence[Event] = ()) -> bool:
        async def run(session: AsyncClientSession) -> bool:
            result = await self._dkim.delete_one({"_id": object_id(identifier)}, session=session)
            return result.deleted_count > 0

        return await self._transactions.run(run, lambda done: told if done else ())

    async def list(self, text: str, limit: int, after: str = "", before: str = "") -> DomainSlice:
        """By ascending domain; `text`: part of it."""
        # Found by $indexOfCP on a literal, so that nothing becomes a pattern.
        narrowed: Document = {"$expr": {"$gte": [{"$indexOfCP": ["$domain", {"$literal": text}]}, 0]}} if text else {}
        page: Document = dict(narrowed)
        if before or after:
            page["domain"] = {"$lt": before} if before else {"$gt": after}
        async with operation():
            total = await self._dkim.count_documents(narrowed, hint="domain_1")
            found = self._dkim.find(page).sort("domain", -1 if before else 1).limit(limit + 1)
            documents = await found.to_list(None)
        more = len(documents) > limit
        domains = [_domain(document) for document in documents[:limit]]
        if before:
            return DomainSlice(domains[::-1], total, has_previous=more, has_next=True)
        return DomainSlice(domains, total, has_previous=bool(after), has_next=more)


def _domain(document: Document) -> SigningDomain:
    return SigningDomain(
        id=str(document["_id"]),
        domain=document["domain"],
        description=document["description"],
        keys=tuple(_key(each) for each in document["keys"]),
        created=document["created"],
        revision=int(document["revision"]),
    )


def _key(document: Document) -> SigningKey:
    return SigningKey(
        id=str(document["id"]),
        selector=document["selector"],
        algorithm=document["algorithm"],
        sealed=bytes(document["sealed"]),
        public=bytes(document["public"]),
        created=document["created"],
        since=document["since"],
    )


def _from_key(key: SigningKey) -> Document:
    return {
        "id": object_id(key.id),
        "selector": key.selector,
        "algorithm": key.algorithm,
        "sealed": Binary(key.sealed),
        "public": Binary(key.public),
        "created": key.created,
        "since": key.since,
    }
