"""The ENVELOPE of a message (RFC 9051 §7.5.2, RFC 3501 §7.4.2), ready for the wire."""

from functools import lru_cache

from duckmail.mime.address import Address, addresses
from duckmail.mime.header import Lookup
from duckmail.mime.imapdata import nstring, string
from duckmail.mime.index import Index
from duckmail.mime.message import Message, Raw, message_of

MAX_TEXT = 65536
"""Octets of a text field that ENVELOPE shows; the header has all of them."""
_KEPT = 128  # lists that are remembered as they are written: the same people write to one another ...
_KEPT_VALUE = 200  # ... those of at most so many octets


def envelope(raw: Raw | Message, index: Index) -> bytes:
    """The ENVELOPE as a list. Texts are unfolded and otherwise as they are; octets above 127 as literals."""
    return envelope_of(message_of(raw).header(index.nodes[0]))


def envelope_of(lookup: Lookup) -> bytes:
    """The ENVELOPE of the message with this header."""
    sender = _addresses(lookup, b"from")
    # "If the Sender or Reply-To lines are absent ..., or are present but empty, the server sets the corresponding
    # member of the envelope to be the same value as the from member."
    return b"(%b)" % b" ".join(
        (
            text_field(lookup, b"date"),
            text_field(lookup, b"subject"),
            sender,
            _addresses(lookup, b"sender", sender),
            _addresses(lookup, b"reply-to", sender),
            _addresses(lookup, b"to"),
            _addresses(lookup, b"cc"),
            _addresses(lookup, b"bcc"),
            text_field(lookup, b"in-reply-to"),
            text_field(lookup, b"message-id"),
        )
    )


def text_field(lookup: Lookup, name: bytes) -> bytes:
    """The first field of that name (lower case) as nstring."""
    value = lookup.first(name)
    return b"NIL" if value is None else string(value[:MAX_TEXT])


def _addresses(lookup: Lookup, name: bytes, default: bytes = b"NIL") -> bytes:
    """RFC 9051 §9: env-to = "(" 1*address ")" / nil, never "()". Fields written several times are one list."""
    bodies = lookup.all(name)
    if not bodies:
        return default
    value = b",".join(bodies)
    return (_kept_list(value) if len(value) <= _KEPT_VALUE else _list(value)) or default


def _list(value: bytes) -> bytes:
    """The addresses of a field as they are written; b"" for none."""
    entries = addresses(value)
    if not entries:
        return b""
    return b"(%b)" % b"".join(map(_address, entries))


_kept_list = lru_cache(_KEPT)(_list)


def _address(address: Address) -> bytes:
    name, route, mailbox, host = address
    return b"(%b %b %b %b)" % (nstring(name), nstring(route), nstring(mailbox), nstring(host))
