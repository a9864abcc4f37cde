"""DKIM-Signature fields, without their keys: what is hashed, and how the field is written (RFC 6376).

Both canonicalizations are `relaxed`: they survive the blanks that relays change.
"""

import hashlib
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from duckmail.mime.header import fields

MAX_SIGNED = 200
"""Fields that a signature names; a message with more is not signed."""

# RFC 6376 §5.4.1: what a reader sees or acts on. Signed once more than they occur, so that none can be put on top
# (§8.15): a second From or Subject would break the signature.
_OVERSIGNED = (
    b"from",
    b"reply-to",
    b"subject",
    b"date",
    b"message-id",
    b"to",
    b"cc",
    b"in-reply-to",
    b"references",
    b"mime-version",
    b"content-type",
    b"content-transfer-encoding",
)
# Signed where they are; those that lists and forwarders add later must not break the signature.
_SIGNED = (
    b"sender",
    b"content-id",
    b"content-description",
    b"auto-submitted",
    b"autocrypt",
    b"disposition-notification-to",
    b"list-id",
    b"list-help",
    b"list-unsubscribe",
    b"list-unsubscribe-post",
    b"list-subscribe",
    b"list-post",
    b"list-owner",
    b"list-archive",
)
_NEWLINES = b"\r\n" * 4096
_SIGNATURE_LINE = 72  # characters of base64
_NAMES_LINE = 70  # characters of field names, about
_BLANKS = re.compile(rb"[ \t]+")


class BodyHash:
    """SHA-256 of a body in its canonical form, piece by piece. Every line ends in CRLF (`LineEnds`).

    `simple`: the form is `simple` instead of `relaxed`. `limit`: octets of the form that are hashed (RFC 6376 §3.5 l=).
    """

    def __init__(self, simple: bool = False, limit: int | None = None) -> None:
        self._hash = hashlib.sha256()
        self._simple = simple
        self._limit = limit
        self._newlines = 0  # not hashed yet: at the end of the body they do not count
        self._blank = False  # nor this blank: at the end of its line it does not count
        self._any = False
        self.length = 0  # octets of the form, when all of it has been fed and `digest` was called

    def feed(self, piece: bytes) -> None:
        formed, white = (piece, b"\r\n") if self._simple else (self._relax(piece), b" \r\n")
        core = formed.rstrip(white)
        tail = formed[len(core) :]
        newlines = tail.count(b"\n")
        if core:
            # Counted, not kept: a body of empty lines alone would be copied with every piece.
            self._flush()
            self._update(core)
            self._any = True
            self._newlines = newlines
        else:
            self._newlines += newlines
        self._blank = tail.endswith(b" ")

    def _relax(self, piece: bytes) -> bytes:
        """RFC 6376 §3.4.4: blanks at the end of lines are left out, all others are one space."""
        relaxed = piece.replace(b"\t", b" ")
        if self._blank:
            relaxed = b" " + relaxed
        while b"  " in relaxed:
            relaxed = relaxed.replace(b"  ", b" ")
        return relaxed.replace(b" \r\n", b"\r\n")

    def _flush(self) -> None:
        while self._newlines:
            some = min(self._newlines, len(_NEWLINES) // 2)
            self._update(_NEWLINES[: 2 * some])
            self._newlines -= some

    def _update(self, octets: bytes) -> None:
        room = len(octets) if self._limit is None else max(0, self._limit - self.length)
        self._hash.update(octets if room >= len(octets) else octets[:room])
        self.length += len(octets)

    def digest(self) -> bytes:
        """RFC 6376 §3.4.4: empty lines at the end are ignored; a body of nothing else is empty, or (§3.4.3) one CRLF in
        the simple form. Once."""
        if self._any or self._simple:
            self._update(b"\r\n")
        return self._hash.digest()


@dataclass(frozen=True, slots=True)
class Header:
    """What of a header section is signed. `names`: as h= has them. `relaxed`: their fields in that order."""

    names: tuple[bytes, ...]
    relaxed: bytes


def read_header(block: bytes) -> Header | None:
    """`block`: the whole section with line ends of CRLF. None when it cannot be signed: no From, or too many fields."""
    by_name: dict[bytes, list[bytes]] = {}
    wanted = {*_OVERSIGNED, *_SIGNED}
    for field in fields(block):
        name = field.name.lower()
        if name in wanted:
            by_name.setdefault(name, []).append(field.raw)
    counts = Counter({name: len(found) for name, found in by_name.items()})
    if not counts[b"from"] or counts.total() > MAX_SIGNED:
        return None
    names: list[bytes] = []
    lines: list[bytes] = []
    for name in (*_OVERSIGNED, *_SIGNED):
        # RFC 6376 §5.4.2: of several with one name the last comes first.
        found = by_name.get(name, [])[::-1]
        names += [name] * (len(found) + (name in _OVERSIGNED))
        lines += [relaxed(raw) for raw in found]
    return Header(tuple(names), b"".join(lines))


def relaxed(raw: bytes) -> bytes:
    """RFC 6376 §3.4.2: the name in lower case, the body on one line, each run of blanks one space."""
    name, _, body = raw.partition(b":")
    value = _BLANKS.sub(b" ", body.replace(b"\r\n", b"")).strip(b" ")
    return name.strip(b" \t").lower() + b":" + value + b"\r\n"


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose signature: `domain` and `selector` as DNS has them; `algorithm`: `rsa` or `ed25519`."""

    domain: str
    selector: str
    algorithm: str


def signature(
    identity: Identity,
    header: Header,
    body: bytes,
    at: datetime,
    sign: Callable[[bytes], bytes],
    *,
    opening: str = "DKIM-Signature: v=1",
) -> bytes:
    """The whole field with its line end.

    Args:
        body: the digest.
        sign: the signature of the octets that the header comes to. RFC 8463 §3: Ed25519 signs their SHA-256.
        opening: its name and first tag.
    """
    unsigned = b"".join(
        (
            f"{opening}; a={identity.algorithm}-sha256; c=relaxed/relaxed;\r\n".encode(),
            f"\td={identity.domain}; s={identity.selector}; t={int(at.timestamp())};\r\n\th=".encode(),
            _folded(header.names),
            b";\r\n\tbh=" + b64encode(body) + b";\r\n\tb=",
        )
    )
    # RFC 6376 §3.7: the field itself comes last, with an empty b= and without its line end.
    signed = sign(header.relaxed + relaxed(unsigned).removesuffix(b"\r\n"))
    text = b64encode(signed)
    pieces = [text[at : at + _SIGNATURE_LINE] for at in range(0, len(text), _SIGNATURE_LINE)]
    return unsigned + b"\r\n\t".join(pieces) + b"\r\n"


def _folded(names: Sequence[bytes]) -> bytes:
    lines: list[bytes] = []
    line = b""
    for name in names:
        if line and len(line) + len(name) > _NAMES_LINE:
            lines.append(line)
            line = b""
        line += name + b":"
    lines.append(line)
    return b"\r\n\t".join(lines).removesuffix(b":")
