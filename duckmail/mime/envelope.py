"""The ENVELOPE of a message (RFC 9051 §7.5.2, RFC 3501 §7.4.2), ready for the wire."""

from duckmail.mime.address import GROUP_END, Address, addresses
from duckmail.mime.header import Lookup, fields_of
from duckmail.mime.imapdata import nstring, string
from duckmail.mime.index import Index
from duckmail.mime.scan import Raw, buffer, header_block

MAX_TEXT = 65536
"""Octets of a text field that ENVELOPE shows; the header has all of them."""


def envelope(raw: Raw, index: Index) -> bytes:
    """The ENVELOPE as a list. Texts are unfolded and otherwise as they are; octets above 127 as literals."""
    return envelope_of(header_block(buffer(raw), index.nodes[0]))


def envelope_of(block: bytes) -> bytes:
    """The ENVELOPE of the message with this header block."""
    lookup = fields_of(block)
    sender = _addresses(lookup, b"from")
    # "If the Sender or Reply-To lines are absent ..., or are present but empty, the server sets the corresponding
    # member of the envelope to be the same value as the from member."
    return b"(%b)" % b" ".join(
        (
            _text(lookup, b"date"),
            _text(lookup, b"subject"),
            sender,
            _addresses(lookup, b"sender", sender),
            _addresses(lookup, b"reply-to", sender),
            _addresses(lookup, b"to"),
            _addresses(lookup, b"cc"),
            _addresses(lookup, b"bcc"),
            _text(lookup, b"in-reply-to"),
            _text(lookup, b"message-id"),
        )
    )


def _text(lookup: Lookup, name: bytes) -> bytes:
    value = lookup.first(name)
    return nstring(None if value is None else value[:MAX_TEXT])


def _addresses(lookup: Lookup, name: bytes, default: bytes = b"NIL") -> bytes:
    """RFC 9051 §9: env-to = "(" 1*address ")" / nil, never "()". Fields written several times are one list."""
    entries = addresses(b",".join(lookup.all(name)))
    if not entries:
        return default
    return b"(%b)" % b"".join(map(_address, entries))


def _address(address: Address) -> bytes:
    if address is GROUP_END:
        return b"(NIL NIL NIL NIL)"
    name, route, mailbox, host = address
    return b"(%b %b %b %b)" % (nstring(name), nstring(route), string(mailbox or b""), nstring(host))
