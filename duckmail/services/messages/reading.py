"""Reading messages: pages of a mailbox, one message with its text, its octets, its attachments."""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from duckmail.errors import NoSuchMessage, NotFound, Unavailable
from duckmail.mime.address import addresses
from duckmail.mime.charsets import decoder
from duckmail.mime.display import Display, display
from duckmail.mime.header import Lookup, decode
from duckmail.mime.index import Index, Node
from duckmail.mime.message import Message
from duckmail.mime.parameters import media_type
from duckmail.mime.section import find_part
from duckmail.mime.summary import Attachment, attachments
from duckmail.mime.transfer import Decoder, decoded
from duckmail.model.account import Principal
from duckmail.model.listing import ListedMessage, MailboxQuery, MessagePage
from duckmail.model.mailbox import Mailbox
from duckmail.model.message import Details
from duckmail.runtime.threads import Pool
from duckmail.services.access import require_account
from duckmail.services.messages.access import owned_mailbox
from storage.contents.stored import StoredContent
from storage.contents.texts import load_source
from storage.documents import to_details
from storage.store import Store

AT_ONCE = 4  # messages whose text is in memory
_TLS = re.compile(rb"\busing (TLSv[0-9.]{1,5}) with cipher ([A-Za-z0-9_-]{1,64})")
_RESULT = re.compile(r"\b(spf|dkim)=([a-z]+)\b([^;]*)")
_DOMAIN = re.compile(r"\b(?:smtp\.mailfrom|header\.d|header\.i)=(?:[^\s;@]*@)?([A-Za-z0-9.-]{1,255})")
_URI = re.compile(r"<([^<>\s]{1,2048})>")


@dataclass(frozen=True, slots=True)
class AttachmentDetail:
    """`digest`: SHA-256 of the decoded octets, b"" when it is not known without reading them; `decoded`: how many."""

    attachment: Attachment
    digest: bytes
    decoded: int


@dataclass(frozen=True, slots=True)
class Verification:
    """What the relays in front of us said on arrival. `tls`: version and cipher; domains, "" for none that passed."""

    tls: tuple[str, str] | None
    spf: str
    dkim: str


@dataclass(frozen=True, slots=True)
class OpenMessage:
    """One message as a reader shows it.

    `sender`, `recipient`: of the envelope, "" when it was not delivered. `list_id`: (name, id).
    """

    listed: ListedMessage
    display: Display
    attachments: Sequence[AttachmentDetail]
    sender: str
    recipient: str
    list_id: tuple[str, str] | None
    unsubscribe: Sequence[str]
    verification: Verification | None
    details: Details


@dataclass(frozen=True, slots=True)
class Download:
    """Octets under way. `content_type`: as the message says, media type and charset."""

    content_type: str
    octets: AsyncIterator[bytes]


class Reading:
    def __init__(self, store: Store, threads: Pool) -> None:
        self._store = store
        self._threads = threads
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def page(
        self, user: str, mailbox: str, query: MailboxQuery, by: Principal, *, headers: bool = False
    ) -> tuple[Mailbox, MessagePage]:
        """Raises: NoSuchMailbox, NotPermitted, Unavailable."""
        found = await owned_mailbox(self._store, user, mailbox, by)
        documents, more = await self._store.listing.page(user, mailbox, query)
        listed = await self._store.listing.listed(documents, {mailbox: found.keywords}, headers=headers)
        back = query.after is None and query.before is not None
        page = MessagePage(
            listed,
            _total(found, query.unseen),
            has_previous=more if back else query.after is not None,
            has_next=back or more,
        )
        return found, page

    async def thread_sizes(self, user: str, threads: Sequence[str], by: Principal) -> dict[str, int]:
        """How many messages of the account each thread has. Raises: NotPermitted, Unavailable."""
        require_account(by, user)
        return await self._store.listing.thread_sizes(user, threads)

    async def open(self, user: str, mailbox: str, uid: int, by: Principal) -> OpenMessage:
        """Raises: NoSuchMailbox, NoSuchMessage, NotPermitted, Unavailable."""
        found = await owned_mailbox(self._store, user, mailbox, by)
        document = await self._store.listing.one(user, mailbox, uid)
        if document is None:
            raise NoSuchMessage
        content = await self._content(str(document["content"]))
        async with self._turns:
            source = await load_source(content)
            message = Message(source.octets)
            shown = await self._threads.run(display, message, source.index)
            files = await self._attachments(content, message, source.index)
        (listed,) = await self._store.listing.listed([document], {mailbox: found.keywords}, headers=True)
        return _opened(listed, document.get("prefix", b""), shown, files, to_details(document))

    async def _content(self, identifier: str) -> StoredContent:
        found = await self._store.contents.load([identifier])
        if identifier not in found:
            raise Unavailable(error="a content is missing", content=identifier)
        return found[identifier]

    async def _attachments(self, content: StoredContent, message: Message, index: Index) -> list[AttachmentDetail]:
        details = []
        for attachment in attachments(message, index):
            node = _node(index, attachment.path)
            known = content.part(node.body_start, node.body_end)
            if known is None:
                octets = b"".join([piece async for piece in content.read(node.body_start, node.body_end)])
                digest, size = await self._threads.run(_digest, octets, node.encoding)
            else:
                digest, size = known
            details.append(AttachmentDetail(attachment, digest, size))
        return details

    async def source(self, user: str, mailbox: str, uid: int, by: Principal) -> AsyncIterator[bytes]:
        """The exact octets. Raises: NoSuchMailbox, NoSuchMessage, NotPermitted, Unavailable."""
        prefix, content = await self._loaded(user, mailbox, uid, by)
        return _octets(prefix, content)

    async def attachment(
        self, user: str, mailbox: str, uid: int, number: int, by: Principal, *, as_text: bool = False
    ) -> Download:
        """The decoded octets of the attachment with this number, counted from 1. `as_text`: in UTF-8.

        Raises: NotFound (the attachment), NoSuchMailbox, NoSuchMessage, NotPermitted, Unavailable.
        """
        _, content = await self._loaded(user, mailbox, uid, by)
        async with self._turns:
            source = await load_source(content)
            message = Message(source.octets)
            listed = await self._threads.run(lambda: list(attachments(message, source.index)))
            if not 1 <= number <= len(listed):
                raise NotFound("This attachment does not exist")
            node = _node(source.index, listed[number - 1].path)
            declared = media_type(message.header(node).first(b"content-type") or b"").parameter("charset")
        charset = declared.text if declared else ""
        octets = _decoded(content, node)
        if as_text:
            return Download(f"{node.media_type}; charset=utf-8", _recoded(octets, charset))
        plain = charset.isascii() and charset.replace("-", "").replace("_", "").isalnum()
        return Download(f"{node.media_type}; charset={charset}" if plain else node.media_type, octets)

    async def _loaded(self, user: str, mailbox: str, uid: int, by: Principal) -> tuple[bytes, StoredContent]:
        await owned_mailbox(self._store, user, mailbox, by)
        document = await self._store.listing.one(user, mailbox, uid)
        if document is None:
            raise NoSuchMessage
        return document.get("prefix", b""), await self._content(str(document["content"]))


