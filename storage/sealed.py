"""Everything that is sealed at rest, in one list, so that a new key can take the place of an old one everywhere.

A field that is sealed and not listed here would be lost with the old key: what seals adds its row.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from duckmail.errors import Unavailable
from duckmail.runtime.sealer import Sealer
from duckmail.runtime.targetpasswords import TargetPasswords
from storage.acme import seal_context as acme_context
from storage.certs import seal_context as certificate_context
from storage.dkim import seal_context as dkim_context
from storage.mfa import seed_context
from storage.mongo.client import Database, Document, operation
from storage.scram import SALT_KEY_CONTEXT
from storage.scram import seal_context as scram_context
from storage.urlkeys import seal_context as url_key_context

BATCH = 100

# What a secret of a document, or of one in a list, was sealed for.
Context = Callable[[Document], str]


@dataclass(frozen=True, slots=True)
class Secret:
    """`field`: dotted, holds sealed octets, or (`each`) a list of documents with some in this field."""

    collection: str
    field: str
    context: Context
    each: str = ""


@dataclass(frozen=True, slots=True)
class Targets:
    """`field`: dotted, holds a target or a list of them, or (`each`) a list of documents with one in this field."""

    collection: str
    field: str
    each: str = ""


SECRETS: tuple[Secret, ...] = (
    Secret("users", "seed", lambda user: seed_context(str(user["_id"]))),
    Secret("users", "pendingSeed", lambda user: seed_context(str(user["_id"]))),
    Secret("deletedusers", "account.seed", lambda removed: seed_context(str(removed["user"]))),
    Secret("deletedusers", "account.pendingSeed", lambda removed: seed_context(str(removed["user"]))),
    Secret("users", "scram.keys", lambda user: scram_context(value_at(user, "password"))),
    Secret("deletedusers", "account.scram.keys", lambda gone: scram_context(value_at(gone, "account.password"))),
    Secret("asps", "scram.keys", lambda asp: scram_context(value_at(asp, "password"))),
    Secret("scramkeys", "sealed", lambda _: SALT_KEY_CONTEXT),
    Secret("urlkeys", "key", lambda key: url_key_context(str(key["_id"]))),
    Secret("dkim", "keys", lambda key: dkim_context(str(key["id"])), "sealed"),
    Secret("certs", "sealed", lambda certificate: certificate_context(certificate["fingerprint"])),
    Secret("acmeaccounts", "sealed", lambda account: acme_context(account["_id"])),
)
TARGETS: tuple[Targets, ...] = (
    Targets("users", "targets"),
    Targets("deletedusers", "account.targets"),
    Targets("users", "mtaRelay"),
    Targets("deletedusers", "account.mtaRelay"),
    Targets("addresses", "targets"),
    Targets("filters", "action.targets"),
    Targets("queue", "recipients", "via"),
    Targets("webhooks", "url"),
)


@dataclass(slots=True)
class Resealed:
    """Of fields: sealed anew; those that no key opens."""

    sealed: int = 0
    lost: int = 0


class SealedFields:
    def __init__(self, database: Database, sealer: Sealer) -> None:
        self._database = database
        self._sealer = sealer
        self._targets = TargetPasswords(sealer)

    async def reseal(self) -> dict[str, Resealed]:
        """Seals everything with the key that seals now; by collection and field. Beside running servers: a field that
        changes in the meantime is left to who changed it, who has the new key.

        Raises: Unavailable: not all is done; it can be done again.
        """
        found: dict[str, Resealed] = {}
        for secret in SECRETS:
            again = self._secret(secret)
            found[_name(secret)] = await self._all(secret.collection, secret.field, again)
        for row in TARGETS:
            found[_name(row)] = await self._all(row.collection, row.field, self._urls(row.field, row.each))
        return found

    async def _all(self, collection: str, field: str, again: Callable[[Document], Any]) -> Resealed:
        """`again`: the field's new value, None for what stays."""
        result = Resealed()
        async with operation(3600):
            async for document in self._database[collection].find({field: {"$exists": True}}, batch_size=BATCH):
                try:
                    value = again(document)
                except Unavailable:
                    result.lost += 1
                    continue
                if value is not None:
                    unchanged = {"_id": document["_id"], field: value_at(document, field)}
                    written = await self._database[collection].update_one(unchanged, {"$set": {field: value}})
                    result.sealed += written.modified_count
        return result

    def _secret(self, row: Secret) -> Callable[[Document], Any]:
        def one(sealed: object, owner: Document) -> object:
            if not isinstance(sealed, bytes) or self._sealer.is_current(sealed):
                return sealed
            context = row.context(owner)
            return self._sealer.seal(self._sealer.unseal(sealed, context), context)

        def again(document: Document) -> object:
            known = value_at(document, row.field)
            if row.each:
                new: object = [{**item, row.each: one(item[row.each], item)} for item in known]
            else:
                new = one(known, document)
            return new if new != known else None

        return again

    def _urls(self, field: str, each: str) -> Callable[[Document], Any]:
        def again(document: Document) -> list[Any] | str | None:
            known = value_at(document, field)
            if isinstance(known, str):
                url = self._targets.again(known)
                return url if url != known else None
            if not isinstance(known, list):
                return None
            if each:
                new = [{**item, each: self._targets.again(item[each])} if item.get(each) else item for item in known]
            else:
                new = [self._targets.again(target) for target in known]
            return new if new != known else None

        return again


def _name(row: Secret | Targets) -> str:
    return ".".join(part for part in (row.collection, row.field, row.each) if part)


def value_at(document: Mapping[str, Any], field: str) -> Any:  # noqa: ANN401 -- whatever is stored
    """What stands at a dotted name; None for nothing."""
    found: Any = document
    for step in field.split("."):
        found = found.get(step) if isinstance(found, Mapping) else None
    return found
