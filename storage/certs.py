"""Certificates of server names: one document each, with the key sealed, and what is to be done by ACME."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from bson.binary import Binary
from bson.int64 import Int64
from pymongo import ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from duckmail.errors import Unavailable
from duckmail.model.events import Event, nobody
from storage.mongo.client import Database, Document, object_id, operation
from storage.mongo.transactions import Transactions

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("certs", [("servername", 1)], {"unique": True}),
)
_ACME = ("acmeDue", "acmeFailures", "acmeError")
# What is told of a change: what was there before, None for nothing, and what is there now.
Changed = tuple["Certificate | None", "Certificate"]
Telling = Callable[[Changed], Sequence[Event]]
_NOT_LISTED = {"chain": 0, "sealed": 0}


@dataclass(frozen=True, slots=True)
class Certificate:
    """`servername`: lower case, A-labels. `names`: of the certificate, lower case; of the server without one.

    `fingerprint`: "" without a certificate. `chain`: PEM, the server's own first. `sealed`: the key, PKCS #8, PEM. Both
    are empty in listings.
    """

    id: str
    servername: str
    description: str
    acme: bool
    names: tuple[str, ...]
    fingerprint: str
    expires: datetime | None
    created: datetime
    chain: bytes = b""
    sealed: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class NewChain:
    """A certificate that takes the place of another; see `Certificate`. `renew`: when ACME should get the next one."""

    names: tuple[str, ...]
    fingerprint: str
    expires: datetime
    renew: datetime
    chain: bytes
    sealed: bytes = field(repr=False)


def seal_context(fingerprint: str) -> str:
    """What a key's seal is bound to."""
    return f"certificate {fingerprint}"


@dataclass(frozen=True, slots=True)
class CertificateSlice:
    certificates: list[Certificate]
    total: int
    has_previous: bool
    has_next: bool


class CertificateRecords:
    def __init__(self, database: Database, transactions: Transactions) -> None:
        self._certs = database["certs"]
        self._state = database["certstate"]
        self._transactions = transactions

    async def revision(self) -> int:
        """Another one after each change."""
        async with operation(5):
            document = await self._state.find_one({"_id": "revision"})
        return int(document["value"]) if document else 0

    async def _touch(self, session: AsyncClientSession) -> None:
        """There is a change."""
        update = {"$inc": {"value": Int64(1)}}
        await self._state.update_one({"_id": "revision"}, update, upsert=True, session=session)

    async def loadable(self, most: int) -> list[Certificate]:
        """All that have a certificate, at most so many, by server name."""
        async with operation(60):
            found = self._certs.find({"fingerprint": {"$gt": ""}}).sort("servername", 1).limit(most)
            return [_certificate(document) for document in await found.to_list(None)]

    async def get(self, identifier: str) -> Certificate | None:
        return await self._one({"_id": object_id(identifier)})

    async def by_name(self, servername: str) -> Certificate | None:
        return await self._one({"servername": servername})

    async def _one(self, query: Document) -> Certificate | None:
        async with operation():
            document = await self._certs.find_one(query)
        return None if document is None else _certificate(document)

    async def put(
        self, servername: str, description: str, acme: bool, new: NewChain | None, told: Telling = nobody
    ) -> Certificate:
        """Makes or changes the one of a name. `new`: None keeps the certificate that there is, if there is one.

        Raises: Unavailable, CommitUnknown.
        """
        update: Document = {"$set": {"description": description, "acme": acme}}
        now = datetime.now(UTC)
        # What ACME has to do is looked at afresh.
        update["$unset"] = dict.fromkeys(("acmeFailures", "acmeError") if acme else _ACME, "")
        update["$setOnInsert"] = {"created": now}
        if acme:
            update["$set"]["acmeDue"] = new.renew if new else now
        if new is not None:
            update["$set"] |= chain_fields(new)
        else:
            update["$setOnInsert"] |= {"names": [servername], "fingerprint": ""}
        query = {"servername": servername}
        try:
            changed = await self.change(query, update, told, upsert=True)
        except DuplicateKeyError:  # somebody else has just made it
            changed = await self.change(query, update, told, upsert=True)
        if changed is None:
            raise Unavailable(error="an upsert gave no document")
        return changed[1]

    async def change(
        self, query: Document, update: Document, told: Telling = nobody, *, upsert: bool = False
    ) -> Changed | None:
        """One, before and after; None where there is none. Raises: DuplicateKeyError, Unavailable, CommitUnknown."""

        async def run(session: AsyncClientSession) -> Changed | None:
            before = await self._certs.find_one(query, session=session)
            after = await self._certs.find_one_and_update(
                query, update, upsert=upsert, return_document=ReturnDocument.AFTER, session=session
            )
            if after is None:
                return None
            await self._touch(session)
            return (None if before is None else _certificate(before), _certificate(after))

        return await self._transactions.run(run, lambda changed: told(changed) if changed is not None else ())

    async def delete(self, identifier: str, told: Sequence[Event] = ()) -> bool:
        """Raises: Unavailable, CommitUnknown."""

        async def run(session: AsyncClientSession) -> bool:
            result = await self._certs.delete_one({"_id": object_id(identifier)}, session=session)
            if result.deleted_count:
                await self._touch(session)
            return result.deleted_count > 0

        return await self._transactions.run(run, lambda done: told if done else ())

    async def list(
        self, text: str, limit: int, after: str = "", before: str = "", *, alt_names: bool = False
    ) -> CertificateSlice:
        """By ascending server name; `text`: part of it.

        `alt_names`: or of a name in the certificate, or what one of its wildcards stands for.
        """
        narrowed = _narrowed(text, alt_names)
        page: Document = dict(narrowed)
        if before or after:
            page["servername"] = {"$lt": before} if before else {"$gt": after}
        async with operation():
            total = await self._certs.count_documents(narrowed, hint="servername_1")
            found = self._certs.find(page, _NOT_LISTED).sort("servername", -1 if before else 1).limit(limit + 1)
            documents = await found.to_list(None)
        more = len(documents) > limit
        certificates = [_certificate(document) for document in documents[:limit]]
        if before:
            return CertificateSlice(certificates[::-1], total, has_previous=more, has_next=True)
        return CertificateSlice(certificates, total, has_previous=bool(after), has_next=more)


def _narrowed(text: str, alt_names: bool) -> Document:
    if not text:
        return {}
    # Found by $indexOfCP on a literal, so that nothing becomes a pattern.
    conditions: list[Document] = [_contains("$servername", text)]
    if alt_names:
        within = {"$map": {"input": "$names", "in": _contains("$$this", text)}}
        star = {"$in": [{"$literal": "*." + text.partition(".")[2]}, "$names"]}
        conditions += [{"$anyElementTrue": [within]}, star]
    return {"$expr": {"$or": conditions}}


def _contains(value: str, text: str) -> Document:
    return {"$gte": [{"$indexOfCP": [value, {"$literal": text}]}, 0]}


def chain_fields(new: NewChain) -> Document:
    """As it is stored."""
    return {
        "names": list(new.names),
        "fingerprint": new.fingerprint,
        "expires": new.expires,
        "chain": Binary(new.chain),
        "sealed": Binary(new.sealed),
    }


def _certificate(document: Document) -> Certificate:
    return Certificate(
        id=str(document["_id"]),
        servername=document["servername"],
        description=document["description"],
        acme=document["acme"],
        names=tuple(document["names"]),
        fingerprint=document["fingerprint"],
        expires=document.get("expires"),
        created=document["created"],
        chain=bytes(document.get("chain", b"")),
        sealed=bytes(document.get("sealed", b"")),
    )
