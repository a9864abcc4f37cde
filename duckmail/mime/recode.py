"""A message as another server can take it: parts re-encoded in quoted-printable or base64, headers in encoded words.

What a signature covers (`multipart/signed`) is never touched, nor what may not be encoded (`message/partial` and the
like): such a message cannot be sent to that server. Delimiters, and all octets that need no change, stay as they are.
"""

import base64
import binascii
import email.policy
import re
from collections.abc import Iterator
from dataclasses import dataclass

from duckmail.mime.header import Lookup
from duckmail.mime.index import Index, Kind, Node
from duckmail.mime.scan import scan
from duckmail.mime.transfer import decoded

LONGEST_LINE = 998  # octets without CRLF (RFC 5322 §2.1.1)

_IDENTITY = frozenset({"7bit", "8bit", "binary"})
_FIELD = re.compile(rb"[^\r\n]*(?:\r\n[ \t][^\r\n]*)*\r\n")
_BROKEN = re.compile(rb"\r(?!\n)|(?<!\r)\n|\0")  # RFC 2045 §2.7, §2.8: what is in no text of lines
_POLICY = email.policy.SMTP


class Fixed(ValueError):
    """The message cannot be changed so. `status`: RFC 3463."""

    def __init__(self, text: str, status: str = "5.6.3") -> None:
        self.status = status
        super().__init__(text)


@dataclass(frozen=True, slots=True)
class Form:
    """What a server takes. `eight_bit`: 8BITMIME; `utf8`: SMTPUTF8."""

    eight_bit: bool
    utf8: bool


def longest_line(raw: bytes) -> int:
    """Octets of the longest line, without its end."""
    return max((len(line) - line.endswith(b"\r") for line in raw.split(b"\n")), default=0)


def recoded(raw: bytes, form: Form) -> bytes:
    """The message in this form, as lines. CPU: in a thread. Raises: Fixed."""
    return b"".join(_Recoder(raw, form).run())


class _Recoder:
    def __init__(self, raw: bytes, form: Form) -> None:
        self._raw = raw
        self._form = form
        self._index: Index = scan(raw)

    def run(self) -> Iterator[bytes]:
        at = 0
        for position, node in enumerate(self._index.nodes):
            yield self._between(at, node.header_start)
            inside = self._is_signed(position)
            body = self._body(node, inside) if node.kind is Kind.LEAF else None
            yield self._header(node, body, inside, first=position == 0)
            at = node.body_start
            if body is not None:
                yield body[0]
                at = node.body_end
        yield self._between(at, len(self._raw))

    def _is_signed(self, position: int) -> bool:
        nodes = self._index.nodes
        while position >= 0:
            if nodes[position].media_type == "multipart/signed":
                return True
            position = nodes[position].parent
        return False

    def _fits(self, octets: bytes) -> bool:
        """Whether these can be sent as they are."""
        ascii_enough = self._form.eight_bit or octets.isascii()
        return ascii_enough and not _BROKEN.search(octets) and longest_line(octets) <= LONGEST_LINE

    def _between(self, start: int, stop: int) -> bytes:
        """Delimiters, and what is in no part."""
        octets = self._raw[start:stop]
        if not self._fits(octets):
            raise Fixed("A part that is none cannot be encoded")
        return octets

    # -- bodies ----------------------------------------------------------------------------------------------------

    def _body(self, node: Node, signed: bool) -> tuple[bytes, bytes]:
        """The body, and its encoding if that is another one, else b""."""
        octets = self._raw[node.body_start : node.body_end]
        if self._fits(octets):
            # What is declared as binary and has lines all the same needs no more than another word.
            plain = b"8bit" if not octets.isascii() else b"7bit"
            return octets, plain if node.encoding == "binary" and not signed else b""
        if signed:
            raise Fixed("A signed part cannot be encoded anew")
        declared = Lookup(self._raw[node.header_start : node.body_start]).first(b"content-type") or b""
        if node.type in ("message", "multipart") or declared.strip().lower().startswith((b"message/", b"multipart/")):
            raise Fixed("A part of this kind cannot be encoded")  # RFC 2046 §5.2.2, RFC 2045 §6.4
        if node.encoding in _IDENTITY:
            if node.type == "text" and b"\0" not in octets:
                return quoted(octets), b"quoted-printable"
            return _base64(octets), b"base64"
        if node.encoding in ("base64", "quoted-printable"):
            return _base64(b"".join(decoded(octets, 0, len(octets), node.encoding))), b"base64"
        raise Fixed("A part has an encoding that is not known")

    # -- headers ---------------------------------------------------------------------------------------------------

    def _header(self, node: Node, body: tuple[bytes, bytes] | None, signed: bool, *, first: bool) -> bytes:
        block = self._raw[node.header_start : node.body_start]
        encoding = body[1] if body is not None else b""
        if node.kind is not Kind.LEAF and not signed and node.encoding == "binary":
            encoding = b"8bit"
        if node.kind is not Kind.LEAF and not signed and not self._form.eight_bit and node.encoding != "7bit":
            encoding = b"7bit"
        changed = encoding or not self._fits(block) or not (self._form.utf8 or block.isascii())
        if not changed:
            return block
        if signed and not (first and not encoding):
            raise Fixed("A signed part cannot be encoded anew")
        return self._rewritten(node, block, encoding, first=first)

    def _rewritten(self, node: Node, block: bytes, encoding: bytes, *, first: bool) -> bytes:
        if not (block.endswith(b"\r\n\r\n") or block == b"\r\n"):
            raise Fixed("A header has no end")
        kept: list[bytes] = []
        names: set[bytes] = set()
        for field in _FIELD.findall(block[:-2]):
            name = field.partition(b":")[0].strip().lower()
            names.add(name)
            if encoding and name == b"content-transfer-encoding":
                continue
            kept.append(self._field(field))
        if encoding:
            if first and b"mime-version" not in names:
                kept.append(b"MIME-Version: 1.0\r\n")
                if b"content-type" not in names:
                    # RFC 2045 §5.2 says US-ASCII for what it has not; that is not what it is.
                    kept.append(b"Content-Type: text/plain; charset=unknown-8bit\r\n")
            kept.append(b"Content-Transfer-Encoding: " + encoding + b"\r\n")
        return b"".join(kept) + b"\r\n"

    def _field(self, field: bytes) -> bytes:
        needs_ascii = not field.isascii() and not (self._form.utf8 and self._form.eight_bit)
        if not needs_ascii and longest_line(field) <= LONGEST_LINE:
            return field
        name, _, value = field.partition(b":")
        try:
            text = " ".join(value.decode("utf-8").split())
            made = _POLICY.header_factory(name.decode("ascii").strip(), text)
            addresses = getattr(made, "addresses", ())
            written: bytes = made.fold(policy=_POLICY).encode("ascii")
        except Exception:  # whatever a header that others wrote does to the parser of the library
            raise Fixed("A header field cannot be encoded", "5.6.7") from None
        # RFC 6532 §3.2: an address beyond ASCII has no other form.
        if any(not address.addr_spec.isascii() for address in addresses) or longest_line(written) > LONGEST_LINE:
            raise Fixed("A header field cannot be encoded", "5.6.7")
        return written


def quoted(octets: bytes) -> bytes:
    """Quoted-printable (RFC 2045 §6.7); line ends stay, a CR or LF alone is encoded."""
    lines = octets.split(b"\r\n")
    return b"\r\n".join(binascii.b2a_qp(line, istext=False).replace(b"=\n", b"=\r\n") for line in lines)


def _base64(octets: bytes) -> bytes:
    return base64.encodebytes(octets).replace(b"\n", b"\r\n")
