"""DNS by way of a resolver that validates (DNSSEC): what it answers, and whether it vouches for it.

The bit AD of an answer is only worth as much as the way to the resolver: one on this host, or in a network that is
trusted (`outbound.dnssec`, RFC 7672 §2.2). Answers are kept for their TTL, and not for more than some minutes.
"""

import asyncio
import contextlib
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import dns.exception
import dns.flags
import dns.message
import dns.rdatatype
import dns.rdtypes.ANY.MX
import dns.rdtypes.ANY.TLSA

from duckmail.clients import questions
from duckmail.clients.dns import parse_server
from duckmail.errors import NotFound
from duckmail.model.address import ascii_domain
from duckmail.model.transport import Tlsa

TIMEOUT = 3.0  # seconds for one question to one server
CONCURRENCY = 50
KEPT_SECONDS = 300.0
MOST_KEPT = 5_000
MOST_RECORDS = 100


@dataclass(frozen=True, slots=True)
class Answer:
    """`secure`: the resolver vouches for it, also for there being nothing. `name`: behind all aliases."""

    secure: bool
    name: str
    hosts: tuple[str, ...] = ()
    tlsa: tuple[Tlsa, ...] = ()


class ValidatedDns:
    """`nameservers`: as `Dns` has them. Raises: ValueError."""

    def __init__(self, nameservers: Sequence[str] = (), *, timeout: float = TIMEOUT) -> None:
        self._servers = questions.servers([parse_server(text) for text in nameservers])
        self._timeout = timeout
        self._turns = asyncio.Semaphore(CONCURRENCY)
        self._kept: OrderedDict[tuple[str, str], tuple[float, Answer]] = OrderedDict()

    async def ask(self, name: str, kind: str) -> Answer:
        """`kind`: MX (hosts in lower case), A, AAAA (that they are there), TLSA. No such name is an answer too.

        Raises: Unavailable: none for now; a resolver that finds forged records says no more than that.
        """
        key = (name.removesuffix(".").lower(), kind)
        until, known = self._kept.get(key, (0.0, None))
        if known is not None and until > time.monotonic():
            return known
        response = await self._response(*key)
        seconds, answer = _answer(response)
        self._kept[key] = (time.monotonic() + seconds, answer)
        self._kept.move_to_end(key)
        if len(self._kept) > MOST_KEPT:
            self._kept.popitem(last=False)
        return answer

    async def _response(self, name: str, kind: str) -> dns.message.Message:
        try:
            plain = _ascii(name)
        except ValueError:
            raise NotFound("Not a name") from None
        async with self._turns:
            # RFC 6840 §5.7: AD in a question asks for it in the answer.
            return await questions.ask(self._servers, plain, kind, self._timeout, dns.flags.AD)


def _answer(response: dns.message.Message) -> tuple[float, Answer]:
    """With the seconds to keep it."""
    secure = bool(response.flags & dns.flags.AD)
    hosts: list[str] = []
    tlsa: list[Tlsa] = []
    seconds = KEPT_SECONDS
    for found in response.answer:
        seconds = min(seconds, float(found.ttl))
        for data in list(found)[:MOST_RECORDS]:
            if isinstance(data, dns.rdtypes.ANY.MX.MX):
                hosts.append(str(data.exchange).removesuffix(".").lower())
            elif isinstance(data, dns.rdtypes.ANY.TLSA.TLSA):
                tlsa.append(Tlsa(data.usage, data.selector, data.mtype, bytes(data.cert)))
            elif data.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA):
                hosts.append(str(data))
    name = str(response.question[0].name)
    if isinstance(response, dns.message.QueryMessage):
        with contextlib.suppress(dns.exception.DNSException):
            name = str(response.canonical_name())
    return seconds, Answer(secure, name.removesuffix(".").lower(), tuple(hosts), tuple(tlsa))


def _ascii(name: str) -> str:
    """A name with underscores, or one of a host."""
    labels = name.split(".")
    prefixes = [label for label in labels if label.startswith("_")]
    return ".".join([*prefixes, ascii_domain(".".join(labels[len(prefixes) :]))])
