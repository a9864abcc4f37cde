"""The PROXY protocol header, versions 1 and 2 (haproxy.org, "The PROXY protocol", 2020/03/05), receiver's side.

A pure function over the octets so far, so that the caller can peek at a socket and consume exactly the header: what
follows may be a TLS handshake that somebody else must read from its first octet.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from struct import unpack_from

MAX_V1 = 107  # octets with CRLF: §2.1, the worst case of a complete line
MAX_V2 = 536  # octets: §2, "the smallest MTU", within which a sender keeps the header so that it comes in one piece
LONGEST = max(MAX_V1, MAX_V2)

_V1_START = b"PROXY "
_V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_FIXED = 16  # octets: signature, version and command, family and transport, length

# §2.2: family and transport of stream sockets -> octets of the address block. Datagrams never reach a listener of ours.
_UNSPEC = 0x00
_TCP4, _TCP6, _UNIX = 0x11, 0x21, 0x31
_ADDRESS_OCTETS = {_TCP4: 12, _TCP6: 36, _UNIX: 216}
_UNIX_PATH = 108


class ProxyError(ValueError):
    """Not a PROXY header, or a malformed one: the connection must be dropped (§2: never guess)."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the proxied connection came from: address text and port, or a unix path and 0."""

    host: str
    port: int
    unix: bool = False


@dataclass(frozen=True, slots=True)
class Header:
    """A complete header: `length` octets; `source` is None when the connection is the proxy's own (a health check)."""

    length: int
    source: Source | None


def parse(data: bytes) -> Header | None:
    """The header at the start of `data`; None while it is incomplete, so every octet so far belongs to it.

    Raises:
        ProxyError: no continuation of `data` can be a header. Decided at the first octet that shows it.
    """
    if data[:1] == _V1_START[:1]:
        return _v1(data)
    if data[: len(_V2_SIGNATURE)] != _V2_SIGNATURE[: len(data)]:
        raise ProxyError("no PROXY header")
    return _v2(data)


def _v1(data: bytes) -> Header | None:
    if data[: len(_V1_START)] != _V1_START[: len(data)]:
        raise ProxyError("no PROXY header")
    end = data.find(b"\r\n", 0, MAX_V1)
    if end < 0:
        if len(data) >= MAX_V1:
            raise ProxyError("PROXY line too long")
        return None
    words = data[:end].split(b" ")
    length = end + 2
    # §2.1: after UNKNOWN "the receiver must ignore anything presented before the CRLF"
    if words[1] == b"UNKNOWN":
        return Header(length, None)
    if len(words) != 6 or words[1] not in (b"TCP4", b"TCP6"):
        raise ProxyError("malformed PROXY line")
    _address(words[3], words[1]), _port(words[5])
    return Header(length, Source(_address(words[2], words[1]), _port(words[4])))


def _address(word: bytes, family: bytes) -> str:
    try:
        text = word.decode("ascii")
        if "%" in text:  # a zone index means something on the proxy's machine only
            raise ProxyError("malformed PROXY address")
        return str(IPv4Address(text) if family == b"TCP4" else IPv6Address(text))
    except ValueError:
        raise ProxyError("malformed PROXY address") from None


def _port(word: bytes) -> int:
    # §2.1: decimal, 0 to 65535, no leading zero. `isdigit` on bytes is ASCII only, unlike `int`.
    if not word.isdigit() or len(word) > 5 or (word[:1] == b"0" and word != b"0") or int(word) > 65535:
        raise ProxyError("malformed PROXY port")
    return int(word)


def _v2(data: bytes) -> Header | None:
    if len(data) < _V2_FIXED:
        return None
    version_command, family, size = unpack_from("!BBH", data, len(_V2_SIGNATURE))
    # §2.2: the version is 2, the command 0 (LOCAL) or 1 (PROXY); a receiver must drop everything else
    if version_command not in (0x20, 0x21):
        raise ProxyError("unknown PROXY version or command")
    length = _V2_FIXED + size
    if length > MAX_V2:
        raise ProxyError("PROXY header too long")
    if version_command == 0x21 and family != _UNSPEC and _ADDRESS_OCTETS.get(family, MAX_V2) > size:
        raise ProxyError("unknown PROXY family, or its addresses are cut")
    if len(data) < length:
        return None
    if version_command == 0x20 or family == _UNSPEC:
        return Header(length, None)
    return Header(length, _v2_source(data, family))


def _v2_source(data: bytes, family: int) -> Source:
    if family == _TCP4:
        address, port = unpack_from("!4s4xH", data, _V2_FIXED)
        return Source(str(IPv4Address(address)), port)
    if family == _TCP6:
        address, port = unpack_from("!16s16xH", data, _V2_FIXED)
        return Source(str(IPv6Address(address)), port)
    path = data[_V2_FIXED : _V2_FIXED + _UNIX_PATH].rstrip(b"\0")
    return Source(path.decode("utf-8", "backslashreplace"), 0, unix=True)
