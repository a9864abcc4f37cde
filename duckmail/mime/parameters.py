"""Structured MIME field bodies: Content-Type, Content-Disposition and their parameters (RFC 2045 §5, 2183, 2231)."""

import re
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from duckmail.mime import charsets
from duckmail.mime.header import decode as decode_words

MAX_VALUE = 65536
"""Octets of a field body that are read."""
MAX_PARAMETERS = 1000
_KEPT = 256  # values of Content-Type that are remembered: every message looks at each of its own several times ...
_KEPT_VALUE = 200  # ... when they have at most so many octets
MAX_TOKEN = 100
"""Octets of a type, subtype or disposition; a longer one is no usable value."""

# RFC 2045 §5.1: token = 1*<any CHAR except SPACE, CTLs, or tspecials>
_TOKEN = rb"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]{1,100}+"
_MEDIA_TYPE = re.compile(rb"[ \t]*+(" + _TOKEN + rb")[ \t]*+/[ \t]*+(" + _TOKEN + rb")(?=[ \t;,]|$)")
_VALUE = re.compile(rb"[ \t]*+(" + _TOKEN + rb")(?=[ \t;,]|$)")
# Tolerant: values without quotes may hold blanks and specials, as "filename=my file.pdf" does. A word without "=" is
# matched too, so that the search does not begin again inside it, which would be quadratic.
_PARAMETER = re.compile(rb'([^\s;="]++)(?:[ \t]*+=[ \t]*+(?:"((?:[^"\\]|\\.)*+)"?|([^;"]*+)))?', re.DOTALL)
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)
# RFC 2231 §3, §4: name*, name*0, name*0*
_CONTINUED = re.compile(rb"([^*]+)\*(?:([0-9]{1,4})(\*)?)?")
_COMMENT_MARK = re.compile(rb'[()"\\]')


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter, its continuations joined.

    `name`: lower case. `value`: octets, without quotes and percent signs. `charset`, `language`: as RFC 2231 gives
    them; `extended` when it was written that way, and then `value` is not to be read for RFC 2047 words.
    """

    name: str
    value: bytes
    charset: str = ""
    language: str = ""
    extended: bool = False

    @property
    def text(self) -> str:
        if self.extended:
            return charsets.decode(self.value, self.charset)
        # RFC 2047 §5 forbids words here, but they are how most file names outside ASCII come.
        return decode_words(self.value)


@dataclass(frozen=True, slots=True)
class Structured:
    """A field body with parameters. `value`: `text/plain` or `attachment`, lower case; "" when it is not usable."""

    value: str
    parameters: tuple[Parameter, ...] = field(default=())

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of that name (lower case); the RFC 2231 form is preferred."""
        found = None
        for parameter in self.parameters:
            if parameter.name == name and (found is None or parameter.extended):
                found = parameter
        return found


_NOTHING = Structured("")


def media_type(value: bytes) -> Structured:
    """The body of a Content-Type field. `text` alone, as old mailers write, is text/plain (RFC 1049)."""
    return _kept_media_type(value) if len(value) <= _KEPT_VALUE else _media_type(value[:MAX_VALUE])


def _media_type(value: bytes) -> Structured:
    value = without_comments(value)
    match = _MEDIA_TYPE.match(value)
    if match:
        return Structured((match[1] + b"/" + match[2]).lower().decode("ascii"), _parameters(value[match.end() :]))
    match = _VALUE.match(value)
    if match and match[1].lower() == b"text":
        return Structured("text/plain", _parameters(value[match.end() :]))
    return Structured("")


_kept_media_type = lru_cache(_KEPT)(_media_type)


def disposition(value: bytes) -> Structured:
    """The body of a Content-Disposition field."""
    if not value:
        return _NOTHING
    value = without_comments(value[:MAX_VALUE])
    match = _VALUE.match(value)
    if match:
        return Structured(match[1].lower().decode("ascii"), _parameters(value[match.end() :]))
    return Structured("")


def token(value: bytes) -> str:
    """The one word of a field such as Content-Transfer-Encoding, lower case; "" when it is not usable."""
    match = _VALUE.match(without_comments(value[:MAX_VALUE]))
    return match[1].lower().decode("ascii") if match else ""


def without_comments(value: bytes) -> bytes:
    """A structured field body without its comments.

    A "(" directly behind another character is taken as part of it: `filename=report(1).pdf` is common.
    """
    if b"(" not in value:
        return value
    kept: list[bytes] = []
    at = 0  # what is before it has been kept or left out
    depth = 0
    quoted = False
    position = 0
    while match := _COMMENT_MARK.search(value, position):
        position = match.end()
        mark = match[0]
        if mark == b"\\":
            position += 1
        elif depth:
            depth += (mark == b"(") - (mark == b")")
            at = position
        elif mark == b'"':
            quoted = not quoted
        elif mark == b"(" and not quoted and value[max(0, match.start() - 1) : match.start()] in b" \t;":
            kept.append(value[at : match.start()])
            depth = 1
            at = len(value)  # a comment that is never closed takes the rest
    return b"".join((*kept, value[at:])) if not depth else b"".join(kept)


def _parameters(value: bytes) -> tuple[Parameter, ...]:
    plain: dict[str, Parameter] = {}
    continued: dict[str, dict[int, tuple[bytes, bool]]] = {}
    for count, match in enumerate(_PARAMETER.finditer(value)):
        if count == MAX_PARAMETERS:
            break
        if match[2] is None and match[3] is None:
            continue
        body = match[3].strip(b" \t,") if match[2] is None else _QUOTED_PAIR.sub(rb"\1", match[2])
        parts = _CONTINUED.fullmatch(match[1])
        if parts is None:
            name = match[1].lower().decode("ascii", "replace")
            plain.setdefault(name, Parameter(name, body))
        else:
            name = parts[1].lower().decode("ascii", "replace")
            sections = continued.setdefault(name, {})
            sections.setdefault(int(parts[2] or 0), (body, parts[2] is None or parts[3] is not None))
    return (*plain.values(), *(_join(name, sections) for name, sections in continued.items()))


def _join(name: str, sections: dict[int, tuple[bytes, bool]]) -> Parameter:
    """RFC 2231 §3: sections count from 0 without gaps; §4.1: only the first has charset and language."""
    charset = language = ""
    octets: list[bytes] = []
    first = min(sections)
    for number in range(first, first + len(sections)):
        if number not in sections:
            break
        body, encoded = sections[number]
        if number == first and encoded and body.count(b"'") >= 2:
            charset_octets, language_octets, body = body.split(b"'", 2)
            charset = charset_octets.decode("ascii", "replace").strip()
            language = language_octets.decode("ascii", "replace").strip()
        octets.append(unquote_to_bytes(body) if encoded else body)
    return Parameter(name, b"".join(octets), charset, language, extended=True)
