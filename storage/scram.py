"""How the verifiers of SCRAM stand in documents: `scram: {salt, iterations, keys}`; without keys no proof is right. And
the key that salts are made with, one for all servers of the database."""

from bson.binary import Binary
from pymongo import ReturnDocument

from duckmail.model.credentials import ScramVerifier
from storage.mongo.client import Database, Document, operation

SALT_KEY_CONTEXT = "scram salt"


def to_scram(document: Document) -> ScramVerifier | None:
    found = document.get("scram")
    if found is None:
        return None
    return ScramVerifier(bytes(found["salt"]), int(found["iterations"]), bytes(found.get("keys", b"")))


def to_scram_fields(scram: ScramVerifier) -> Document:
    fields: Document = {"salt": scram.salt, "iterations": scram.iterations}
    return fields | ({"keys": scram.keys} if scram.keys else {})


def seal_context(hashed: str) -> str:
    """What keys are sealed for: the hash of the same password. Another one put beside them, by whoever knows nothing of
    keys, makes them useless."""
    return f"scram {hashed}"


class SaltKeys:
    def __init__(self, database: Database) -> None:
        self._keys = database["scramkeys"]

    async def keep(self, sealed: bytes, instead: bytes = b"") -> bytes:
        """The sealed key that is kept: `sealed` if there was none, or `instead`."""
        fields = {"$set" if instead else "$setOnInsert": {"sealed": Binary(sealed)}}
        query: Document = {"_id": "salt"} | ({"sealed": Binary(instead)} if instead else {})
        async with operation():
            document = await self._keys.find_one_and_update(
                query, fields, upsert=not instead, return_document=ReturnDocument.AFTER
            )
            document = document or await self._keys.find_one({"_id": "salt"})
        return bytes(document["sealed"]) if document else sealed
