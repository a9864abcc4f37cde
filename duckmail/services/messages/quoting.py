"""What a new message takes over from the one that it answers or forwards."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from duckmail.errors import NotFound, TooLarge, Unavailable
from duckmail.mime.compose import Part
from duckmail.mime.message import Message
from duckmail.mime.section import find_part
from duckmail.mime.summary import attachments
from duckmail.mime.transfer import Decoder
from duckmail.model.composition import Action, Person, Reference
from duckmail.runtime.threads import Pool
from storage.contents.stored import StoredContent
from storage.contents.texts import load_source
from storage.mongo.client import Document
from storage.store import Store

MOST_REFERENCES = 50

# RFC 5322 §3.6.4: msg-id; what has more in it is no id that goes into a header.
_MESSAGE_ID = re.compile("<[!-;=?-~]{1,250}>")
_REPLY = re.compile(r"re(?:\[[0-9]+\])?:", re.I)
_FORWARD = re.compile(r"(?:fwd?|wg):", re.I)


@dataclass(frozen=True, slots=True)
class Original:
    """`sender`: who is answered. `own`: it was written by the account itself. `parts`: that go along."""

    message_id: str
    references: Sequence[str]
    subject: str
    sender: Sequence[Person]
    author: Sequence[Person]
    to: Sequence[Person]
    cc: Sequence[Person]
    parts: Sequence[Part]

    def thread(self) -> list[str]:
        """The References of an answer (RFC 5322 §3.6.4): those of the original, then its own id; the last ones."""
        known = [each for each in (*self.references, self.message_id) if _MESSAGE_ID.fullmatch(each)]
        return list(dict.fromkeys(known))[-MOST_REFERENCES:]

    @property
    def answered_id(self) -> str:
        return self.message_id if _MESSAGE_ID.fullmatch(self.message_id) else ""


def subject_of(original: Original, action: Action) -> str:
    """RFC 5322 §3.6.5: `Re: ` is put before it once."""
    subject = original.subject
    if action is Action.FORWARD:
        return subject if _FORWARD.match(subject) else f"Fwd: {subject}"
    return subject if _REPLY.match(subject) else f"Re: {subject}"


class Originals:
    def __init__(self, store: Store, threads: Pool) -> None:
        self._store = store
        self._threads = threads

    async def load(self, user: str, wanted: Reference, most: int) -> Original | None:
        """None: there is no such message. `most`: octets of attachments. For callers that know whose account it is.

        Raises: TooLarge, Unavailable.
        """
        try:
            document = await self._store.listing.one(user, wanted.mailbox, wanted.uid)
        except NotFound:
            return None
        if document is None:
            return None
        parts = await self._parts(str(document["content"]), wanted.attachments, most) if wanted.attachments else []
        return _original(document, parts)

    async def _parts(self, identifier: str, wanted: bool | tuple[int, ...], most: int) -> list[Part]:
        found = await self._store.contents.load([identifier])
        if identifier not in found:
            raise Unavailable(error="a content is missing", content=identifier)
        content = found[identifier]
        source = await load_source(content)
        message = Message(source.octets)
        listed = await self._threads.run(lambda: list(attachments(message, source.index)))
        parts: list[Part] = []
        for number, each in enumerate(listed, 1):
            # What is shown inside the text belongs to that text.
            if each.related if wanted is True else number not in wanted:  # type: ignore[operator]
                continue
            octets = await _decoded(content, each.path, most)
            most -= len(octets)
            parts.append(Part(octets, each.content_type, each.filename, each.cid, inline=each.related))
        return parts


async def _decoded(content: StoredContent, path: str, most: int) -> bytes:
    """Raises: TooLarge, Unavailable."""
    position = find_part(content.index, tuple(map(int, path.split("."))))
    if position is None:
        raise AssertionError("an attachment has a part number of its own index")
    node = content.index.nodes[position]
    undo = Decoder(node.encoding)
    octets = bytearray()
    async for piece in content.read(node.body_start, node.body_end):
        octets += undo.feed(piece)
        if len(octets) > most:
            raise TooLarge
    octets += undo.finish()
    return bytes(octets)


def _original(document: Document, parts: Sequence[Part]) -> Original:
    author = _people(document, "from")
    return Original(
        message_id=document["msgid"],
        references=document.get("refs", ()),
        subject=document["subject"],
        sender=_people(document, "replyto") or author,
        author=author,
        to=_people(document, "to"),
        cc=_people(document, "cc"),
        parts=parts,
    )


def _people(document: Document, name: str) -> list[Person]:
    return [(display, address) for display, address in document.get(name, ())]
