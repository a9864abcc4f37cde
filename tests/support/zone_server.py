"""An authoritative DNS server of a zone in a file's words, by dnslib, on loopback: for what is more than MX and A."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from dnslib import QTYPE, RCODE, RR, DNSRecord


class ZoneServer(asyncio.DatagramProtocol):
    """`broken`: names for which it answers SERVFAIL. `validated`: domains whose names it says it has validated."""

    def __init__(self, zone: str) -> None:
        self.zone = RR.fromZone(zone)
        self.broken: set[str] = set()
        self.validated: set[str] = set()
        self.address = ""
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        host, port = transport.get_extra_info("sockname")
        self.address = f"{host}:{port}"

    def datagram_received(self, data: bytes, addr: Any) -> None:
        asked = DNSRecord.parse(data)
        reply = asked.reply()
        name = asked.q.qname
        same = [record for record in self.zone if record.rname == name]
        labels = str(name).rstrip(".").split(".")
        # Not as in the question, from where dnslib has it.
        reply.header.ad = int(any(".".join(labels[at:]) in self.validated for at in range(len(labels))))
        if str(name).rstrip(".") in self.broken:
            reply.header.rcode = RCODE.SERVFAIL
        elif not same:
            reply.header.rcode = RCODE.NXDOMAIN
        # What a CNAME leads to within the zone goes along (RFC 1034 §4.3.2).
        targets = [str(record.rdata).lower() for record in same if QTYPE[record.rtype] == "CNAME"]
        same += [record for record in self.zone if str(record.rname).lower() in targets]
        for record in same:
            if QTYPE[record.rtype] in {QTYPE[asked.q.qtype], "CNAME"}:
                reply.add_answer(record)
        self._transport.sendto(reply.pack(), addr)


@contextlib.asynccontextmanager
async def zone_server(zone: str) -> AsyncIterator[ZoneServer]:
    """The server on a free port; `address` is what a resolver takes."""
    transport, server = await asyncio.get_running_loop().create_datagram_endpoint(
        lambda: ZoneServer(zone), local_addr=("127.0.0.1", 0)
    )
    try:
        yield server
    finally:
        transport.close()
