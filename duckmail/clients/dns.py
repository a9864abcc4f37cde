"""DNS look-ups: a domain's mail exchangers and a host's addresses for sending, records for checking who sends."""

import asyncio
import ipaddress
import random
import re
from collections.abc import Sequence
from itertools import chain, zip_longest

import aiodns
import dns.rcode
import dns.rdata
import dns.rdtypes.ANY.MX
import dns.rdtypes.ANY.PTR
import dns.rdtypes.ANY.TXT
import dns.rdtypes.IN.A
import dns.rdtypes.IN.AAAA
import pycares

from duckmail.clients import questions
from duckmail.errors import NotFound, Unavailable
from duckmail.model.address import ascii_domain
from duckmail.model.exchangers import Exchangers

TIMEOUT = 3.0  # seconds for the first try of one server; c-ares doubles it with each further round
TRIES = 2  # rounds over all name servers
DEADLINE = 20.0  # seconds for one question, whatever c-ares does
CONCURRENCY = 50  # questions at one time
MAX_RECORDS = 100  # of one name and kind that are looked at
MAX_EXCHANGERS = 20  # a domain with more is either very large or hostile: the best ones are enough

# Answers that will be the same tomorrow: there is no such name, it has no such records, it cannot be a name.
_NO_NAME = frozenset({aiodns.error.ARES_ENOTFOUND, aiodns.error.ARES_EBADNAME})
_NO_RECORDS = frozenset({aiodns.error.ARES_ENODATA})

_ODD = re.compile(r"[^A-Za-z0-9_.-]")

_shuffle = random.SystemRandom().shuffle


