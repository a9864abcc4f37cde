"""Values in responses of any IMAP server, as imaplib hands them out: lists, strings, numbers, NIL."""

import re
from collections.abc import Sequence

Value = bytes | int | None | list["Value"]

_ATOM = re.compile(rb"[^\s()\"{]+(?:\[[^\]]*\](?:<\d+>)?)?")
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


def rows(data: Sequence[bytes | tuple[bytes, bytes] | None]) -> dict[int, dict[bytes, Value]]:
    """FETCH responses by UID, which has to be among the items: item in upper case -> value."""
    found: dict[int, dict[bytes, Value]] = {}
    pieces: list[bytes] = []
    for piece in data:
        if isinstance(piece, tuple):
            pieces.append(piece[0] + b"\r\n" + piece[1])
        elif piece is not None:
            text = b"".join([*pieces, piece])
            pieces = []
            items, _ = _value(text, text.index(b"("))
            assert isinstance(items, list)
            row = {_name(name): value for name, value in zip(items[::2], items[1::2], strict=True)}
            uid = row[b"UID"]
            assert isinstance(uid, int)
            found[uid] = row
    assert not pieces
    return found


def _name(name: Value) -> bytes:
    assert isinstance(name, bytes)
    return name.upper()


def _value(text: bytes, at: int) -> tuple[Value, int]:
    """The value that begins at `at`, and where it ends."""
    sign = text[at : at + 1]
    if sign == b"(":
        return _list(text, at + 1)
    if sign == b'"':
        end = at + 1
        while text[end : end + 1] != b'"':
            end += 2 if text[end : end + 1] == b"\\" else 1
        return _ESCAPED.sub(rb"\1", text[at + 1 : end]), end + 1
    if sign == b"{":
        size, begin = int(text[at + 1 : text.index(b"}", at)]), text.index(b"\r\n", at) + 2
        return text[begin : begin + size], begin + size
    found = _ATOM.match(text, at)
    assert found, text[at : at + 80]
    atom = found[0]
    value: Value = int(atom) if atom.isdigit() else None if atom.upper() == b"NIL" else atom
    return value, found.end()


def _list(text: bytes, at: int) -> tuple[Value, int]:
    values: list[Value] = []
    while text[at : at + 1] != b")":
        if text[at : at + 1] == b" ":
            at += 1
            continue
        value, at = _value(text, at)
        values.append(value)
    return values, at + 1
