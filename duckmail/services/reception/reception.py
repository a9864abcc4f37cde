"""What the MX listener takes: `name` and `message` of a caller, `recipient` for each address, then `deliver` once."""

import asyncio
import logging
import secrets
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from duckmail.errors import DuckmailError, InvalidInput, NotFound, Unavailable
from duckmail.mime import received
from duckmail.mime.dsn import Action, Entry
from duckmail.mime.headerblock import block_of, header_of, message_id_of
from duckmail.model.address import split
from duckmail.model.envelope import Envelope, Recipient, Verdict
from duckmail.model.queue import NOTIFY_DEFAULT, Notify, OutboundEnvelope
from duckmail.runtime.log import event
from duckmail.runtime.threads import Pool
from duckmail.services.acceptance import LOOKUP_SECONDS
from duckmail.services.delivery import Delivery
from duckmail.services.deliverytrace import tell_refused
from duckmail.services.idempotence import identifies_itself, octets_digest
from duckmail.services.inspection import Inspected, Inspection
from duckmail.services.reception.blocklists import Blocklists
from duckmail.services.reception.caller import Caller
from duckmail.services.reception.cleaning import cleaned, readable
from duckmail.services.reception.errors import Deferred, Disowned, Greylisted, Listed, RelayDenied, SpamRefused
from duckmail.services.reception.gate import Gate
from duckmail.services.reception.greylist import Greylist
from duckmail.services.reception.notices import Concern, Notices
from duckmail.services.recipients import Resolver
from duckmail.services.refusals import Stage, tell_unread, told
from duckmail.services.tracing import Tracing

POSTMASTER = "postmaster"
HEADER_INLINE = 16 * 1024  # octets of a header that is looked through on the event loop; longer ones in a thread (H7)

_logger = logging.getLogger("duckmail.mx")


@dataclass(frozen=True, slots=True)
class Policy:
    """`hostname`: in Received. `server`: authserv-id. `postmaster`: whose mail that of every domain's postmaster is who
    has no address. `dmarc`: `honour`, `quarantine` or `label`. `sealers`: as `mailauth.verifier.Policy` has them."""

    hostname: str
    server: str
    postmaster: str
    dmarc: str = "honour"
    sealers: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Named:
    """A recipient that was accepted. `orcpt`: as received, or "" (RFC 3461 §4.2)."""

    recipient: Recipient
    orcpt: str = ""


@dataclass(frozen=True, slots=True)
class Parts:
    """What reception is made of."""

    delivery: Delivery
    resolver: Resolver
    inspection: Inspection
    gate: Gate
    greylist: Greylist
    blocklists: Blocklists
    notices: Notices
    threads: Pool
    tracing: Tracing | None = None  # told what is refused