class Dns:
    """A stub resolver: asks the given name servers, or those of the system, and caches by TTL (in c-ares).

    It belongs to the loop on which it is first used. `close` it at the end.

    Args:
        nameservers: `192.0.2.53`, `192.0.2.53:5353`, `2001:db8::53`, `[2001:db8::53]:5353`; none: the system's.

    Raises:
        ValueError: a name server is no address.
    """

    def __init__(
        self,
        nameservers: Sequence[str] = (),
        *,
        timeout: float = TIMEOUT,
        tries: int = TRIES,
        deadline: float = DEADLINE,
    ) -> None:
        self._given = [parse_server(text) for text in nameservers]
        self._nameservers = [_server(*each) for each in self._given]
        self._timeout, self._tries, self._deadline = timeout, tries, deadline
        self._turns = asyncio.Semaphore(CONCURRENCY)
        self._resolver: aiodns.DNSResolver | None = None
        self._odd: list[tuple[str, int]] | None = None  # servers for odd names

    async def close(self) -> None:
        """End what is being asked; nothing can be asked after it but by a new object."""
        if self._resolver is not None:
            await self._resolver.close()

    async def exchangers(self, domain: str) -> Exchangers:
        """The hosts that take mail for `domain`, best first, equal ones in random order; none if it takes none.

        An address literal (`[192.0.2.1]`) is the address itself.

        Raises:
            NotFound: there is no such domain, or it has neither mail exchangers nor an address.
            Unavailable: no clear answer for now.
        """
        if domain.startswith("["):
            return Exchangers(((0, _literal(domain)),))
        name = _name(domain)
        found = await self._mail_exchangers(name)
        if not found:
            # RFC 5321 §5.1: without MX the domain is its own mail exchanger, if it has an address.
            await self.addresses(name)
            return Exchangers(((0, name),))
        hosts = [(preference, host.removesuffix(".").lower()) for preference, host in found]
        # RFC 7505 §3: a single MX of "." says that the domain takes no mail.
        if len(hosts) == 1 and not hosts[0][1]:
            return Exchangers()
        _shuffle(hosts)  # RFC 5321 §5.1: equal preferences are randomized to spread the load
        best: dict[str, int] = {}
        for preference, host in sorted(hosts, key=lambda pair: pair[0]):
            if _is_host(host):
                best.setdefault(host, preference)
        if not best:
            raise NotFound(f"{name} has no mail exchanger with a usable name")
        return Exchangers(tuple((preference, host) for host, preference in best.items())[:MAX_EXCHANGERS])

    async def addresses(self, host: str) -> list[str]:
        """The IPv4 and IPv6 addresses of `host`, in turn.

        IPv4 goes first: more servers reach it, and many that are reached by IPv6 refuse senders without reverse DNS.

        Raises:
            NotFound: it has none.
            Unavailable: no clear answer for now.
        """
        name = _name(host)
        async with self._turns:
            both = [self._ask(name, "A"), self._ask(name, "AAAA")]
            try:
                async with asyncio.timeout(self._deadline):
                    answers = await asyncio.gather(*both, return_exceptions=True)
            except TimeoutError:
                raise Unavailable(f"DNS does not answer for {name}") from None
        by_family = [_texts(answer) for answer in answers]
        found = [text for text in chain.from_iterable(zip_longest(*by_family)) if text is not None]
        if not found:
            for answer in answers:
                if isinstance(answer, BaseException) and not _is_final(answer):
                    raise Unavailable(f"DNS does not answer for {name}", reason=str(answer)) from answer
            raise NotFound(f"{name} has no address")
        return found

    async def records(self, name: str, kind: str) -> list[str]:
        """The values of the records of a name, in order: A, AAAA, MX as `10 host`, SRV as `0 1 993 host`, TXT as one
        string; names without a final dot. [] when there are none.

        Raises:
            Unavailable: no clear answer for now.
        """
        try:
            async with self._turns, asyncio.timeout(self._deadline):
                answer = await self._ask(_name(name), kind)
        except aiodns.error.DNSError as error:
            if _is_final(error):
                return []
            raise Unavailable(f"DNS does not answer for {name}", reason=str(error)) from error
        except TimeoutError:
            raise Unavailable(f"DNS does not answer for {name}") from None
        found = (_value(record.data) for record in answer.answer)
        return sorted(value for value in found if value is not None)

    async def _mail_exchangers(self, name: str) -> list[tuple[int, str]]:
        """(preference, host) of each MX record; none when the name exists without."""
        try:
            async with self._turns, asyncio.timeout(self._deadline):
                answer = await self._ask(name, "MX")
        except aiodns.error.DNSError as error:
            if error.args[0] in _NO_RECORDS:
                return []
            if _is_final(error):
                raise NotFound(f"There is no domain {name}") from None
            raise Unavailable(f"DNS does not answer for {name}", reason=str(error)) from error
        except TimeoutError:
            raise Unavailable(f"DNS does not answer for {name}") from None
        # A CNAME may stand before them.
        records = [record.data for record in answer.answer]
        return [(data.priority, data.exchange) for data in records if isinstance(data, pycares.MXRecordData)]

    async def answers(self, name: str, kind: str) -> list[str]:
        """As `records`, of a name as DNS has it, as they come, and telling where there is no such name.

        `kind`: A, AAAA, MX (`10 host`), PTR, TXT (strings joined, octets as Latin-1).

        Raises:
            NotFound: there is no such name.
            Unavailable: no clear answer for now.
        """
        try:
            async with self._turns, asyncio.timeout(self._deadline):
                if _ODD.search(name):
                    return await self._odd_answers(name, kind)
                answer = await self._ask(name, kind)
        except aiodns.error.DNSError as error:
            if error.args[0] in _NO_RECORDS:
                return []
            if _is_final(error):
                raise NotFound("There is no such name") from None
            raise Unavailable("DNS does not answer", reason=str(error)) from error
        except TimeoutError:
            raise Unavailable("DNS does not answer") from None
        return [text for record in answer.answer if (text := _text(record.data)) is not None][:MAX_RECORDS]

    async def _odd_answers(self, name: str, kind: str) -> list[str]:
        """Of a name that no host can have: c-ares does not ask for those, yet a domain may (RFC 7208 §7.1).

        Raises: NotFound, Unavailable.
        """
        if self._odd is None:
            self._odd = questions.servers(self._given)
        response = await questions.ask(self._odd, name, kind, self._timeout)
        if response.rcode() == dns.rcode.NXDOMAIN:
            raise NotFound("There is no such name")
        found = (_odd_text(data) for records in response.answer for data in records)
        return [text for text in found if text is not None][:MAX_RECORDS]

    def _ask(self, name: str, kind: str) -> asyncio.Future[pycares.DNSResult]:
        if self._resolver is None:
            self._resolver = aiodns.DNSResolver(self._nameservers or None, timeout=self._timeout, tries=self._tries)
        return self._resolver.query_dns(name, kind)


