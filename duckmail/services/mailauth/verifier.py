"""Everything together: what is known of a message's sender, within a stated time."""

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from duckmail.errors import DuckmailError, Unavailable
from duckmail.mime import arcverify, dkimverify, outgoing
from duckmail.mime.dkimverify import Key, Received, Signature, Unverified
from duckmail.mime.header import Lookup
from duckmail.model.address import ascii_domain, split
from duckmail.model.envelope import Envelope
from duckmail.model.mailauth import ArcResult, Authentication, DkimResult, DmarcResult, IprevResult, SpfResult
from duckmail.model.spam import Spam
from duckmail.runtime.log import event
from duckmail.runtime.threads import Pool
from duckmail.services.mailauth import dmarc, iprev, spf
from duckmail.services.mailauth.client import Client, client, relayed_spf
from duckmail.services.mailauth.header import authentication_results, received_spf
from duckmail.services.mailauth.lookups import Lookups, Resolver

DNS_SHARE = 0.8  # of the time: what is left is for hashing, and for the records that are there to be of use

_logger = logging.getLogger("duckmail.mailauth")


@dataclass(frozen=True, slots=True)
class Policy:
    """`server`: authserv-id. `seconds`: for one message. `junk`: what fails DMARC under a policy counts as spam, but
    for chains of these `sealers`."""

    server: str
    seconds: float
    junk: bool = True
    sealers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Checked:
    """`lines`: header lines, to be put above the message."""

    found: Authentication
    lines: bytes
    policy: Policy

    def judged(self, spam: Spam) -> Spam:
        return self.found.judged(spam, self.policy.sealers) if self.policy.junk else spam


class Verifier:
    """`threads`: where hashes and signatures are computed."""

    def __init__(self, resolver: Resolver, threads: Pool, policy: Policy) -> None:
        self._resolver = resolver
        self._threads = threads
        self._policy = policy

    async def check(self, envelope: Envelope, raw: bytes | bytearray, block: bytes) -> Checked:
        """`block`: the header section of `raw`. It takes no longer than the policy has it; it does not fail."""
        policy = self._policy
        try:
            async with asyncio.timeout(policy.seconds):
                found = await self._check(envelope, raw, block)
        except (TimeoutError, DuckmailError) as error:
            kind = type(error).__name__
            event(_logger, logging.WARNING, "not checked", connection=envelope.connection, kind=kind)
            found = _unknown()
        except Exception:
            # A stranger's message must not be lost by a fault in here.
            event(_logger, logging.ERROR, "not checked", exc_info=True, connection=envelope.connection)
            found = _unknown()
        lines = authentication_results(policy.server, found)
        if found.spf is not None and found.spf.address:
            lines += received_spf(policy.server, found.spf)
        return Checked(found, lines, policy)

    async def _check(self, envelope: Envelope, raw: bytes | bytearray, block: bytes) -> Authentication:
        lookups = Lookups(self._resolver, self._policy.seconds * DNS_SHARE)
        header = Lookup(block)
        sender = client(envelope, header)
        received = await self._threads.run(Received, block, partial(dkimverify.pieces, raw, len(block) + 4))
        (dkim, arc), sent, reverse = await asyncio.gather(
            self._signatures(received, lookups),
            _spf(lookups, self._threads, envelope, sender, block),
            _iprev(lookups, sender),
        )
        judged = None
        if not sender.signed_in:
            judged = await _dmarc(lookups, header, dkim, sent, unknown=sent is None)
        return Authentication(tuple(dkim), sent, judged, arc, reverse)

    # -- signatures ------------------------------------------------------------------------------------------------

    async def _signatures(self, received: Received, lookups: Lookups) -> tuple[list[DkimResult], ArcResult | None]:
        now = time.time()
        read: list[Signature | DkimResult] = []
        for field in received.by_name.get(b"dkim-signature", [])[: dkimverify.MAX_SIGNATURES]:
            try:
                read.append(dkimverify.read_signature(field, now))
            except Unverified as error:
                read.append(DkimResult(error.result, error.reason))
        signatures = [each for each in read if isinstance(each, Signature)]
        sets, newest, broken = _chain(received, now)
        if not read and not sets:
            return [], broken
        seals = [each.signature for each in sets]
        wanted = [*signatures, *seals, *([newest] if newest is not None else [])]
        keys = await _keys(lookups, wanted)
        work = partial(_verified, received, read, sets, newest, keys)
        dkim, arc = await self._threads.run(work)
        return dkim, broken or arc


