"""FETCH data: what each item needs to be loaded, and how it is written."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from duckmail.mime.section import SectionPart
from duckmail.mime.structure import body
from duckmail.model.message import Needs, StoredMessage
from protocols.imap import sections
from protocols.imap.selected import Selected
from protocols.imap.wire.fetch import BinarySize, BodySection, FetchItem, Section, Simple
from protocols.imap.wire.parser import ParseError
from protocols.imap.wire.response import internal_date, quoted_or_literal
from protocols.imap.writer import Writer

SHORTENED_HERE = 32 * 1024  # octets of BODYSTRUCTURE made BODY on the loop: some 3 ms


@dataclass(frozen=True, slots=True)
class Row:
    """One message as it is about to be written. `position`: in the view, at this moment. `body`: b"" if not wanted."""

    selected: Selected
    position: int
    message: StoredMessage
    body: bytes

    @property
    def uid(self) -> int:
        return self.message.uid

    @property
    def modseq(self) -> int:
        return self.selected.view.modseqs[self.position]

    def flags(self) -> str:
        return self.selected.flag_names(self.message.uid, self.selected.view.flags[self.position])


def _flags(row: Row) -> bytes:
    return b"FLAGS (%b)" % row.flags().encode("ascii")


def _modseq(row: Row) -> bytes:
    return b"MODSEQ (%d)" % row.modseq  # RFC 7162 §3.1.4.2


def _uid(row: Row) -> bytes:
    return b"UID %d" % row.message.uid


def _internal_date(row: Row) -> bytes:
    if row.message.idate is None:
        raise AssertionError("INTERNALDATE was not loaded")
    return b"INTERNALDATE " + internal_date(row.message.idate)


def _size(row: Row) -> bytes:
    return b"RFC822.SIZE %d" % row.message.size


def _save_date(row: Row) -> bytes:
    # RFC 8514 §4.2: NIL where a message has none.
    return b"SAVEDATE " + (b"NIL" if row.message.savedate is None else internal_date(row.message.savedate))


def _email_id(row: Row) -> bytes:
    return b"EMAILID (%b)" % row.message.emailid.encode("ascii")  # RFC 8474 §5.1


def _thread_id(row: Row) -> bytes:
    # RFC 8474 §5.2; a message that nothing refers to is a thread of its own.
    return b"THREADID (%b)" % (row.message.thread or row.message.emailid).encode("ascii")


def _envelope(row: Row) -> bytes:
    return b"ENVELOPE " + row.message.envelope


def _body(row: Row) -> bytes:
    return b"BODY " + row.body


def _bodystructure(row: Row) -> bytes:
    return b"BODYSTRUCTURE " + row.message.bodystructure


def _preview(row: Row) -> bytes:
    # RFC 8970 §3.1: UTF-8, at most 200 characters, which `summary.INTRO` is below.
    return b"PREVIEW " + quoted_or_literal(row.message.intro.encode("utf-8"))


async def _short(bodystructure: bytes) -> bytes:
    """BODY of it. A message of 10,000 parts takes 80 ms (H7)."""
    if len(bodystructure) <= SHORTENED_HERE:
        return body(bodystructure)
    return await asyncio.to_thread(body, bodystructure)


# The same three for `Plan.lines`; of head, UID, flags and mod-sequence.
_TEMPLATES: Mapping[str, str] = {"FLAGS": "FLAGS ({2})", "UID": "UID {1}", "MODSEQ": "MODSEQ ({3})"}


@dataclass(frozen=True, slots=True)
class Item:
    needs: Needs
    render: Callable[[Row], bytes]


ITEMS: Mapping[str, Item] = {
    "FLAGS": Item(Needs.NOTHING, _flags),
    "UID": Item(Needs.NOTHING, _uid),
    "MODSEQ": Item(Needs.NOTHING, _modseq),
    "INTERNALDATE": Item(Needs.META, _internal_date),
    "RFC822.SIZE": Item(Needs.META, _size),
    "SAVEDATE": Item(Needs.META, _save_date),
    "EMAILID": Item(Needs.META, _email_id),
    "THREADID": Item(Needs.META, _thread_id),
    "ENVELOPE": Item(Needs.ENVELOPE, _envelope),
    "BODY": Item(Needs.BODYSTRUCTURE, _body),
    "PREVIEW": Item(Needs.PREVIEW, _preview),
    "BODYSTRUCTURE": Item(Needs.BODYSTRUCTURE, _bodystructure),
}
# RFC 3501 §6.4.5: the same as these sections, but for the name in the response.
RFC822: Mapping[str, BodySection] = {
    "RFC822": BodySection((), SectionPart.BODY),
    "RFC822.HEADER": BodySection((), SectionPart.HEADER, peek=True),
    "RFC822.TEXT": BodySection((), SectionPart.TEXT),
}


class Plan:
    """What one FETCH command writes for each message."""

    def __init__(self, items: Iterable[FetchItem], *, uid: bool, modseq: bool) -> None:
        """
        Args:
            uid: UID FETCH: the UID is given whether asked for or not (RFC 3501 §6.4.8).
            modseq: so is the mod-sequence (CHANGEDSINCE, RFC 7162 §3.1.4.1).

        Raises:
            ParseError: an item of an extension that is not supported.
        """
        names = ["UID"] if uid else []
        self.sections: list[tuple[bytes, Section]] = []
        for item in items:
            if not isinstance(item, Simple):
                self.sections.append((item.response_name(), item))
            elif item.name in RFC822:
                self.sections.append((item.response_name(), RFC822[item.name]))
            elif item.name in ITEMS:
                names.append(item.name)
            else:
                raise ParseError("Unknown FETCH item")
        # What is counted against the limit of a day: bodies, and what is in them; header fields and the like are free.
        self.fetches = any(
            not isinstance(section, BinarySize) and sections.needs(section) is Needs.CONTENT
            for _, section in self.sections
        )
        self.octets = 0  # of bodies, written so far
        if modseq:
            names.append("MODSEQ")
        self.names = frozenset(names)
        wanted = tuple(dict.fromkeys(names))
        self._render = [ITEMS[name].render for name in wanted]
        self.needs = Needs.NOTHING
        for name in self.names:
            self.needs |= ITEMS[name].needs
        for _, section in self.sections:
            self.needs |= sections.needs(section)
        in_view = self.needs is Needs.NOTHING and not self.sections
        self._template = f"* {{0}} ({' '.join(_TEMPLATES[name] for name in wanted)})\r\n" if in_view else ""

    @property
    def sets_seen(self) -> bool:
        """RFC 3501 §6.4.5: BODY[...] and BINARY[...] without PEEK, RFC822 and RFC822.TEXT set \\Seen."""
        return any(not section.peek for _, section in self.sections)

    @property
    def in_view(self) -> bool:
        """All that it writes is in the view: nothing has to be loaded."""
        return bool(self._template)

    def lines(self, selected: Selected, uids: Iterable[int], *, condstore: bool) -> list[str]:
        """Whole responses of a plan that is `in_view`, for ascending `uids`; those gone are left out.

        Clients ask for the flags of all messages each time they start: a loop that is worth its own way.
        """
        view, template = selected.view, self._template
        tells = "FLAGS" in self.names and (not condstore or "MODSEQ" in self.names)
        last = len(view.uids) - 1
        written: list[str] = []
        position = -1
        for uid in uids:
            if position < last and view.uids[position + 1] == uid:
                position += 1
            else:
                position = view.position(uid)
                if position < 0:
                    continue
            modseq = view.modseqs[position]
            names = selected.flag_names(uid, view.flags[position])
            written.append(template.format(selected.fetch_head(position, uid), uid, names, modseq))
            if tells:
                selected.told(uid, modseq)
        return written

    def line(self, row: Row, *, seen: bool, condstore: bool) -> bytes:
        """The response but for its sections and `)`.

        Args:
            seen: this command set \\Seen: the new flags belong to the answer (RFC 3501 §6.4.5), with the new
                mod-sequence once CONDSTORE is enabled (RFC 7162 §3.2).
        """
        parts = [render(row) for render in self._render]
        if seen and "FLAGS" not in self.names:
            parts.append(_flags(row))
        if seen and condstore and "MODSEQ" not in self.names:
            parts.append(_modseq(row))
        if (seen or "FLAGS" in self.names) and (not condstore or seen or "MODSEQ" in self.names):
            row.selected.told(row.uid, row.modseq)
        head = row.selected.fetch_head(row.position, row.uid).encode("ascii")
        return b"%b (%b" % (head, b" ".join(parts))

    async def write(
        self, writer: Writer, selected: Selected, message: StoredMessage, *, seen: bool, condstore: bool
    ) -> bool:
        """One whole FETCH response; False when the message has gone meanwhile.

        Raises:
            Unavailable: the content cannot be read; `writer.torn` says whether part of the response is out.
        """
        # Found before the first octet is written, so what fails here fails cleanly. It may wait: places in the view
        # are looked up afterwards, and not used behind another wait.
        found = [(name, await sections.find(message, section)) for name, section in self.sections]
        short = await _short(message.bodystructure) if "BODY" in self.names else b""
        position = selected.view.position(message.uid)
        if position < 0:
            return False
        writer.new_keywords(selected)
        line = self.line(Row(selected, position, message, short), seen=seen, condstore=condstore)
        if not found:
            writer.untagged(line + b")")
            return True
        writer.begin(b"* " + line)
        separator = b" " if self._render or seen else b""
        for name, octets in found:
            writer.write(separator + name + b" ")
            separator = b" "
            if octets is None:
                writer.write(b"NIL")  # RFC 3501 §7.4.2: nstring
            else:
                await octets.write(writer)
                self.octets += octets.size if self.fetches else 0
        writer.end(b")\r\n")
        return True
