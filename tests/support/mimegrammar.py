"""ENVELOPE, BODYSTRUCTURE and BODY against the ABNF of RFC 9051 §9, written a second time, from the RFC.

Strict: exactly one space where the grammar has SP, none elsewhere. Every function takes the octets and a position and
gives a value and the position behind it; AssertionError for anything the grammar does not have.
"""

import re
from typing import Any

Value = Any
_QUOTED = re.compile(rb'"((?:[\x01-\x09\x0b\x0c\x0e-\x21\x23-\x5b\x5d-\x7f]|\\["\\])*)"')
_LITERAL = re.compile(rb"\{(0|[1-9][0-9]*)\}\r\n")
_NUMBER = re.compile(rb"0|[1-9][0-9]*")


def envelope(data: bytes) -> list[Value]:
    value, at = _envelope(data, 0)
    assert at == len(data), f"more behind the envelope: {data[at:]!r}"
    return value


def bodystructure(data: bytes) -> dict[str, Value]:
    value, at = _body(data, 0, True)
    assert at == len(data), f"more behind the body structure: {data[at:]!r}"
    return value


def body(data: bytes) -> dict[str, Value]:
    value, at = _body(data, 0, False)
    assert at == len(data), f"more behind the body: {data[at:]!r}"
    return value


def _expect(data: bytes, at: int, what: bytes) -> int:
    assert data[at : at + len(what)] == what, f"{what!r} expected at {at}: {data[at : at + 40]!r}"
    return at + len(what)


def _string(data: bytes, at: int) -> tuple[bytes, int]:
    if match := _QUOTED.match(data, at):
        return re.sub(rb"\\(.)", rb"\1", match[1]), match.end()
    match = _LITERAL.match(data, at)
    assert match, f"string expected at {at}: {data[at : at + 40]!r}"
    end = match.end() + int(match[1])
    octets = data[match.end() : end]
    assert len(octets) == int(match[1]), "literal cut short"
    assert b"\0" not in octets, "NUL in a literal"
    return octets, end


def _nstring(data: bytes, at: int) -> tuple[bytes | None, int]:
    return (None, at + 3) if data[at : at + 3] == b"NIL" else _string(data, at)


def _number(data: bytes, at: int) -> tuple[int, int]:
    match = _NUMBER.match(data, at)
    assert match, f"number expected at {at}: {data[at : at + 40]!r}"
    return int(match[0]), match.end()


def _envelope(data: bytes, at: int) -> tuple[list[Value], int]:
    values: list[Value] = []
    at = _expect(data, at, b"(")
    for number in range(10):
        if number:
            at = _expect(data, at, b" ")
        value, at = _addresses(data, at) if 2 <= number <= 7 else _nstring(data, at)
        values.append(value)
    return values, _expect(data, at, b")")


def _addresses(data: bytes, at: int) -> tuple[list[Value] | None, int]:
    """ "(" 1*address ")" / nil, with the groups well formed: a start, members, an end."""
    if data[at : at + 3] == b"NIL":
        return None, at + 3
    at = _expect(data, at, b"(")
    found: list[Value] = []
    in_group = False
    while data[at : at + 1] == b"(":
        entry: list[Value] = []
        at += 1
        for number in range(4):
            if number:
                at = _expect(data, at, b" ")
            value, at = _nstring(data, at)
            entry.append(value)
        at = _expect(data, at, b")")
        if entry[3] is None:
            assert entry[0] is None
            assert (entry[2] is None) == in_group, "group markers do not match"
            in_group = not in_group
        else:
            assert entry[2] is not None, "an address without a mailbox"
        found.append(entry)
    assert found, "an empty list of addresses"
    assert not in_group, "a group that does not end"
    return found, _expect(data, at, b")")


def _parameters(data: bytes, at: int) -> tuple[list[tuple[bytes, bytes]] | None, int]:
    if data[at : at + 3] == b"NIL":
        return None, at + 3
    at = _expect(data, at, b"(")
    found = []
    while True:
        name, at = _string(data, at)
        value, at = _string(data, _expect(data, at, b" "))
        found.append((name, value))
        if data[at : at + 1] != b" ":
            break
        at += 1
    names = [name for name, _ in found]
    assert len(set(names)) == len(names), "a parameter twice"
    return found, _expect(data, at, b")")


def _language(data: bytes, at: int) -> tuple[Value, int]:
    if data[at : at + 1] != b"(":
        return _nstring(data, at)
    tags = []
    at += 1
    while True:
        tag, at = _string(data, at)
        tags.append(tag)
        if data[at : at + 1] != b" ":
            return tags, _expect(data, at, b")")
        at += 1


def _extension(data: bytes, at: int, value: dict[str, Value]) -> int:
    """SP body-fld-dsp SP body-fld-lang SP body-fld-loc"""
    at = _expect(data, at, b" ")
    if data[at : at + 1] == b"(":
        disposition, at = _string(data, at + 1)
        parameters, at = _parameters(data, _expect(data, at, b" "))
        value["disposition"] = (disposition, parameters)
        at = _expect(data, at, b")")
    else:
        at = _expect(data, at, b"NIL")
    value["language"], at = _language(data, _expect(data, at, b" "))
    value["location"], at = _nstring(data, _expect(data, at, b" "))
    return at


def _body(data: bytes, at: int, extended: bool) -> tuple[dict[str, Value], int]:
    at = _expect(data, at, b"(")
    value: dict[str, Value] = {}
    if data[at : at + 1] == b"(":
        value["parts"] = []
        while data[at : at + 1] == b"(":
            part, at = _body(data, at, extended)
            value["parts"].append(part)
        value["type"] = b"MULTIPART"
        value["subtype"], at = _string(data, _expect(data, at, b" "))
        if extended:
            value["parameters"], at = _parameters(data, _expect(data, at, b" "))
    else:
        at = _single(data, at, value, extended)
        if extended:
            value["md5"], at = _nstring(data, _expect(data, at, b" "))
    if extended:
        at = _extension(data, at, value)
    return value, _expect(data, at, b")")


def _single(data: bytes, at: int, value: dict[str, Value], extended: bool) -> int:
    value["type"], at = _string(data, at)
    value["subtype"], at = _string(data, _expect(data, at, b" "))
    assert value["type"] != b"MULTIPART"
    value["parameters"], at = _parameters(data, _expect(data, at, b" "))
    value["id"], at = _nstring(data, _expect(data, at, b" "))
    value["description"], at = _nstring(data, _expect(data, at, b" "))
    value["encoding"], at = _string(data, _expect(data, at, b" "))
    value["octets"], at = _number(data, _expect(data, at, b" "))
    if (value["type"], value["subtype"]) in ((b"MESSAGE", b"RFC822"), (b"MESSAGE", b"GLOBAL")):
        value["envelope"], at = _envelope(data, _expect(data, at, b" "))
        value["body"], at = _body(data, _expect(data, at, b" "), extended)
        value["lines"], at = _number(data, _expect(data, at, b" "))
    elif value["type"] == b"TEXT":
        value["lines"], at = _number(data, _expect(data, at, b" "))
    return at
