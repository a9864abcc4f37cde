"""JSON bodies of many MiB, as messages in base64 make them, read without holding up the other connections.

A parser of JSON in C lets no other thread run until it is done, in whatever thread it is. So what makes a body large,
its long strings, is taken out piece by piece first; what is left has a limit, as the bodies of other operations have.
"""

import re
import secrets

import orjson

SMALL = 256 << 10  # octets that are parsed at once
LONG = 4 << 10  # octets of a string that is taken out
WINDOW = 128 << 10  # octets that are looked at in one go

# RFC 8259 §7: of a string what is no quotation mark; an escaped pair of surrogates is not cut in two.
_INSIDE = re.compile(
    rb'(?:[^"\\]++|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[0-9a-fA-F]{4}|\\u(?![dD][89abAB])[0-9a-fA-F]{4}|\\[^u])*+'
)


class TooMuchStructure(ValueError):
    """What is beside the long strings is more than `limit` octets."""


def parse(body: bytes | bytearray, limit: int) -> object:
    """The value. CPU: in a thread. `limit`: octets beside strings of `LONG` octets and more.

    Raises: orjson.JSONDecodeError, TooMuchStructure.
    """
    mark = secrets.token_hex(16)
    rest, strings = bytearray(), dict[str, str]()
    position = 0
    while (opened := body.find(b'"', position)) >= 0:
        closed, pieces = _string(body, opened + 1)
        if body[closed : closed + 1] != b'"':
            orjson.loads(b'"')  # says that a string does not end
        if closed - opened > LONG:
            key = f"{mark}{len(strings)}"
            strings[key] = "".join(orjson.loads(b'"%b"' % piece) for piece in pieces)
            rest += body[position : opened + 1] + key.encode() + b'"'
        else:
            rest += body[position : closed + 1]
        if len(rest) > limit:
            raise TooMuchStructure
        position = closed + 1
    rest += body[position : position + limit + 1]
    if len(rest) > limit:
        raise TooMuchStructure
    found = orjson.loads(rest)
    return _put_back(found, strings) if strings else found


def _string(body: bytes | bytearray, start: int) -> tuple[int, list[bytes]]:
    """Where the string ends that begins at `start`, and its pieces; what does not end is cut where it is."""
    pieces, position = [], start
    while position < len(body):
        matched = _INSIDE.match(body, position, position + WINDOW)
        end = position if matched is None else matched.end()
        if end < len(body) and body[end] not in b'"\\':
            while end > position and body[end] & 0xC0 == 0x80:  # UTF-8: not within a sign
                end -= 1
        if end > position:
            pieces.append(bytes(body[position:end]))
        if end >= len(body) or body[end] == ord('"') or end == position:
            return end, pieces
        position = end
    return position, pieces


def _put_back(value: object, strings: dict[str, str]) -> object:
    if isinstance(value, str):
        return strings.get(value, value)
    if isinstance(value, list):
        return [_put_back(each, strings) for each in value]
    if isinstance(value, dict):
        return {strings.get(key, key): _put_back(each, strings) for key, each in value.items()}
    return value
