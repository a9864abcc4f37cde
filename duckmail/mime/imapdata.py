"""Strings as IMAP sends them to a client (RFC 9051 §4.3)."""

import re

_UNQUOTABLE = re.compile(rb"[\x00\r\n\x80-\xff]")
_NOT_PLAIN = re.compile(rb'[\x00\r\n\x80-\xff"\\]')
_SPECIAL = re.compile(rb'(["\\])')


def string(value: bytes) -> bytes:
    """A quoted string when 7-bit and without CR and LF, else a literal. NUL, which IMAP has not, becomes a blank."""
    if _NOT_PLAIN.search(value) is None:
        return b'"%b"' % value
    if _UNQUOTABLE.search(value):
        value = value.replace(b"\0", b" ")
        return b"{%d}\r\n%b" % (len(value), value)
    return b'"%b"' % _SPECIAL.sub(rb"\\\1", value)


def nstring(value: bytes | None) -> bytes:
    """NIL for None, else a string."""
    return b"NIL" if value is None else string(value)
