"""A message made of its parts: text, HTML, what belongs into the HTML, attachments. Pure, and CPU: run it in a thread.

    multipart/mixed
      multipart/alternative
        text/plain
        multipart/related
          text/html
          what the HTML names by `cid:`, or is inline
      attachments

A container of one is left out. What comes out can go by 7-bit SMTP, unless an attached message needs 8 bits.
"""

import binascii
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import pybase64

from duckmail.mime.fields import clean, folded, with_parameters
from duckmail.mime.html import html_text

MAX_LINE = 998  # octets, RFC 5322 §2.1.1
_BASE64_LINE = 76  # RFC 2045 §6.8
_DATA_LIMIT = 1000  # images in the HTML that become parts

_NAME = r"[A-Za-z0-9!#$&^_.+-]{1,127}"
_MEDIA_TYPE = re.compile(rf"({_NAME})/({_NAME})[ \t]*(?:;|$)")
_CHARSET = re.compile(r";[ \t]*charset=[\"']?([A-Za-z0-9_.:-]{1,40})", re.I)
_LINE_END = re.compile(rb"\r\n|\r|\n")
_LONG_LINE = re.compile(rb"[^\r\n]{999}")
_CID = re.compile("[^\\s<>\x00-\x20\x7f-\U0010ffff]{1,255}")
# The quote that ends the value is in no octet of base64, so that no octet is looked at twice.
_DATA = re.compile(
    r"(\bsrc[ ]{0,4}=[ ]{0,4}[\"'])data:(image/[A-Za-z0-9.+-]{1,40})(?:;[A-Za-z0-9=_-]{1,40})?;base64,"
    r"([A-Za-z0-9+/=%\s]*+)(?=[\"'])",
    re.I,
)
_BREAK = re.compile(r"<br\b[^>]*+>|</(?:p|div|tr|li|h[1-6]|blockquote|pre|table)\b[^>]*+>", re.I)
_BLANKS = re.compile(r"\s+")
_GAPS = re.compile(r"\n{3,}")


@dataclass(frozen=True, slots=True)
class Part:
    """Something attached. `content_type`: as somebody says; what is no media type is octets. `cid`: without <>.

    `encoding`: the Content-Transfer-Encoding that is wanted, "" for the one that fits.
    """

    content: bytes = field(repr=False)
    content_type: str = ""
    filename: str = ""
    cid: str = ""
    inline: bool = False
    encoding: str = ""


@dataclass(frozen=True, slots=True)
class Letter:
    """`header`: whole lines, without those that describe the body. `html`: "" for none."""

    header: Sequence[bytes]
    text: str = field(repr=False)
    html: str = field(repr=False)
    parts: Sequence[Part]


@dataclass(slots=True)
class _Entity:
    """`header`: lines; `body`: pieces."""

    header: list[bytes]
    body: list[bytes]


def build(letter: Letter) -> bytearray:
    """The message, with CRLF line ends and no NUL.

    Raises: MemoryError; nothing else, whatever the parts hold.
    """
    html, images = _split_images(letter.html)
    parts = [*images, *(replace(part, cid=_usable_cid(part.cid)) for part in letter.parts)]
    shown = [part for part in parts if html and part.cid and (part.inline or f"cid:{part.cid}" in html)]
    others = [part for part in parts if not any(part is one for one in shown)]
    text = letter.text or (plain_text(html) if html else "")
    forms = [_text("plain", text)] if text or not html else []
    if html:
        forms.append(_multi("related", [_text("html", html), *map(_attached, shown)]))
    whole = _multi("mixed", [_multi("alternative", forms), *map(_attached, others)])
    return bytearray(b"".join((*letter.header, b"MIME-Version: 1.0\r\n", *whole.header, b"\r\n", *whole.body)))


def _multi(subtype: str, entities: Sequence[_Entity]) -> _Entity:
    if len(entities) == 1:
        return entities[0]
    boundary = f"=_{secrets.token_hex(16)}"
    body: list[bytes] = []
    for entity in entities:
        body += [f"--{boundary}\r\n".encode(), *entity.header, b"\r\n", *entity.body, b"\r\n"]
    body.append(f"--{boundary}--\r\n".encode())
    return _Entity([with_parameters("Content-Type", f"multipart/{subtype}", [("boundary", boundary)])], body)


def _text(subtype: str, text: str) -> _Entity:
    octets = _LINE_END.sub(b"\n", text.encode("utf-8", "replace").replace(b"\0", b""))
    if octets and not octets.endswith(b"\n"):
        octets += b"\n"
    encoding, body = _encoded_text(octets)
    return _Entity(
        [with_parameters("Content-Type", f"text/{subtype}", [("charset", "utf-8")]), _transfer(encoding)], body
    )


