"""Keys of domains, as they are managed; only the server's roles do that."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial

from duckmail.errors import InUse, InvalidInput, NotFound
from duckmail.model.account import Principal
from duckmail.model.address import ascii_domain, normalise_domain
from duckmail.model.events import Event, of
from duckmail.runtime.sealer import Sealer
from duckmail.runtime.threads import Pool
from duckmail.services.access import require_server
from duckmail.services.dkim import keys
from storage.dkim import DkimRecords, DomainSlice, SigningDomain, SigningKey, new_key_id, seal_context

DEFAULT = "*"  # the domain whose keys sign for all domains here that have none
# A signature is verified days after it was made: so long the record of a key that signs no more has to stay.
VERIFIED = timedelta(days=30)
_MOST_OF_ONE_KIND = 4
_TRIES = 5


@dataclass(frozen=True, slots=True)
class NewKey:
    """`private`: PEM, or 32 octets in base64; "" makes a key of `algorithm`. `overlap`: None takes the place of all
    keys that the domain has; else keys of the other algorithm stay, and one of the same goes on signing for that long.
    """

    domain: str
    selector: str
    private: str = field(default="", repr=False)
    description: str = ""
    algorithm: str = keys.RSA
    overlap: timedelta | None = None


class Dkim:
    def __init__(self, records: DkimRecords, sealer: Sealer, threads: Pool) -> None:
        self._records = records
        self._sealer = sealer
        self._threads = threads

    async def put(self, new: NewKey, by: Principal) -> SigningDomain:
        """The domain as it is now; its first key is the new one.

        Raises: InvalidInput: an unusable key, or a selector in use. InUse, NotPermitted, Unavailable.
        """
        require_server(by)
        domain = normalise_domain(new.domain)
        try:
            record_name(domain, new.selector)
        except ValueError as error:
            raise InvalidInput("The domain has no name in DNS") from error
        if new.private:
            pair = await self._threads.run(keys.read, new.private)
        else:
            pair = await self._threads.run(keys.generate, new.algorithm)
        now = datetime.now(UTC)
        identifier = new_key_id()
        key = SigningKey(
            id=identifier,
            selector=new.selector.lower(),
            algorithm=pair.algorithm,
            sealed=self._sealer.seal(pair.private, seal_context(identifier)),
            public=pair.public,
            created=now,
            since=now + (new.overlap or timedelta()),
        )
        for _ in range(_TRIES):
            found = await self._records.by_domain(domain)
            kept = rotated(found.keys, key, now) if found is not None and new.overlap is not None else (key,)
            revision, what = (found.revision, "updated") if found is not None else (None, "created")
            stored = await self._records.put(domain, new.description, kept, revision, partial(_told, what))
            if stored is not None:
                return stored
        raise InUse("The keys of this domain are being changed")

    async def list(self, text: str, limit: int, by: Principal, after: str = "", before: str = "") -> DomainSlice:
        """By domain. Raises: NotPermitted, Unavailable."""
        require_server(by)
        return await self._records.list(normalise_domain(text), limit, after, before)

    async def get(self, identifier: str, by: Principal) -> SigningDomain:
        """Raises: NotFound, NotPermitted, Unavailable."""
        require_server(by)
        found = await self._records.get(identifier)
        if found is None:
            raise NotFound("Invalid or unknown DKIM key")
        return found

    async def resolve(self, domain: str, by: Principal) -> SigningDomain:
        """By its name. Raises: NotFound, NotPermitted, Unavailable."""
        require_server(by)
        found = await self._records.by_domain(normalise_domain(domain))
        if found is None:
            raise NotFound("This domain does not exist")
        return found

    async def delete(self, identifier: str, by: Principal) -> None:
        """Raises: NotFound, NotPermitted, Unavailable."""
        require_server(by)
        found = await self.get(identifier, by)
        if not await self._records.delete(identifier, _told("deleted", found)):
            raise NotFound("Invalid or unknown DKIM key")


def _told(what: str, domain: SigningDomain) -> list[Event]:
    key = domain.keys[0]
    about = {"selector": key.selector, "fingerprint": keys.fingerprint(key.public)}
    return [of(f"dkim.{what}", dkim=domain.id, domain=domain.domain, **about)]


def rotated(found: Sequence[SigningKey], new: SigningKey, now: datetime) -> tuple[SigningKey, ...]:
    """A domain's keys with a new one, newest first. Raises: InvalidInput: its selector is that of another key."""
    # One of its kind that has not begun to sign was never needed.
    kept = [key for key in found if key.algorithm != new.algorithm or key.since <= now]
    same = [key for key in kept if key.algorithm == new.algorithm]
    forgotten = {key.id for key, ended in zip(same[1:], same, strict=False) if ended.since < now - VERIFIED}
    forgotten |= {key.id for key in same[_MOST_OF_ONE_KIND - 1 :]}
    kept = [key for key in kept if key.id not in forgotten]
    if any(key.selector == new.selector for key in kept):
        raise InvalidInput("The selector is in use: a key that is rotated needs another one")
    return (new, *kept)


def signing(found: Sequence[SigningKey], now: datetime) -> list[SigningKey]:
    """Of each algorithm the newest key that signs by now."""
    chosen: dict[str, SigningKey] = {}
    for key in found:
        if key.since <= now and (key.algorithm not in chosen or key.since > chosen[key.algorithm].since):
            chosen[key.algorithm] = key
    return [chosen[algorithm] for algorithm in (keys.RSA, keys.ED25519) if algorithm in chosen]


def signing_now(domain: SigningDomain) -> list[SigningKey]:
    return signing(domain.keys, datetime.now(UTC))


def record_name(domain: str, selector: str) -> str:
    """Where the public key is published (RFC 6376 §3.6.2.1)."""
    return f"{selector}._domainkey.{domain if domain == DEFAULT else ascii_domain(domain)}"