def _value(data: object) -> str | None:
    match data:
        case pycares.ARecordData() | pycares.AAAARecordData():
            return data.addr
        case pycares.MXRecordData():
            return f"{data.priority} {data.exchange.removesuffix('.')}"
        case pycares.SRVRecordData():
            return f"{data.priority} {data.weight} {data.port} {data.target.removesuffix('.')}"
        case pycares.TXTRecordData():
            return data.data.decode("utf-8", "replace")
    return None


def _is_final(error: BaseException) -> bool:
    return isinstance(error, aiodns.error.DNSError) and error.args[0] in _NO_NAME | _NO_RECORDS


def _texts(answer: pycares.DNSResult | BaseException) -> list[str]:
    if isinstance(answer, BaseException):
        return []
    kinds = (pycares.ARecordData, pycares.AAAARecordData)
    return [record.data.addr for record in answer.answer if isinstance(record.data, kinds)]


def _text(data: object) -> str | None:
    """A record as text; None for kinds that nobody asks for, such as a CNAME ahead of the answer."""
    match data:
        case pycares.ARecordData() | pycares.AAAARecordData():
            return data.addr
        case pycares.TXTRecordData():
            return data.data.decode("latin-1")
        case pycares.MXRecordData():
            return f"{data.priority} {data.exchange.removesuffix('.').lower()}"
        case pycares.PTRRecordData():
            return data.dname.removesuffix(".").lower()
    return None


def _odd_text(data: dns.rdata.Rdata) -> str | None:
    match data:
        case dns.rdtypes.IN.A.A() | dns.rdtypes.IN.AAAA.AAAA():
            return str(data.address)
        case dns.rdtypes.ANY.TXT.TXT():
            return b"".join(data.strings).decode("latin-1")
        case dns.rdtypes.ANY.MX.MX():
            return f"{data.preference} {str(data.exchange).removesuffix('.').lower()}"
        case dns.rdtypes.ANY.PTR.PTR():
            return str(data.target).removesuffix(".").lower()
    return None


def _name(domain: str) -> str:
    try:
        return ascii_domain(domain)
    except ValueError:
        raise NotFound("Not a domain name") from None


def _is_host(name: str) -> bool:
    """A name that addresses can be asked for: RFC 5321 §5.1 wants no address in its place, but some write one."""
    try:
        ascii_domain(name)
    except ValueError:
        return False
    # RFC 3696 §2: a top-level domain is not all digits, so this is an address.
    return not name.rpartition(".")[2].isdigit()


def _literal(domain: str) -> str:
    """The address in an address literal (RFC 5321 §4.1.3)."""
    text = domain.removeprefix("[").removesuffix("]")
    try:
        if text[:5].lower() == "ipv6:":
            return str(ipaddress.IPv6Address(text[5:]))
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise NotFound("Not an address literal") from None


def parse_server(text: str) -> tuple[str, int]:
    """Address and port of a name server, 0 for the usual one. Raises: ValueError: it is none."""
    if text.startswith("["):
        host, _, port = text[1:].partition("]")
        port = port.removeprefix(":")
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    else:
        host, port = text, ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"not the address of a name server: {text!r}") from None
    if not port.isdigit() and port:
        raise ValueError(f"not a port of a name server: {text!r}")
    return str(address), int(port or 0)


def _server(host: str, port: int) -> str:
    """A name server as c-ares reads it. `port`: 0 for the usual one."""
    bracketed = f"[{host}]" if ":" in host else host
    return f"{bracketed}:{port}" if port else bracketed
