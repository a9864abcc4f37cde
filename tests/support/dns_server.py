"""An authoritative DNS server of a few names, on loopback: enough of RFC 1035 for a stub resolver.

    zone = {("example.com", "MX"): [(10, "mx1.example.com"), (20, "mx2.example.com")],
            ("mx1.example.com", "A"): ["192.0.2.1"],
            ("broken.example", "MX"): SERVFAIL, ("slow.example", "MX"): SILENCE}

A name with no record of any kind is NXDOMAIN; one with others is an empty answer. `("alias.example", "CNAME")` answers
every type with the CNAME and what its target has.
"""

import asyncio
import contextlib
import ipaddress
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

TYPES: Final = {"A": 1, "CNAME": 5, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28}
_NAMES = {number: name for name, number in TYPES.items()}
SERVFAIL: Final = "SERVFAIL"
REFUSED: Final = "REFUSED"
SILENCE: Final = "SILENCE"
_RCODES = {SERVFAIL: 2, REFUSED: 5}
_NXDOMAIN = 3

Zone = Mapping[tuple[str, str], Sequence[Any] | str]


class DnsServer(asyncio.DatagramProtocol):
    """`asked`: every question that came, as (name, type)."""

    def __init__(self, zone: Zone) -> None:
        self.zone = dict(zone)
        self.asked: list[tuple[str, str]] = []
        self.address = ""
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        host, port = transport.get_extra_info("sockname")
        self.address = f"{host}:{port}"

    def datagram_received(self, data: bytes, addr: Any) -> None:
        answer = self._answer(data)
        if answer:
            self._transport.sendto(answer, addr)

    def _answer(self, query: bytes) -> bytes:
        ident = struct.unpack_from("!H", query)[0]
        labels, position = [], 12
        while length := query[position]:
            labels.append(query[position + 1 : position + 1 + length].decode("latin-1").lower())
            position += 1 + length
        name, kind = ".".join(labels), _NAMES.get(struct.unpack_from("!H", query, position + 1)[0], "?")
        question = query[12 : position + 5]
        self.asked.append((name, kind))
        known = self.zone.get((name, kind))
        if known == SILENCE:
            return b""
        code = _RCODES.get(known, 0) if isinstance(known, str) else 0
        records = [] if isinstance(known, str) else self._records(name, kind)
        if not code and not records and not any(owner == name for owner, _ in self.zone):
            code = _NXDOMAIN
        # Flags: a response, authoritative, recursion desired and available.
        header = struct.pack("!6H", ident, 0x8580 | code, 1, len(records), 0, 0)
        return header + question + b"".join(records)

    def _records(self, name: str, kind: str) -> list[bytes]:
        alias = self.zone.get((name, "CNAME"))
        if alias and kind != "CNAME":
            return [_record(name, "CNAME", alias[0]), *self._records(alias[0], kind)]
        return [_record(name, kind, value) for value in self.zone.get((name, kind), ())]


def _record(name: str, kind: str, value: Any) -> bytes:
    if kind == "MX":
        data = struct.pack("!H", value[0]) + _name(value[1])
    elif kind in {"CNAME", "PTR"}:
        data = _name(value)
    elif kind == "TXT":
        # RFC 1035 §3.3.14: one or more strings of at most 255 octets.
        octets = value.encode("latin-1")
        strings = [octets[at : at + 255] for at in range(0, len(octets), 255)] or [b""]
        data = b"".join(bytes([len(each)]) + each for each in strings)
    else:
        data = ipaddress.ip_address(value).packed
    return _name(name) + struct.pack("!HHIH", TYPES[kind], 1, 60, len(data)) + data


def _name(name: str) -> bytes:
    labels = [label.encode() for label in name.strip(".").split(".") if label]
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


@contextlib.asynccontextmanager
async def dns_server(zone: Zone) -> AsyncIterator[DnsServer]:
    """The server on a free port; `address` is what a resolver takes."""
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: DnsServer(zone), local_addr=("127.0.0.1", 0)
    )
    try:
        yield server
    finally:
        transport.close()
