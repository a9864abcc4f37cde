"""Structured MIME field bodies: Content-Type, Content-Disposition and their parameters (RFC 2045 §5, 2183, 2231)."""

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from duckmail.mime import charsets
from duckmail.mime.header import decode as decode_words

MAX_VALUE = 65536
"""Octets of a field body that are read."""
MAX_PARAMETERS = 1000
_KEPT = 256  # values of Content-Type and such that are remembered: most are the same in every message ...
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
# What nearly all mail has, whole: a type and at most one parameter, with nothing in it to be undone.
_USUAL = re.compile(
    rb"([a-z]{1,20}/[a-z0-9.+-]{1,100})(?:;[ \t]?([a-z]{1,20})=(?:\"([^\"\\()]*+)\"|([A-Za-z0-9.+_-]++)))?"
)
_QUOTED_PAIR = re.compile(rb"\\(.)", re.DOTALL)
# RFC 2231 §3, §4: name*, name*0, name*0*
_CONTINUED = re.compile(rb"([^*]+)\*(?:([0-9]{1,4})(\*)?)?")
_COMMENT_MARK = re.compile(rb'[()"\\]')


class Parameter(NamedTuple):
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


class Structured(NamedTuple):
    """A field body with parameters. `value`: `text/plain` or `attachment`, lower case; "" when it is not usable."""

    value: str
    parameters: tuple[Parameter, ...] = ()

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
    usual = _USUAL.fullmatch(value)
    if usual is None:
        return _any_media_type(value)
    written, name, quoted, plain = usual.groups(b"")
    parameters = (Parameter(name.decode("ascii"), quoted or plain),) if name else ()
    return Structured(written.decode("ascii"), parameters)


def _any_media_type(value: bytes) -> Structured:
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
    return _kept_token(value) if len(value) <= _KEPT_VALUE else _token(value[:MAX_VALUE])


def _token(value: bytes) -> str:
    match = _VALUE.match(without_comments(value))
    return match[1].lower().decode("ascii") if match else ""


_kept_token = lru_cache(_KEPT)(_token)


def without_comments(value: bytes) -> bytes:
    """A structured field body without its comments.

    A "(" directly behind another character is taken as part of it: `filename=report(1).pdf` is common.
    """
    if value.find(b"(") < 0:
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
        written, quoted, plain_body = match.groups()
        if quoted is not None:
            body = _QUOTED_PAIR.sub(rb"\1", quoted) if quoted.find(b"\\") >= 0 else quoted
        elif plain_body is not None:
            body = plain_body.strip(b" \t,")
        else:
            continue
        if written.find(b"*") < 0 or not (parts := _CONTINUED.fullmatch(written)):
            name = written.lower().decode("ascii", "replace")
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
