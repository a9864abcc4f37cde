"""FETCH items and modifiers (RFC 3501 §6.4.5, RFC 7162 §3.1.4): the grammar, and the names answers carry."""

import re
from dataclasses import dataclass

from duckmail.mime.section import SectionPart
from protocols.imap.wire.parser import ParseError, Parser
from protocols.imap.wire.partial import Page, page
from protocols.imap.wire.response import astring

MAX_ITEMS = 256
"""Different items of one FETCH; clients ask for about ten."""

ATTRIBUTES = frozenset(
    (
        *("FLAGS", "UID", "INTERNALDATE", "ENVELOPE", "BODY", "BODYSTRUCTURE", "MODSEQ"),
        *("RFC822", "RFC822.HEADER", "RFC822.SIZE", "RFC822.TEXT"),
        "PREVIEW",  # RFC 8970
        *("EMAILID", "THREADID", "SAVEDATE"),  # RFC 8474 §5, RFC 8514 §4.2
    )
)
# RFC 3501 §6.4.5: a macro stands alone, not in a list.
MACROS = {
    "ALL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"),
    "FAST": ("FLAGS", "INTERNALDATE", "RFC822.SIZE"),
    "FULL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"),
}

_NAME = re.compile(rb"[A-Za-z0-9.]++")
_SECTION_PATH = re.compile(rb"[1-9][0-9]{0,9}+(?:\.[1-9][0-9]{0,9}+)*+")
_LAZY = re.compile(rb" \(LAZY\)", re.IGNORECASE)
_SECTION_TEXT = re.compile(rb"[A-Za-z.]++")
_TEXTS = {
    "HEADER": SectionPart.HEADER,
    "HEADER.FIELDS": SectionPart.HEADER,
    "HEADER.FIELDS.NOT": SectionPart.HEADER,
    "TEXT": SectionPart.TEXT,
    "MIME": SectionPart.MIME,
}


@dataclass(frozen=True, slots=True)
class Simple:
    """An item that is a name alone, upper case, one of ATTRIBUTES."""

    name: str

    def response_name(self) -> bytes:
        return self.name.encode("ascii")


@dataclass(frozen=True, slots=True)
class BodySection:
    """`BODY[...]` or `BODY.PEEK[...]`.

    `path`: the part numbers, () for the message itself.
    `part`: BODY is the part's content, all of the message when `path` is ().
    `fields`: names of HEADER.FIELDS, or of HEADER.FIELDS.NOT when `invert`, as the client wrote them; () for neither.
    `partial`: (first octet, count), count at least 1.
    """

    path: tuple[int, ...]
    part: SectionPart
    fields: tuple[bytes, ...] = ()
    invert: bool = False
    partial: tuple[int, int] | None = None
    peek: bool = False

    def response_name(self) -> bytes:
        """`BODY[1.HEADER.FIELDS (FROM)]<0>` (RFC 3501 §7.4.2): the section asked for, and the origin octet."""
        words = [b"%d" % number for number in self.path]
        if self.part is not SectionPart.BODY:
            words.append(self.part.name.encode("ascii"))
        section = b".".join(words)
        if self.fields:
            names = b" ".join(astring(name) for name in self.fields)
            section += (b".FIELDS.NOT (" if self.invert else b".FIELDS (") + names + b")"
        origin = b"" if self.partial is None else b"<%d>" % self.partial[0]
        return b"BODY[" + section + b"]" + origin


@dataclass(frozen=True, slots=True)
class BinarySection:
    """`BINARY[...]` or `BINARY.PEEK[...]` (RFC 3516 §4.2). `path`, `partial`: as of `BodySection`, but the octets are
    those without a transfer encoding."""

    path: tuple[int, ...]
    partial: tuple[int, int] | None = None
    peek: bool = False

    def response_name(self) -> bytes:
        origin = b"" if self.partial is None else b"<%d>" % self.partial[0]
        return b"BINARY[%b]%b" % (b".".join(b"%d" % number for number in self.path), origin)


@dataclass(frozen=True, slots=True)
class BinarySize:
    """`BINARY.SIZE[...]`."""

    path: tuple[int, ...]
    peek: bool = True

    def response_name(self) -> bytes:
        return b"BINARY.SIZE[%b]" % b".".join(b"%d" % number for number in self.path)


Section = BodySection | BinarySection | BinarySize
FetchItem = Simple | Section


def fetch_items(p: Parser) -> tuple[FetchItem, ...]:
    """Macro, item, or list of items, behind the set and its SP; macros expanded, each item once, in order."""
    # fetch = "FETCH" SP sequence-set SP ("ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")")
    if p.peek() == 0x28:
        items = tuple(dict.fromkeys(p.list_of(lambda: _item(p, _name(p)))))
        if len(items) > MAX_ITEMS:
            raise ParseError("Too many FETCH items")
        return items
    name = _name(p)
    if name in MACROS:
        return tuple(Simple(attribute) for attribute in MACROS[name])
    return (_item(p, name),)