def _chain(received: Received, now: float) -> tuple[list[arcverify.Set], Signature | None, ArcResult | None]:
    """The sets, the newest signature; or the result, where nothing is left to verify."""
    try:
        sets = arcverify.read_sets(received, now)
        return sets, arcverify.message_signature(sets, now) if sets else None, None
    except Unverified:
        return [], None, ArcResult("fail")


_Keys = dict[tuple[str, str], Sequence[str] | None]


async def _keys(lookups: Lookups, signatures: Sequence[Signature]) -> _Keys:
    """The TXT records of the keys, by domain and selector; None: no clear answer."""
    wanted = list(dict.fromkeys((each.domain, each.selector) for each in signatures))

    async def one(domain: str, selector: str) -> Sequence[str] | None:
        try:
            return await lookups.texts(f"{selector}._domainkey.{ascii_domain(domain)}")
        except Unavailable:
            return None
        except ValueError:
            return ()

    return dict(zip(wanted, await asyncio.gather(*(one(*each) for each in wanted)), strict=True))


def _key(keys: _Keys, signature: Signature) -> Key:
    records = keys[signature.domain, signature.selector]
    if records is None:
        raise Unverified("temperror", "no answer for the key")
    return dkimverify.read_key(records, signature.algorithm)


def _verified(
    received: Received,
    read: Sequence[Signature | DkimResult],
    sets: list[arcverify.Set],
    newest: Signature | None,
    keys: _Keys,
) -> tuple[list[DkimResult], ArcResult | None]:
    """In a thread: the body once for all of them."""
    signatures = [each for each in read if isinstance(each, Signature)]
    bodies = received.hashes([*signatures, *([newest] if newest is not None else [])])
    dkim: list[DkimResult] = []
    for each in read:
        if isinstance(each, DkimResult):
            dkim.append(each)
            continue
        result, reason = "pass", ""
        try:
            dkimverify.verify(received, each, _key(keys, each), bodies[each.simple_body, each.length])
        except Unverified as error:
            result, reason = error.result, error.reason
        start = "".join(each.tags["b"].split())[:8]
        dkim.append(DkimResult(result, reason, each.domain, each.selector, each.tags["a"], start))
    if newest is None:
        return dkim, None
    sealers = tuple(each.signature.domain for each in sets)
    body = bodies[newest.simple_body, newest.length]
    try:
        arcverify.check_chain(received, sets, newest, body, partial(_key, keys))
    except Unverified as error:
        return dkim, ArcResult("temperror" if error.result == "temperror" else "fail", sealers)
    return dkim, ArcResult("pass", sealers)


# -- the others --------------------------------------------------------------------------------------------------------


async def _spf(lookups: Lookups, threads: Pool, envelope: Envelope, sender: Client, block: bytes) -> SpfResult | None:
    if sender.signed_in:
        return None
    if sender.address:
        return await spf.check(lookups, threads, sender.address, sender.helo, envelope.sender)
    return None if sender.known else relayed_spf(envelope, block)


async def _iprev(lookups: Lookups, sender: Client) -> IprevResult | None:
    return await iprev.check(lookups, sender.address) if sender.address and not sender.signed_in else None


async def _dmarc(
    lookups: Lookups, header: Lookup, dkim: Sequence[DkimResult], sent: SpfResult | None, *, unknown: bool
) -> DmarcResult | None:
    """RFC 9989 §5: of the one author domain; a From that can be read in two ways has none."""
    bodies = header.all(b"from")
    try:
        found = {ascii_domain(split(address)[1]).lower() for address in outgoing.mailboxes(bodies[0])}
    except (IndexError, ValueError, outgoing.Malformed):
        return DmarcResult("permerror")
    if len(bodies) != 1 or len(found) != 1:
        return DmarcResult("permerror")
    return await dmarc.check(lookups, found.pop(), dkim, sent, spf_unknown=unknown)


def _unknown() -> Authentication:
    """Where time has run out, or something is wrong here."""
    return Authentication(dkim=(DkimResult("temperror"),), dmarc=DmarcResult("temperror"))