def _encoded_text(octets: bytes) -> tuple[str, list[bytes]]:
    """`octets`: with LF line ends."""
    if octets.isascii() and not _LONG_LINE.search(octets):
        return "7bit", [octets.replace(b"\n", b"\r\n")]
    # Of a sign outside ASCII quoted-printable makes three octets from one, base64 four from three of all.
    if sum(octets.translate(_HIGH)) * 2 < len(octets):
        return "quoted-printable", [binascii.b2a_qp(octets, istext=True).replace(b"\n", b"\r\n")]
    return "base64", _base64(octets.replace(b"\n", b"\r\n"))


_HIGH = bytes(1 if octet > 127 else 0 for octet in range(256))


def _attached(part: Part) -> _Entity:
    kind, charset = media_type(part.content_type)
    if kind == "message/rfc822":
        return _message(part)
    encoding, body = _encoded(part, kind)
    filename = clean(part.filename)[:255]
    parameters = [("charset", charset)] if charset else []
    # Readers that know no Content-Disposition look for the name here.
    return _Entity(
        [
            with_parameters("Content-Type", kind, [*parameters, *([("name", filename)] if filename else [])]),
            _disposition(part, filename),
            *_identified(part),
            _transfer(encoding),
        ],
        body,
    )


def _message(part: Part) -> _Entity:
    """RFC 2046 §5.2.1: no encoding but 7bit, 8bit or binary; so what needs more is no message here."""
    octets = _LINE_END.sub(b"\r\n", part.content)
    if _LONG_LINE.search(octets) or b"\0" in octets:
        return _attached(replace(part, content_type="application/octet-stream"))
    encoding = "7bit" if octets.isascii() else "8bit"
    header = [folded("Content-Type", ["message/rfc822"]), _disposition(part, clean(part.filename)[:255])]
    return _Entity([*header, *_identified(part), _transfer(encoding)], [octets])


def _encoded(part: Part, kind: str) -> tuple[str, list[bytes]]:
    wanted = part.encoding.lower()
    text = kind.startswith("text/") and b"\0" not in part.content
    if text and wanted == "7bit" and part.content.isascii() and not _LONG_LINE.search(part.content):
        return "7bit", [_LINE_END.sub(b"\r\n", part.content)]
    if text and wanted == "quoted-printable":
        octets = _LINE_END.sub(b"\n", part.content)
        return "quoted-printable", [binascii.b2a_qp(octets, istext=True).replace(b"\n", b"\r\n")]
    return "base64", _base64(part.content)


def _base64(octets: bytes) -> list[bytes]:
    digits = pybase64.b64encode(octets)
    pieces = []
    for start in range(0, len(digits), _BASE64_LINE):
        pieces += [digits[start : start + _BASE64_LINE], b"\r\n"]
    return pieces


def _disposition(part: Part, filename: str) -> bytes:
    value = "inline" if part.inline else "attachment"
    return with_parameters("Content-Disposition", value, [("filename", filename)] if filename else [])


def _identified(part: Part) -> list[bytes]:
    return [folded("Content-ID", [f"<{part.cid}>"])] if part.cid else []


def _transfer(encoding: str) -> bytes:
    return folded("Content-Transfer-Encoding", [encoding])


def _usable_cid(cid: str) -> str:
    cid = cid.strip().strip("<>")
    return cid if _CID.fullmatch(cid) else ""


def media_type(value: str) -> tuple[str, str]:
    """Media type, lower case, and charset ("" for none) of a Content-Type that somebody gave.

    What is no media type, or is one of several parts, is octets.
    """
    match = _MEDIA_TYPE.match(value.strip())
    if match is None or match[1].lower() == "multipart":
        return "application/octet-stream", ""
    charset = _CHARSET.search(value)
    return f"{match[1]}/{match[2]}".lower(), charset[1] if charset else ""


def _split_images(html: str) -> tuple[str, list[Part]]:
    """The HTML with `cid:` where it had images in `data:` URLs, and the images."""
    images: list[Part] = []

    def taken(match: re.Match[str]) -> str:
        if len(images) >= _DATA_LIMIT:
            return match[0]
        digits = match[3].encode().replace(b"%2B", b"+").replace(b"%2F", b"/").replace(b"%3D", b"=")
        try:
            octets = pybase64.b64decode(_WHITE.sub(b"", digits))
        except (binascii.Error, ValueError):
            return match[0]
        cid = f"{secrets.token_hex(12)}@inline"
        ending = match[2].partition("/")[2].partition("+")[0].lower()
        images.append(Part(octets, match[2].lower(), f"image-{len(images) + 1}.{ending}", cid, inline=True))
        return f"{match[1]}cid:{cid}"

    return (_DATA.sub(taken, html), images) if "data:" in html.lower() else (html, images)


_WHITE = re.compile(rb"\s+")


def plain_text(html: str) -> str:
    """The text of HTML, a line for each of its blocks."""
    lines = html_text(_BREAK.sub("\n", _BLANKS.sub(" ", html))).split("\n")
    return _GAPS.sub("\n\n", "\n".join(" ".join(line.split()) for line in lines)).strip()
