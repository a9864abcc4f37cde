"""BODYSTRUCTURE of a message (RFC 9051 §7.5.2 and §9), ready for the wire, and BODY out of it."""

import re
from functools import lru_cache
from urllib.parse import quote_from_bytes, unquote

from duckmail.mime import charsets, parameters
from duckmail.mime.envelope import envelope_of, text_field
from duckmail.mime.header import Lookup
from duckmail.mime.imapdata import string
from duckmail.mime.index import LEAF, MULTIPART, Index, Node
from duckmail.mime.message import Message, Raw, message_of
from duckmail.mime.parameters import Parameter, Structured

_KEPT = 512  # words in capitals that are remembered; none is longer than `parameters.MAX_TOKEN`
_KEPT_TYPES = 128  # declared types that are remembered as they are written ...
_KEPT_VALUE = 200  # ... those of at most so many octets
_MAX_LANGUAGES = 100
_LANGUAGE = re.compile(rb"[A-Za-z0-9-]{1,100}+")
# Fields that most parts have none of.
_DESCRIBING = frozenset(
    b"content-id content-description content-md5 content-disposition content-language content-location".split()
)
# RFC 2231 §7: attribute-char; letters, digits and "_.-~" are always among the safe ones.
_ATTRIBUTE_CHARACTERS = "!#$&+^`{|}"
_PAIR = re.compile(rb"\\(.)", re.DOTALL)
_VALUE = re.compile(rb'"(?:[^"\\]|\\.)*+"|\{([0-9]+)\}\r\n|[^ (){"]++', re.DOTALL)


def bodystructure(raw: Raw | Message, index: Index) -> bytes:
    """The BODYSTRUCTURE with all extension data. Media types and parameter names are in upper case."""
    message = message_of(raw)
    described: list[bytes] = [b""] * len(index.nodes)
    # In preorder children come behind their parent: backwards they are there when it needs them.
    for position in range(len(index.nodes) - 1, -1, -1):
        node = index.nodes[position]
        lookup = message.header(node)
        if node.kind is LEAF:
            described[position] = _single(node, lookup)
            continue
        children = [described[child] for child in index.children(position)]
        if node.kind is MULTIPART:
            described[position] = _multipart(node, lookup, children)
        else:
            inner = envelope_of(message.header(index.nodes[position + 1]))
            described[position] = _single(node, lookup, b" %b %b %d" % (inner, children[0], node.lines))
        for child in index.children(position):
            described[child] = b""
    return described[0]


def _multipart(node: Node, lookup: Lookup, children: list[bytes]) -> bytes:
    """body-type-mpart = 1*body SP media-subtype SP body-ext-mpart"""
    declared = parameters.media_type(lookup.first(b"content-type") or b"")
    return b"(%b %b %b %b)" % (b"".join(children), _upper(node.subtype), _parameters(declared), _extension(lookup))


def _single(node: Node, lookup: Lookup, message: bytes = b"") -> bytes:
    """body-type-1part = (body-type-basic / body-type-msg / body-type-text) SP body-ext-1part

    `message`: SP envelope SP body SP body-fld-lines of a body-type-msg.
    """
    declared = lookup.first(b"content-type") or b""
    written = _kept_type if len(declared) <= _KEPT_VALUE else _type
    identifier = description = md5 = b"NIL"
    if lookup.has_any(_DESCRIBING):
        identifier = text_field(lookup, b"content-id")
        description = text_field(lookup, b"content-description")
        md5 = text_field(lookup, b"content-md5")
    return b"(%b %b %b %b %d%b %b %b)" % (
        written(declared, node.media_type, bool(message)),
        identifier,
        description,
        _upper(node.encoding),
        node.size,
        b" %d" % node.lines if node.type == "text" else message,
        md5,
        _extension(lookup),
    )


def _extension(lookup: Lookup) -> bytes:
    """body-fld-dsp SP body-fld-lang SP body-fld-loc"""
    if not lookup.has_any(_DESCRIBING):
        return b"NIL NIL NIL"
    return b"%b %b %b" % (_disposition(lookup), _languages(lookup), text_field(lookup, b"content-location"))


