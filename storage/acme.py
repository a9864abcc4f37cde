"""What ACME has to remember: its account, the challenges that are to be answered, and which certificates are due."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from bson.binary import Binary
from bson.int64 import Int64

from duckmail.model.events import nobody
from storage.certs import CertificateRecords, NewChain, Telling, chain_fields
from storage.mongo.client import Database, Document, operation

CHALLENGE_KEPT = timedelta(hours=1)

INDEXES: tuple[tuple[str, list[tuple[str, int]], dict[str, object]], ...] = (
    ("acmechallenges", [("expires", 1)], {"expireAfterSeconds": 0}),
    ("certs", [("acmeDue", 1)], {"partialFilterExpression": {"acmeDue": {"$exists": True}}}),
)


def seal_context(directory: str) -> str:
    """What the seal of an account's key is bound to."""
    return f"acme {directory}"


class AcmeRecords:
    def __init__(self, database: Database, certificates: CertificateRecords) -> None:
        self._accounts = database["acmeaccounts"]
        self._challenges = database["acmechallenges"]
        self._certs = database["certs"]
        self._certificates = certificates

    # -- the account -----------------------------------------------------------------------------------------------

    async def account(self, directory: str) -> tuple[bytes, str] | None:
        """Sealed key, and URL, of the account with this server."""
        async with operation():
            document = await self._accounts.find_one({"_id": directory})
        return (bytes(document["sealed"]), document["url"]) if document else None

    async def put_account(self, directory: str, sealed: bytes, url: str) -> None:
        """The first one stays, should two processes make one."""
        fields: Document = {"sealed": Binary(sealed), "url": url, "created": datetime.now(UTC)}
        async with operation():
            await self._accounts.update_one({"_id": directory}, {"$setOnInsert": fields}, upsert=True)

    async def forget_account(self, directory: str, url: str) -> None:
        async with operation():
            await self._accounts.delete_one({"_id": directory, "url": url})

    # -- challenges ------------------------------------------------------------------------------------------------

    async def publish(self, answers: Sequence[tuple[str, str]]) -> None:
        """(token, answer) that every process is to give."""
        expires = datetime.now(UTC) + CHALLENGE_KEPT
        async with operation():
            for token, answer in answers:
                update = {"$set": {"answer": answer, "expires": expires}}
                await self._challenges.update_one({"_id": token}, update, upsert=True)

    async def answer(self, token: str) -> str | None:
        async with operation(5):
            document = await self._challenges.find_one({"_id": token})
        return str(document["answer"]) if document else None

    async def withdraw(self, tokens: Sequence[str]) -> None:
        async with operation():
            await self._challenges.delete_many({"_id": {"$in": list(tokens)}})

    # -- certificates ----------------------------------------------------------------------------------------------

    async def due(self, limit: int) -> list[str]:
        """Server names that ACME has to look at by now, the longest waiting first."""
        query = {"acmeDue": {"$lte": datetime.now(UTC)}}
        async with operation():
            found = self._certs.find(query, {"servername": 1}).sort("acmeDue", 1).limit(limit)
            return [document["servername"] for document in await found.to_list(None)]

    async def is_due(self, servername: str) -> bool:
        query = {"servername": servername, "acmeDue": {"$lte": datetime.now(UTC)}}
        async with operation():
            return await self._certs.find_one(query, {"_id": 1}) is not None

    async def obtained(self, servername: str, new: NewChain, told: Telling = nobody) -> None:
        """Presents `new` from now on, unless ACME is not to care for the name any more.

        Raises: Unavailable, CommitUnknown.
        """
        update: Document = {
            "$set": {**chain_fields(new), "acmeDue": new.renew},
            "$unset": {"acmeFailures": "", "acmeError": ""},
        }
        await self._certificates.change({"servername": servername, "acme": True}, update, told)

    async def failed(self, servername: str, error: str, due: datetime) -> None:
        update: Document = {"$set": {"acmeError": error, "acmeDue": due}, "$inc": {"acmeFailures": Int64(1)}}
        async with operation():
            await self._certs.update_one({"servername": servername, "acme": True}, update)

    async def failures(self, servername: str) -> int:
        """In a row."""
        async with operation():
            document = await self._certs.find_one({"servername": servername}, {"acmeFailures": 1})
        return int(document.get("acmeFailures", 0)) if document else 0
