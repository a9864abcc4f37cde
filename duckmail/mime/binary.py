"""Messages whose parts are binary, made such that every IMAP client can be given their octets (RFC 3516 §4.4)."""

from binascii import b2a_base64

from duckmail.errors import UnknownEncoding
from duckmail.mime.header import Lookup, select_fields
from duckmail.mime.index import LEAF, Node
from duckmail.mime.message import message_of
from duckmail.mime.scan import scan

_LINE = 57  # octets on a line of base64 (RFC 2045 §6.8: 76 characters)


def without_binary(raw: bytes | bytearray) -> bytes | bytearray:
    """The same message with its binary parts in base64; the very same object when it has none.

    Raises:
        UnknownEncoding: there is a NUL where no encoding can hide it: in a header, in a part that is not said to be
            binary.
    """
    message = message_of(raw)
    index = scan(message)
    pieces: list[bytes] = []
    at = 0
    for node in index.nodes:
        if node.kind is LEAF and node.encoding == "binary" and _needs(bytes(raw[node.body_start : node.body_end])):
            pieces.append(bytes(raw[at : node.header_start]))
            pieces.append(_in_base64(bytes(raw[node.header_start : node.body_start]), raw, node))
            at = node.body_end
    pieces.append(bytes(raw[at:]))
    if any(b"\0" in piece for piece in pieces):
        raise UnknownEncoding("There is a NUL in a part that is not binary")
    return b"".join(pieces) if len(pieces) > 1 else raw


def _needs(body: bytes) -> bool:
    return b"\0" in body or body.count(b"\r") != body.count(b"\n") or body.count(b"\r\n") != body.count(b"\n")


def _in_base64(header: bytes, raw: bytes | bytearray, node: Node) -> bytes:
    if Lookup(header).first(b"content-transfer-encoding") is None:
        raise AssertionError("a part without an encoding is not binary")
    rest = select_fields(header, frozenset((b"Content-Transfer-Encoding",)), True).removesuffix(b"\r\n")
    body = raw[node.body_start : node.body_end]
    lines = (b2a_base64(body[start : start + _LINE], newline=False) + b"\r\n" for start in range(0, len(body), _LINE))
    return rest + b"Content-Transfer-Encoding: base64\r\n\r\n" + b"".join(lines)