def fetch_modifiers(p: Parser) -> dict[str, int | Page | None]:
    """The modifiers behind the items, to the end of the command, by name; {} without any.

    `CHANGEDSINCE` has its mod-sequence, `PARTIAL` its page (RFC 9394 §3.3), `VANISHED` None.
    """
    # RFC 7162 §3.1.4.1, §3.2.6; RFC 4466 §2.5: fetch-modifiers = SP "(" fetch-modifier *(SP fetch-modifier) ")"
    modifiers: dict[str, int | Page | None] = {}
    if p.at_end():
        return modifiers
    p.sp()
    for name, value in p.list_of(lambda: _modifier(p)):
        if name in modifiers:
            raise ParseError("FETCH modifier given twice")
        modifiers[name] = value
    p.end()
    if "VANISHED" in modifiers and "CHANGEDSINCE" not in modifiers:
        raise ParseError("VANISHED needs CHANGEDSINCE")  # RFC 7162 §3.2.6
    return modifiers


def _modifier(p: Parser) -> tuple[str, int | Page | None]:
    name = p.keyword()
    if name == "PARTIAL":
        p.sp()
        return name, page(p)
    if name == "CHANGEDSINCE":
        p.sp()
        return name, p.number64()  # RFC 7162 §7 wants it above 0; clients that have seen nothing yet send 0
    if name == "VANISHED":
        return name, None
    raise ParseError("Unknown FETCH modifier")


def _name(p: Parser) -> str:
    found = p.match(_NAME)
    if found is None:
        raise ParseError("Missing arguments" if p.at_end() else "Expected a FETCH item")
    return found[0].decode("ascii").upper()


def _item(p: Parser, name: str) -> FetchItem:
    if name in ("BODY", "BODY.PEEK") and p.try_byte(b"["):
        return _body_section(p, peek=name == "BODY.PEEK")
    if name in ("BINARY", "BINARY.PEEK", "BINARY.SIZE"):
        return _binary(p, name)
    if name == "PREVIEW":
        p.match(_LAZY)  # RFC 8970 §3.2: a preview is made with the message, so there is none to wait for
    if name not in ATTRIBUTES:
        raise ParseError("Unknown FETCH item")
    return Simple(name)


def _body_section(p: Parser, peek: bool) -> BodySection:
    # section = "[" [section-spec] "]"; section-spec = section-msgtext / (section-part ["." section-text])
    path: tuple[int, ...] = ()
    word = ""
    if found := p.match(_SECTION_PATH):
        path = tuple(map(int, found[0].split(b".")))
        if p.try_byte(b"."):
            word = _section_text(p)
    elif p.peek() != 0x5D:
        word = _section_text(p)
    if word == "MIME" and not path:
        raise ParseError("MIME needs a part number")  # section-text = section-msgtext / "MIME"
    fields: tuple[bytes, ...] = ()
    if word.startswith("HEADER.FIELDS"):
        p.sp()
        fields = tuple(p.list_of(lambda: _field_name(p)))
    p.expect(b"]")
    return BodySection(
        path=path,
        part=_TEXTS[word] if word else SectionPart.BODY,
        fields=fields,
        invert=word == "HEADER.FIELDS.NOT",
        partial=_partial(p),
        peek=peek,
    )


def _binary(p: Parser, name: str) -> BinarySection | BinarySize:
    """section-binary = "[" [section-part] "]" (RFC 3516 §7)."""
    p.expect(b"[")
    found = p.match(_SECTION_PATH)
    path = tuple(map(int, found[0].split(b"."))) if found else ()
    p.expect(b"]")
    return BinarySize(path) if name == "BINARY.SIZE" else BinarySection(path, _partial(p), name == "BINARY.PEEK")


def _section_text(p: Parser) -> str:
    found = p.match(_SECTION_TEXT)
    word = found[0].decode("ascii").upper() if found else ""
    if word not in _TEXTS:
        raise ParseError("Unknown section")
    return word


def _field_name(p: Parser) -> bytes:
    name = p.astring()
    if not name:
        raise ParseError("Empty header field name")
    return name


def _partial(p: Parser) -> tuple[int, int] | None:
    """ "<" number "." nz-number ">"."""
    if not p.try_byte(b"<"):
        return None
    first = p.number64()
    p.expect(b".")
    count = p.number64()
    if count == 0:
        raise ParseError("Expected a number above 0")
    p.expect(b">")
    return first, count
