"""Makes the octets of a message that an account writes by the API.

The account names itself in From: as its own address or one that it may use, else its main address stands there. Nothing
of what it gives gets out of the field or part it belongs into (`mime.fields`, `mime.compose`).
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime

from duckmail.errors import InvalidInput, TooLarge
from duckmail.mime import fields
from duckmail.mime.address import addresses as address_list
from duckmail.mime.compose import Letter, Part, build
from duckmail.mime.header import decode
from duckmail.mime.outgoing import Malformed
from duckmail.mime.written import octets_of
from duckmail.model import address as addresses
from duckmail.model.account import User
from duckmail.model.composition import Action, Composition, NewAttachment, Person
from duckmail.model.message import Details
from duckmail.model.userfile import UserFile
from duckmail.runtime.threads import Pool
from duckmail.services.files import UserFiles
from duckmail.services.messages.quoting import Original, Originals, subject_of
from duckmail.services.senders import Senders

# What is made here, or says what only a server says; a field of the caller's with such a name is left out.
_OURS = frozenset(
    {
        "from", "to", "cc", "bcc", "subject", "mime-version", "received", "return-path", "delivered-to",
        "authentication-results", "dkim-signature", "resent-bcc",
    }
)  # fmt: skip
_ADDRESSES = frozenset({"sender", "reply-to", "disposition-notification-to", "errors-to", "mail-followup-to"})
_IDENTIFIERS = frozenset({"message-id", "in-reply-to", "references"})


@dataclass(frozen=True, slots=True)
class Composed:
    """`sender`: the address in From. `recipients`: of To, Cc and Bcc, each once. `details`: what is kept beside it."""

    raw: bytearray = field(repr=False)
    sender: str
    recipients: Sequence[str]
    details: Details


@dataclass(frozen=True, slots=True)
class _People:
    to: Sequence[Person]
    cc: Sequence[Person]
    bcc: Sequence[Person]


class Composer:
    """`hostname`: in Message-IDs. `largest`: octets of a message."""

    def __init__(  # noqa: PLR0917 -- parts that exist once
        self, originals: Originals, files: UserFiles, senders: Senders, threads: Pool, hostname: str, largest: int
    ) -> None:
        self._originals = originals
        self._files = files
        self._senders = senders
        self._threads = threads
        self._hostname = hostname
        self._largest = largest

    async def compose(self, account: User, wanted: Composition, moment: datetime | None = None) -> Composed:
        """`moment`: in the Date field, now when None. For callers that know whose account it is.

        Raises: InvalidInput, TooLarge, Unavailable.
        """
        reference, original = wanted.reference, None
        if reference is not None:
            original = await self._originals.load(account.id, reference, self._largest)
        files = await self._files.load(account.id, wanted.files, self._largest)
        sender = await self._sender(account, wanted.sender)
        people = await self._people(account, wanted, original)
        details = Details(
            reference=(reference.action.value, reference.mailbox, reference.uid) if reference and original else None,
            files=tuple((file.id, file.filename, file.content_type, file.size) for file, _ in files),
        )
        try:
            header = self._header(wanted, original, sender, people, moment or datetime.now(UTC))
            parts = [*(original.parts if original else ()), *(_file(*each) for each in files)]
            raw = await self._threads.run(_built, header, wanted, parts, self._largest)
        except Malformed as error:
            raise InvalidInput(str(error)) from None
        except ValueError:
            raise InvalidInput("An attachment is not encoded as it says") from None
        everybody = [address for _, address in (*people.to, *people.cc, *people.bcc)]
        return Composed(raw, sender[1], unique(everybody), details)

    async def _sender(self, account: User, wanted: Person | None) -> Person:
        own = account.address or f"{account.username.partition('@')[0]}@{self._hostname}"
        if wanted is None:
            return account.name, wire_address(own)
        if not await self._senders.allows(account, wanted[1]):
            return wanted[0], wire_address(own)
        return wanted[0], wire_address(wanted[1])

    async def _people(self, account: User, wanted: Composition, original: Original | None) -> _People:
        given = _People(*(_on_wire(people) for people in (wanted.to, wanted.cc, wanted.bcc)))
        if given.to or given.cc or given.bcc or original is None or wanted.reference is None:
            return given
        if wanted.reference.action is Action.FORWARD:
            return given
        own = addresses.view(account.address)
        # An answer to what the account has written itself goes to whom it wrote.
        mine = any(addresses.view(address) == own for _, address in original.author)
        to, cc = list(original.to if mine else original.sender), []
        if wanted.reference.action is Action.REPLY_ALL:
            if not mine:
                to += [each for each in original.to if addresses.view(each[1]) != own]
            cc = [each for each in original.cc if addresses.view(each[1]) != own]
        return _People(_usable(to), _usable(cc), ())

    def _header(
        self, wanted: Composition, original: Original | None, sender: Person, people: _People, moment: datetime
    ) -> list[bytes]:
        """Raises: Malformed."""
        given = {name.lower() for name, _ in wanted.headers}
        lines = [fields.addresses("From", [sender])]
        lines += [
            fields.addresses(name, who)
            for name, who in (("To", people.to), ("Cc", people.cc), ("Bcc", people.bcc))
            if who
        ]
        if wanted.reply_to is not None:
            lines.append(fields.addresses("Reply-To", _on_wire([wanted.reply_to])))
        subject = wanted.subject
        if subject is None and original is not None and wanted.reference is not None:
            subject = subject_of(original, wanted.reference.action)
        if subject:
            lines.append(fields.unstructured("Subject", subject))
        if "date" not in given:
            lines.append(fields.folded("Date", [format_datetime(moment)]))
        if "message-id" not in given:
            lines.append(fields.folded("Message-ID", [f"<{uuid.uuid4()}@{self._hostname}>"]))
        if original is not None and wanted.reference is not None:
            lines += _referring(original, wanted.reference.action)
        hidden = {"in-reply-to", "references"} if original is not None else set()
        if wanted.reply_to is not None:
            hidden.add("reply-to")
        lines += [_own(name, text) for name, text in wanted.headers if name.lower() not in hidden and _is_free(name)]
        return lines


def _referring(original: Original, action: Action) -> list[bytes]:
    lines = []
    if original.answered_id and action is not Action.FORWARD:
        lines.append(fields.folded("In-Reply-To", [original.answered_id]))
    if thread := original.thread():
        lines.append(fields.folded("References", thread))
    return lines


def _is_free(name: str) -> bool:
    """Whether a field of the caller's may have this name."""
    lowered = name.lower()
    return fields.is_name(name) and lowered not in _OURS and not lowered.startswith("content-")