def _disposition(lookup: Lookup) -> bytes:
    disposition = parameters.disposition(lookup.first(b"content-disposition") or b"")
    if not disposition.value:
        return b"NIL"
    return b"(%b %b)" % (_upper(disposition.value), _parameters(disposition))


def _languages(lookup: Lookup) -> bytes:
    value = lookup.first(b"content-language")
    if value is None:
        return b"NIL"
    value = parameters.without_comments(value)
    tags = [string(tag) for tag in _LANGUAGE.findall(value[: parameters.MAX_VALUE])[:_MAX_LANGUAGES]]
    return b"(%b)" % b" ".join(tags) if len(tags) > 1 else b"".join(tags) or b"NIL"


def _type(declared: bytes, media_type: str, is_message: bool) -> bytes:
    """media-type SP media-subtype SP body-fld-param; `media_type`: what the part is taken for, whatever is declared."""
    structured = parameters.media_type(declared)
    if structured.value != media_type:
        structured = Structured(media_type)
    if media_type == "text/plain" and not structured.parameters:
        # RFC 2045 §5.2: plain text without a charset is US-ASCII.
        structured = Structured("text/plain", (Parameter("charset", b"us-ascii"),))
    if media_type in ("message/rfc822", "message/global") and not is_message:
        media_type = "application/octet-stream"  # body-type-msg needs an envelope and a body, it has none
    type_, _, subtype = media_type.partition("/")
    return b"%b %b %b" % (_upper(type_), _upper(subtype), _parameters(structured))


_kept_type = lru_cache(_KEPT_TYPES)(_type)


def _parameters(structured: Structured) -> bytes:
    """body-fld-param. RFC 2231 §6: continuations are joined; a value beyond ASCII is given as `NAME*` in UTF-8."""
    written: dict[bytes, bytes] = {}
    for parameter in structured.parameters:
        name, value = _parameter(parameter)
        written.setdefault(name, value)
    if not written:
        return b"NIL"
    return b"(%b)" % b" ".join([b"%b %b" % (string(name), string(value)) for name, value in written.items()])


def _parameter(parameter: Parameter) -> tuple[bytes, bytes]:
    name = parameter.name.upper().encode("ascii", "replace")
    if not parameter.charset:
        return name, parameter.value
    charset, value = parameter.charset, parameter.value
    if charsets.known(charset):
        charset, value = "utf-8", parameter.text.encode("utf-8")
        if value.isascii():
            return name, value
    extended = f"{charset}'{parameter.language}'{quote_from_bytes(value, _ATTRIBUTE_CHARACTERS)}"
    return name + b"*", extended.encode("ascii", "replace")


@lru_cache(_KEPT)
def _upper(word: str) -> bytes:
    return string(word.upper().encode("ascii"))


def body(bodystructure: bytes) -> bytes:
    """BODY: the same without extension data (RFC 9051 §7.5.2). `bodystructure`: as the function of that name gives it.

    Raises:
        ValueError: it is not.
    """
    pieces: list[bytes] = []
    if _Reader(bodystructure, pieces).body(0) != len(bodystructure):
        raise ValueError("not a body structure")
    return b"".join(pieces)


def part(bodystructure: bytes, index: Index, position: int) -> bytes:
    """What the BODYSTRUCTURE of a message says of one part of it, the node at `position`.

    Raises:
        ValueError: it is no BODYSTRUCTURE of a message with that index.
    """
    above = [position]
    while (parent := index.nodes[above[-1]].parent) >= 0:
        above.append(parent)
    reader, at = _Reader(bodystructure, []), 0
    for parent, child in zip(reversed(above), reversed(above[:-1]), strict=False):
        if index.nodes[parent].kind is MULTIPART:
            at += 1
            for _ in range(index.children(parent).index(child)):
                at = reader.skip(at)
        else:  # an embedded message: media-type SP media-subtype SP body-fields SP envelope SP body
            at = reader.skip_many(at + 1, 8) + 1
    return bodystructure[at : reader.skip(at)]


