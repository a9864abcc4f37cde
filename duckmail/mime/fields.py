"""Header fields written from text: folded, non-ASCII as RFC 2047 words, and never more than the one field.

Whatever the text holds, no line end of it gets out: control characters are blanks before anything else is done.
"""

import base64
import re
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from duckmail.mime.outgoing import Malformed

LINE = 76
"""Characters of a line that folding aims at (RFC 5322 §2.1.1: 78 with its end)."""
MAX_TOKEN = 900
"""Octets that may stand unbroken in a line (RFC 5322 §2.1.1: 998)."""
# Octets of UTF-8 in one encoded word. RFC 2047 §2: a line with one has at most 76 characters; "=?utf-8?B?...?=" has 12,
# and the first one stands behind "Subject: ".
_WORD = 39

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
# RFC 5322 §2.2: printable US-ASCII but the colon.
_NAME = re.compile(r"[!-9;-~]{1,255}")
# RFC 5322 §3.2.3 atoms, blanks between them.
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
# RFC 5322 §3.4.1 with RFC 6531 §3.3; what would end it, or begin another one, needs quotes or is refused.
_ADDRESS = re.compile(r'(?:[^\s()<>@,;:\\"\[\]]+|"(?:[^"\\\s]|\\[^\s]| )*")@[^\s()<>@,;:\\"\[\]]+')
_PIECES = re.compile(r" *[^ ]+")
# RFC 2231 §7 attribute-char.
_ATTRIBUTE = "!#$&+-.^_`{|}~"
_PLAIN_PARAMETER = 60  # characters


def clean(text: str) -> str:
    """`text` on one line: runs of control characters are one blank."""
    return _CONTROLS.sub(" ", text).strip()


def is_name(name: str) -> bool:
    """Whether a field may have this name."""
    return _NAME.fullmatch(name) is not None


def unstructured(name: str, text: str) -> bytes:
    """The lines of a field with any text. Raises: Malformed: the name is none."""
    text = clean(text)
    if _is_plain(text):
        return folded(name, _PIECES.findall(text))
    return folded(name, _words(text))


def _is_plain(text: str) -> bool:
    # What looks like an encoded word would be decoded by readers.
    return text.isascii() and "=?" not in text and not any(len(piece) > MAX_TOKEN for piece in text.split(" "))


def addresses(name: str, people: Iterable[tuple[str, str]]) -> bytes:
    """The lines of a field with (display name, address) pairs. Raises: Malformed: an address is none."""
    pieces: list[str] = []
    for display, address in people:
        if pieces:
            pieces[-1] += ","
        pieces += _person(display, address)
    return folded(name, pieces)


def _person(display: str, address: str) -> list[str]:
    if not _ADDRESS.fullmatch(address) or _CONTROLS.search(address) or len(address.encode()) > MAX_TOKEN:
        raise Malformed("an address is not well formed")
    display = clean(display)
    if not display:
        return [address]
    return [*_phrase(display), f"<{address}>"]


def _phrase(text: str) -> list[str]:
    if not _is_plain(text):
        return _words(text)
    if _ATOMS.fullmatch(text):
        return text.split(" ")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return [f'"{escaped}"'] if len(escaped) <= LINE else _words(text)


def _words(text: str) -> list[str]:
    """RFC 2047 words; each holds whole characters (§5)."""
    words: list[str] = []
    run = b""
    for character in text:
        octets = character.encode()
        if len(run) + len(octets) > _WORD:
            words.append(_word(run))
            run = b""
        run += octets
    return [*words, _word(run)] if run else words


def _word(octets: bytes) -> str:
    return f"=?utf-8?B?{base64.b64encode(octets).decode()}?="


def folded(name: str, pieces: Sequence[str]) -> bytes:
    """The lines of a field whose body are `pieces`, with a blank before each, folded between them (RFC 5322 §2.2.3).

    Raises: Malformed: the name is none.
    """
    if not is_name(name):
        raise Malformed("a header field's name is not well formed")
    lines: list[str] = []
    line = f"{name}:"
    for each in pieces:
        piece = each if each.startswith(" ") else f" {each}"
        if len(line) + len(piece) > LINE and line.strip():
            lines.append(line)
            line = ""
        line += piece
    return "\r\n".join((*lines, line, "")).encode()


def with_parameters(name: str, value: str, parameters: Iterable[tuple[str, str]]) -> bytes:
    """The lines of a structured field: `value`, then parameters, those with a long or non-ASCII value by RFC 2231."""
    pieces = [value]
    for key, text in parameters:
        for piece in _parameter(key, clean(text)):
            pieces[-1] += ";"
            pieces.append(piece)
    return folded(name, pieces)


def _parameter(key: str, text: str) -> list[str]:
    if text.isascii() and "=?" not in text and len(text) <= _PLAIN_PARAMETER:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return [f'{key}="{escaped}"']
    encoded = quote(text, safe=_ATTRIBUTE)
    if len(encoded) <= _PLAIN_PARAMETER:
        return [f"{key}*=utf-8''{encoded}"]
    # RFC 2231 §3: in pieces; an escape stays whole.
    pieces = re.findall(rf"(?:%[0-9A-F]{{2}}|[^%]){{1,{_PLAIN_PARAMETER // 3}}}", "utf-8''" + encoded)
    return [f"{key}*{number}*={piece}" for number, piece in enumerate(pieces)]