def _own(name: str, text: str) -> bytes:
    """A field of the caller's. Raises: Malformed."""
    lowered = name.lower()
    if lowered in _ADDRESSES:
        entries = address_list(fields.clean(text).encode("utf-8", "replace"))
        people = [
            (decode(each.name or b""), decode(b"@".join((each.mailbox or b"", each.host))))
            for each in entries
            if each.host
        ]
        return fields.addresses(name, _on_wire(people)) if people else b""
    if lowered in _IDENTIFIERS or lowered == "date":
        words = fields.clean(text).split()
        if not text.isascii() or any(len(word) > fields.MAX_TOKEN for word in words):
            raise Malformed(f"{name} is not well formed")
        return fields.folded(name, words) if words else b""
    return fields.unstructured(name, text)


def _built(header: Sequence[bytes], wanted: Composition, parts: Sequence[Part], largest: int) -> bytearray:
    """CPU. Raises: ValueError: an attachment is not as its encoding says; TooLarge."""
    attached = [*parts, *(_attachment(each) for each in wanted.attachments)]
    # In base64 four octets stand for three.
    if sum(len(part.content) for part in attached) * 4 // 3 > largest:
        raise TooLarge
    raw = build(Letter(header, wanted.text, wanted.html, attached))
    if len(raw) > largest:
        raise TooLarge
    return raw


def _attachment(new: NewAttachment) -> Part:
    return Part(
        octets_of(new.content, new.encoding), new.content_type, new.filename, new.cid, new.inline, new.transfer_encoding
    )


def _file(file: UserFile, octets: bytes) -> Part:
    return Part(octets, file.content_type, file.filename, file.cid, inline=bool(file.cid))


def wire_address(address: str) -> str:
    """With its domain in ASCII where that spares the message SMTPUTF8 (RFC 6531)."""
    local, _, domain = address.rpartition("@")
    if not local.isascii() or domain.isascii():
        return address
    try:
        return f"{local}@{addresses.ascii_domain(domain)}"
    except ValueError:
        return address


def _on_wire(people: Iterable[Person]) -> list[Person]:
    return [(name, wire_address(address)) for name, address in people]


def _usable(people: Iterable[Person]) -> list[Person]:
    """Those of a stored message that can be written to, each once."""
    found: dict[str, Person] = {}
    for name, address in people:
        try:
            fields.addresses("To", [(name, address)])
        except Malformed:
            continue
        found.setdefault(addresses.normalise(address), (name, wire_address(address)))
    return list(found.values())


def unique(everybody: Iterable[str]) -> list[str]:
    """Each address once, as it was named first."""
    found: dict[str, str] = {}
    for address in everybody:
        found.setdefault(addresses.normalise(address), address)
    return list(found.values())
