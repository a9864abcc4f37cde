"""Signs what leaves: finds the keys of a message's author domain, and puts the signatures ahead of its header."""

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Protocol

from duckmail.mime import dkim as field
from duckmail.mime import outgoing
from duckmail.mime.arcseal import Chain, continued, sealed
from duckmail.mime.header import Lookup, fields
from duckmail.mime.lineends import LineEnds
from duckmail.model import address as addresses
from duckmail.model.queue import Letter, Origin, QueuedMessage
from duckmail.runtime.sealer import Sealer
from duckmail.runtime.threads import Pool
from duckmail.services.dkim import keys
from duckmail.services.dkim.dkim import DEFAULT, signing
from storage.dkim import SigningDomain, SigningKey, seal_context

KNOWN_SECONDS = 5.0  # what is known of a domain's keys: so long a change takes to be in effect everywhere
_DOMAINS_KEPT = 1000
_KEYS_KEPT = 500  # opened; some kilobytes each
MAX_HEADER = 256 << 10  # octets; a message with more is not signed
_INLINE = 64 << 10  # octets that are hashed on the loop: less than a millisecond


class Records(Protocol):
    """What is needed of `storage.dkim.DkimRecords`."""

    async def find(self, domains: Sequence[str], /) -> dict[str, SigningDomain]: ...


class Domains(Protocol):
    """What is needed of `storage.addresses.Addresses`."""

    async def alias_target(self, domain: str, /) -> str | None: ...

    async def has_domain(self, domain: str, /) -> bool: ...