class Reception:
    def __init__(self, parts: Parts, policy: Policy) -> None:
        self._parts = parts
        self._policy = policy

    async def name(self, caller: Caller, given: str) -> None:
        """What EHLO has said. Raises: BadName."""
        caller.helo = given
        with told(self._parts.tracing, Stage.NAME, _seen(caller)):
            await self._parts.gate.name(caller, given)

    async def message(self, caller: Caller, sender: str = "") -> None:
        """A message begins. Raises: TooFast."""
        with told(self._parts.tracing, Stage.SENDER, _seen(caller, sender)):
            await self._parts.gate.message(caller)

    def unread(self, caller: Caller, sender: str, recipients: Sequence[Recipient], text: str, size: int) -> None:
        """A message was thrown away, or not looked at; the client was told `text`."""
        tell_unread(self._parts.tracing, _seen(caller, sender, size), recipients, text)

    async def recipient(
        self, caller: Caller, sender: str, address: str, size: int = 0, notify: Notify = NOTIFY_DEFAULT
    ) -> Recipient:
        """Whether the message may come to this address.

        Raises:
            RelayDenied: its domain is none of ours.
            Listed: a block list has the client. Greylisted: it has to come again.
            NotFound, AccountDisabled, OverQuota, RateLimited, Unavailable: as `Delivery.recipient`.
        """
        with told(self._parts.tracing, Stage.RECIPIENT, _seen(caller, sender, size), address):
            return replace(await self._recipient(caller, sender, address, size), notify=notify)

    async def _recipient(self, caller: Caller, sender: str, address: str, size: int) -> Recipient:
        local, domain = split(address)
        ours = await self._is_ours(address, domain)
        if local.lower() == POSTMASTER and (ours or domain.lower() == self._policy.hostname.lower()):
            # RFC 5321 §4.5.1: mail for postmaster is taken from everybody, those who are refused otherwise not least.
            return await self._postmaster(address, size)
        if not ours:
            raise RelayDenied(recipient=address)
        listing = await self._parts.blocklists.listing(caller)
        if listing.refused_by:
            raise Listed(f"{caller.address} is listed by {listing.refused_by}")
        found = await self._parts.delivery.recipient(address, size)
        try:
            await self._parts.greylist.require_known(caller, sender, address)
        except Greylisted as error:
            error.fields["account"] = found.owner
            raise
        return found

    async def _is_ours(self, address: str, domain: str) -> bool:
        """Raises: Unavailable."""
        try:
            async with asyncio.timeout(LOOKUP_SECONDS):
                return await self._parts.resolver.is_local(domain)
        except TimeoutError:
            raise Unavailable(address=address, reason="look-up timed out") from None

    async def _postmaster(self, address: str, size: int) -> Recipient:
        """The domain's own, else the server's."""
        delivery = self._parts.delivery
        for each in dict.fromkeys((address, self._policy.postmaster)):
            try:
                return replace(await delivery.recipient(each, size), address=address)
            except NotFound:
                continue
        event(_logger, logging.WARNING, "nobody is postmaster", recipient=address, wanted=self._policy.postmaster)
        raise Unavailable("There is no postmaster yet", recipient=address)

    async def deliver(
        self, caller: Caller, envelope: Envelope, back: OutboundEnvelope, named: Sequence[Named], raw: bytes | bytearray
    ) -> list[str]:
        """Takes the message for all that were named, or refuses it; the ids it is stored under.

        Args:
            back: what a report to the sender needs to know.
            raw: with CRLF line ends; is used up.

        Raises:
            InvalidInput, Disowned, SpamRefused, Deferred: nobody has it.
            DuckmailError: temporary: somebody does not have it; who does gets it once, if it comes again. Else nobody
                has it, or some do and the sender cannot be told of the others but by this.
        """
        key = await self._key(raw)
        recipients = [each.recipient for each in named]
        try:
            inspected = await self._inspect(caller, envelope, recipients, raw)
        except DuckmailError as error:
            if self._parts.tracing is not None:
                tell_refused(self._parts.tracing, message_id_of(raw), envelope, recipients, error, size=len(raw))
            raise
        line, server = self._received(envelope, recipients), self._policy.server
        if len(block_of(raw)) <= HEADER_INLINE:
            raw = cleaned(raw, line, server)
        else:
            raw = await self._parts.threads.run(cleaned, raw, line, server)
        verdicts = await self._parts.delivery.deliver(replace(envelope, key=key), raw, recipients, inspected)
        checked = inspected.checked
        proven = checked is not None and checked.found.proves(envelope.sender)
        errors = [verdict.error for verdict in verdicts if verdict.error is not None]
        if errors and (not proven or len(errors) == len(verdicts) or any(error.temporary for error in errors)):
            raise next((error for error in errors if error.temporary), errors[0])
        if proven:
            concern = Concern(replace(back, sender=envelope.sender), raw, key or secrets.token_bytes(16))
            await self._tell(concern, named, verdicts)
        return [verdict.appended.id for verdict in verdicts if verdict.appended is not None]

    async def _key(self, raw: bytes | bytearray) -> bytes:
        """Names the message, if equal octets are the same: of what came, before anything is added."""
        if not identifies_itself(header_of(raw)):
            return b""
        return await octets_digest(raw, self._parts.threads)

    async def _inspect(
        self, caller: Caller, envelope: Envelope, recipients: Sequence[Recipient], raw: bytes | bytearray
    ) -> Inspected:
        """Raises: InvalidInput, Disowned, SpamRefused, Deferred."""
        if not readable(raw):
            raise InvalidInput("The header section is too long, or has lines without CRLF")
        addresses = [each.address for each in recipients]
        found = await self._parts.inspection.inspect(envelope, addresses, raw, block_of(raw))
        policy, checked = self._policy, found.checked
        if checked is not None:
            if policy.dmarc == "honour" and checked.found.disowned(policy.sealers) == "reject":
                raise Disowned
            checked = replace(checked, policy=replace(checked.policy, junk=policy.dmarc != "label"))
        if found.judgement.refuse:
            raise SpamRefused
        if found.judgement.defer:
            raise Deferred
        return replace(found, checked=checked, listed=caller.listing.score if caller.listing is not None else 0)

    def _received(self, envelope: Envelope, recipients: Sequence[Recipient]) -> bytes:
        client = received.client(envelope.helo, envelope.host)
        # RFC 5321 §7.2: more of them would tell each of the others.
        only = recipients[0].address if len(recipients) == 1 else ""
        return received.received(
            client=client,
            hostname=self._policy.hostname,
            protocol=envelope.protocol,
            identifier=uuid.uuid4().hex,
            now=datetime.now(UTC),
            only=only,
        )

    async def _tell(self, concern: Concern, named: Sequence[Named], verdicts: Sequence[Verdict]) -> None:
        """Raises: Unavailable, CommitUnknown."""
        failed, taken = [], []
        for each, verdict in zip(named, verdicts, strict=True):
            notify, address = each.recipient.notify, each.recipient.address
            if verdict.error is not None:
                if Notify.FAILURE in notify:
                    failed.append(Entry(address, Action.FAILED, "5.0.0", verdict.error.text, each.orcpt))
                event(_logger, logging.INFO, "failed behind the answer", recipient=address, reason=verdict.error.text)
            elif Notify.SUCCESS in notify and each.recipient.targets:
                # RFC 3461 §5.2.7.3: it goes on, and what becomes of it there is not told.
                taken.append(Entry(address, Action.RELAYED, "2.0.0", "Passed on", each.orcpt))
            elif Notify.SUCCESS in notify:
                taken.append(Entry(address, Action.DELIVERED, "2.0.0", "Delivered", each.orcpt))
        for action, entries in ((Action.FAILED, failed), (Action.DELIVERED, taken)):
            if entries:
                await self._parts.notices.tell(concern, action, entries)


def _seen(caller: Caller, sender: str = "", size: int = 0) -> Envelope:
    """What is known of a message that is not there yet. `size`: octets as declared."""
    return Envelope(
        sender,
        "SMTP",
        host=caller.address,
        helo=caller.helo,
        size=size,
        connection=caller.connection,
        direct=True,
    )