def _total(mailbox: Mailbox, unseen: bool | None) -> int:
    if unseen is None:
        return mailbox.messages
    return mailbox.unseen if unseen else mailbox.messages - mailbox.unseen


def _node(index: Index, path: str) -> Node:
    position = find_part(index, tuple(map(int, path.split("."))))
    if position is None:
        raise AssertionError("an attachment has a part number of its own index")
    return index.nodes[position]


def _digest(octets: bytes, encoding: str) -> tuple[bytes, int]:
    digest, size = hashlib.sha256(), 0
    for piece in decoded(octets, 0, len(octets), encoding):
        digest.update(piece)
        size += len(piece)
    return digest.digest(), size


async def _octets(prefix: bytes, content: StoredContent) -> AsyncIterator[bytes]:
    if prefix:
        yield prefix
    async for piece in content.read():
        yield piece


async def _decoded(content: StoredContent, node: Node) -> AsyncIterator[bytes]:
    undo = Decoder(node.encoding)
    async for piece in content.read(node.body_start, node.body_end):
        if octets := undo.feed(piece):
            yield octets
    if octets := undo.finish():
        yield octets


async def _recoded(octets: AsyncIterator[bytes], charset: str) -> AsyncIterator[bytes]:
    text = decoder(charset)
    async for piece in octets:
        yield text.decode(piece).encode("utf-8", "replace")
    yield text.decode(b"", True).encode("utf-8", "replace")


def _opened(
    listed: ListedMessage, prefix: bytes, shown: Display, files: Sequence[AttachmentDetail], details: Details
) -> OpenMessage:
    header = Lookup(listed.header)
    delivered = Lookup(prefix)
    named = next(iter(addresses(header.first(b"list-id") or b"")), None)
    list_id = None
    if named is not None and named.mailbox:
        list_id = (decode(named.name or b""), decode(b"@".join(filter(None, (named.mailbox, named.host)))))
    return OpenMessage(
        listed,
        shown,
        files,
        sender=decode((delivered.first(b"return-path") or b"").strip(b"<>")),
        recipient=decode(delivered.first(b"delivered-to") or b""),
        list_id=list_id,
        unsubscribe=_URI.findall(decode(header.first(b"list-unsubscribe") or b""))[:20],
        verification=_verification(prefix, listed.header[len(prefix) :]) if prefix else None,
        details=details,
    )


def _verification(prefix: bytes, header: bytes) -> Verification:
    """From what this server wrote ahead of the message, or else the relay that gave it to us on top: its own results;
    and from the relay's Received field. RFC 8601 §5: what is further below could be anybody's."""
    lookup = Lookup(header)
    received = header.lower().find(b"\nreceived:")
    received = 0 if header[:9].lower() == b"received:" else received
    tls = _TLS.search(lookup.first(b"received") or b"")
    passed: dict[str, str] = {}
    own = Lookup(prefix).all(b"authentication-results")
    for value in own or Lookup(header[: max(received, 0)] + b"\n").all(b"authentication-results"):
        for method, result, rest in _RESULT.findall(decode(value)):
            domain = _DOMAIN.search(rest)
            if result == "pass" and domain:
                passed.setdefault(method, domain[1].lower())
    return Verification(
        (tls[1].decode(), tls[2].decode()) if tls else None, passed.get("spf", ""), passed.get("dkim", "")
    )