class Signer:
    """`hostname`: of this server, whose own messages are signed with the keys of its name, or of the domain above.
    `arc`: the domain with whose key forwarded mail is sealed, "" for none.
    """

    def __init__(
        self, records: Records, domains: Domains, sealer: Sealer, threads: Pool, hostname: str, *, arc: str = ""
    ) -> None:
        self._records = records
        self._domains = domains
        self._sealer = sealer
        self._threads = threads
        self._hostname = addresses.normalise_domain(hostname)
        self._arc = addresses.normalise_domain(arc)
        self._known: OrderedDict[str, tuple[float, str, tuple[SigningKey, ...]]] = OrderedDict()
        self._opened: OrderedDict[str, keys.PrivateKey] = OrderedDict()

    async def letter(self, message: QueuedMessage, letter: Letter) -> Letter:
        """`letter` with its signatures, as it is where there is nothing to sign with.

        Raises: DuckmailError: it cannot be signed for now.
        """
        reader = _Reader(letter)
        block = await reader.header()
        header = field.read_header(block) if block is not None else None
        if block is None or header is None:
            return letter
        domain, found = await self._keys(self._author(message, block))
        results, chain = self._chain(message, block)
        sealing, sealers = await self._keys(self._arc) if chain is not None else ("", [])
        if not found and not sealers:
            return letter
        body = await self._hash(reader)
        now = datetime.now(UTC)
        lines = b""
        for key in found:
            lines += field.signature(_identity(domain, key), header, body, now, await self._sign(key))
        if chain is not None and sealers:
            # RFC 8617 §4: a hop adds one set, so of two keys the one that all verifiers know.
            key = sealers[0]
            sign = await self._sign(key)
            identity = _identity(sealing, key)
            lines = sealed(chain, identity, header, body, results=results, at=now, sign=sign) + lines
        # A new field goes on top, where no relay looks for what it has to keep in order (RFC 6376 §5.6).
        return replace(letter, prefix=lines + letter.prefix, size=letter.size + len(lines))

    def _author(self, message: QueuedMessage, block: bytes) -> str:
        """The domain that the message is signed for, normalised.

        What is sent on for others says nothing that we know of its From: who gives our own domain there from outside
        would be vouched for.
        """
        if message.origin is Origin.FORWARD and not message.vouched:
            return self._hostname
        bodies = Lookup(block).all(b"from")
        try:
            found = outgoing.mailboxes(bodies[0]) if len(bodies) == 1 else []
        except outgoing.Malformed:
            found = []
        return addresses.normalise_domain(addresses.split(found[-1])[1]) if found else ""

    def _chain(self, message: QueuedMessage, block: bytes) -> tuple[bytes, Chain | None]:
        """What we have found out about a forwarded message, and the chain that says it to the next hop; None: it is not
        sealed."""
        if not self._arc or message.origin is not Origin.FORWARD:
            return b"", None
        # In our own lines: whatever the message says itself is anybody's.
        results = next(
            (each for each in fields(message.prefix) if each.name.lower() == b"authentication-results"), None
        )
        if results is None:
            return b"", None
        written = results.raw.partition(b":")[2].strip()
        return written, continued(block, results.value)

    # -- keys ------------------------------------------------------------------------------------------------------

    async def _keys(self, domain: str) -> tuple[str, list[SigningKey]]:
        """The domain that signs, and its keys by now; none where it cannot."""
        now = time.monotonic()
        known = self._known.get(domain)
        if known is None or known[0] <= now:
            known = (now + KNOWN_SECONDS, *await self._look_up(domain))
            self._known[domain] = known
            self._known.move_to_end(domain)
            if len(self._known) > _DOMAINS_KEPT:
                self._known.popitem(last=False)
        _, signs, found = known
        return signs, signing(found, datetime.now(UTC))

    async def _look_up(self, domain: str) -> tuple[str, tuple[SigningKey, ...]]:
        """Its own keys, those of the domain that it is an alias of, the default ones if it is a domain of ours."""
        try:
            addresses.ascii_domain(domain)
        except ValueError:
            return "", ()
        parent = domain.partition(".")[2] if domain == self._hostname else ""
        alias = await self._domains.alias_target(domain)
        wanted = [name for name in (domain, alias, parent if "." in parent else "", DEFAULT) if name]
        found = await self._records.find(wanted)
        for name in wanted:
            if name not in found or (name == DEFAULT and not await self._is_ours(domain, alias)):
                continue
            # DMARC looks for a signature of the domain in From itself, so an alias signs in its own name.
            return parent if name == parent and name != alias else domain, found[name].keys
        return "", ()

    async def _is_ours(self, domain: str, alias: str | None) -> bool:
        return domain == self._hostname or alias is not None or await self._domains.has_domain(domain)

    async def _sign(self, key: SigningKey) -> Callable[[bytes], bytes]:
        return partial(keys.sign, await self._open(key))

    async def _open(self, key: SigningKey) -> keys.PrivateKey:
        opened = self._opened.get(key.id)
        if opened is None:
            opened = keys.opened(self._sealer.unseal(key.sealed, seal_context(key.id)))
            self._opened[key.id] = opened
            if len(self._opened) > _KEYS_KEPT:
                self._opened.popitem(last=False)
        else:
            self._opened.move_to_end(key.id)
        return opened

    # -- the body --------------------------------------------------------------------------------------------------

    async def _hash(self, reader: "_Reader") -> bytes:
        hashed = field.BodyHash()
        async for piece in reader.body():
            if len(piece) <= _INLINE:
                hashed.feed(piece)
            else:
                await self._threads.run(hashed.feed, piece)
        return hashed.digest()


def _identity(domain: str, key: SigningKey) -> field.Identity:
    return field.Identity(addresses.ascii_domain(domain), key.selector, key.algorithm)


class _Reader:
    """The message as it goes over the wire, once: `header`, then `body`."""

    def __init__(self, letter: Letter) -> None:
        self._pieces = self._normalised(letter)
        self._rest = b""

    @staticmethod
    async def _normalised(letter: Letter) -> AsyncIterator[bytes]:
        ends = LineEnds()
        yield ends.feed(letter.prefix)
        async for piece in letter.content.read():
            yield ends.feed(piece)
        yield ends.finish()

    async def header(self) -> bytes | None:
        """Without the empty line; None when it is too long."""
        block = b"\r\n"  # an empty line at the very beginning ends the header too
        async for piece in self._pieces:
            start = max(0, len(block) - 3)
            block += piece
            end = block.find(b"\r\n\r\n", start)
            if end >= 0:
                self._rest = block[end + 4 :]
                return block[2 : end + 2]
            if len(block) > MAX_HEADER:
                return None
        return block[2:]

    async def body(self) -> AsyncIterator[bytes]:
        yield self._rest
        async for piece in self._pieces:
            yield piece