def decoded_part(part: bytes, octets: int, lines: int) -> bytes:
    """The BODYSTRUCTURE of a part that has no parts, once its transfer encoding is undone (RFC 5524 §3.2).

    `octets`, `lines`: of what it is then. Raises: ValueError: it is no BODYSTRUCTURE of such a part.
    """
    reader = _Reader(part, [])
    encoding = reader.skip_many(1, 5) + 1
    end = reader.skip_many(encoding, 2)
    size = b'"BINARY" %d' % octets
    if part.startswith(b'("TEXT" '):
        end = reader.skip(end + 1)
        size += b" %d" % lines
    return part[:encoding] + size + part[end:]


def content_type(bodystructure: bytes) -> tuple[str, dict[str, str]]:
    """The media type that a BODYSTRUCTURE begins with, and its parameters; names in lower case.

    Raises:
        ValueError: it is no BODYSTRUCTURE.
    """
    reader = _Reader(bodystructure, [])
    at, words = 1, []
    while bodystructure[at : at + 1] == b"(":
        at = reader.skip(at)
    multipart = at > 1
    at += multipart  # SP
    for _ in range(2 if multipart else 3):
        end = reader.skip(at)
        words.append(bodystructure[at:end])
        at = end + 1
    kinds = [_unquoted(word).lower() for word in words[:-1]]
    return "/".join(["multipart", *kinds] if multipart else kinds), _named(words[-1])


def _named(listed: bytes) -> dict[str, str]:
    """The parameters of a body-fld-param."""
    if listed == b"NIL":
        return {}
    reader = _Reader(listed, [])
    values: list[str] = []
    at = 1
    while at < len(listed):
        end = reader.skip(at)
        values.append(_unquoted(listed[at:end]))
        at = end + 1
    named: dict[str, str] = {}
    for name, value in zip(values[::2], values[1::2], strict=False):
        is_extended = name.endswith("*")  # as `_parameter` writes them
        named.setdefault(name.lower().rstrip("*"), unquote(value.rpartition("'")[2]) if is_extended else value)
    return named


def _unquoted(word: bytes) -> str:
    if word.startswith(b'"'):
        return _PAIR.sub(rb"\1", word[1:-1]).decode("utf-8", "replace")
    if word.startswith(b"{"):
        return word.partition(b"\r\n")[2].decode("utf-8", "replace")
    return ""


class _Reader:
    """Copies from a BODYSTRUCTURE what BODY has."""

    def __init__(self, data: bytes, pieces: list[bytes]) -> None:
        self.data = data
        self.pieces = pieces

    def body(self, at: int) -> int:
        """Copies the body at `at`; the position behind it. Recursion is as deep as the message's index."""
        copied = at
        if self.data[at + 1 : at + 2] == b"(":
            at += 1
            self.pieces.append(b"(")
            while self.data[at : at + 1] == b"(":
                at = self.body(at)
            copied = at
            at = self.skip(at + 1)  # media-subtype
        else:
            at = self.skip_many(at + 1, 2)  # media-type SP media-subtype
            kind = self.data[copied + 1 : at]
            at = self.skip_many(at + 1, 5)  # body-fields
            if kind.startswith(b'"TEXT" '):
                at = self.skip(at + 1)  # body-fld-lines
            elif kind in (b'"MESSAGE" "RFC822"', b'"MESSAGE" "GLOBAL"'):
                at = self.skip(at + 1) + 1  # envelope
                self.pieces.append(self.data[copied:at])
                copied = self.body(at)
                at = self.skip(copied + 1)  # body-fld-lines
        self.pieces.append(self.data[copied:at])
        self.pieces.append(b")")
        while self.data[at : at + 1] == b" ":
            at = self.skip(at + 1)
        return at + 1

    def skip_many(self, at: int, count: int) -> int:
        """The position behind so many values, with a space between two of them."""
        for _ in range(count - 1):
            at = self.skip(at) + 1
        return self.skip(at)

    def skip(self, at: int) -> int:
        """The position behind the value (string, number, NIL or list) at `at`."""
        depth = 0
        while True:
            octet = self.data[at : at + 1]
            if octet == b"(":
                depth += 1
                at += 1
            elif octet == b")" and depth:
                depth -= 1
                at += 1
            elif octet == b" " and depth:
                at += 1
            else:
                match = _VALUE.match(self.data, at)
                if match is None:
                    raise ValueError("not a body structure")
                at = match.end() + int(match[1] or 0)
            if not depth:
                return at
