"""Questions to name servers by dnspython: where c-ares will not ask, or hides part of the answer."""

import asyncio
from collections.abc import Sequence

import dns.asyncquery
import dns.exception
import dns.message
import dns.rcode
import dns.rdatatype
import dns.resolver

from duckmail.errors import NotFound, Unavailable

ROUNDS = 2
_PORT = 53


def servers(given: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Addresses with ports: the `given` ones (0: the usual port), or those of the system."""
    if given:
        return [(host, port or _PORT) for host, port in given]
    try:
        return [(str(each), _PORT) for each in dns.resolver.Resolver().nameservers]
    except dns.exception.DNSException:
        return []


async def ask(
    asked: Sequence[tuple[str, int]], name: str, kind: str, timeout: float, flags: int = 0
) -> dns.message.Message:
    """The answer of the first of the servers that gives one, which may be that there is no such name.

    `flags`: set in the question. `timeout`: seconds for one server, by UDP and again by TCP.

    Raises: NotFound: it cannot be a name. Unavailable: none answers.
    """
    try:
        query = dns.message.make_query(name, dns.rdatatype.from_text(kind), use_edns=0, payload=1232)
    except (dns.exception.DNSException, ValueError):
        raise NotFound("Not a name") from None
    query.flags |= flags
    for _ in range(ROUNDS):
        for host, port in asked:
            try:
                async with asyncio.timeout(2 * timeout):
                    response, _ = await dns.asyncquery.udp_with_fallback(query, host, timeout, port)
            except (dns.exception.DNSException, OSError, TimeoutError):
                continue
            if response.rcode() in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
                return response
    raise Unavailable("DNS does not answer")
