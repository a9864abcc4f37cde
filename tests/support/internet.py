"""A small Internet on loopback: an authoritative name server (dnslib) and real mail servers (aiosmtpd), each with its
own address, name, certificate and habits; the policies of domains by HTTPS.

    async with internet(tmp_path, zone, [Host("mx.good.test"), Host("mx.slow.test", slow=0.2)]) as net:
        net.remote(slots)        # what sends to it, made of the product's own parts

`{mx.good.test}` in a zone stands for the address of that host. All listen on one port, the same on every address.
"""

import asyncio
import datetime
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from duckmail.clients.dns import Dns
from duckmail.clients.http import Http, Reply
from duckmail.clients.poster import HttpPoster
from duckmail.clients.validated import ValidatedDns
from duckmail.model.transport import Session
from duckmail.runtime.outward import Outward
from duckmail.services.queue.remote import Remote
from duckmail.services.queue.slots import Slots
from duckmail.services.transport.policies import Policies, Records
from duckmail.services.transport.security import Security
from protocols.smtp.client import SmtpCourier
from protocols.smtp.client_settings import SmtpClientSettings, client_contexts
from tests.support.zone_server import ZoneServer, zone_server

HOSTNAME = "mx.here.test"


@dataclass(frozen=True)
class Mail:
    """A message that a server has taken. `tls`: whether it came under TLS. `parameters`: of MAIL."""

    sender: str
    recipients: tuple[str, ...]
    octets: bytes
    tls: bool
    parameters: tuple[str, ...]
    session: int


@dataclass
class Host:
    """A mail server. `taken`: what it has. `sessions`: connections made to it. `names`: its certificate's.

    greeting: said to everybody instead of 220. greylists: defers whom it sees first. drops: so many messages whose
    connection breaks at the end of the data, not taken. unsaid: so many that it takes without saying so. slow: seconds
    before each answer to the data. broken_tls: its handshake never succeeds. hides: extensions it does not have.
    """

    name: str
    tls: bool = False
    broken_tls: bool = False
    stranger: bool = False  # its certificate is its own work
    names: tuple[str, ...] = ()
    expired: bool = False
    greeting: str = ""
    refuses: Mapping[str, str] = field(default_factory=dict)  # recipient -> reply
    greylists: bool = False
    drops: int = 0
    unsaid: int = 0
    slow: float = 0.0
    hides: frozenset[str] = frozenset()
    offers: tuple[str, ...] = ()
    most: int = 0  # recipients in one transaction, 0 for any number
    over: int = 0  # recipients named beyond it
    address: str = ""
    taken: list[Mail] = field(default_factory=list)
    sessions: int = 0
    seen: set[tuple[str, str]] = field(default_factory=set)
    certificate: x509.Certificate | None = None


class HostSession(SMTP):
    """One connection to a host."""

    line_length_limit = 1 << 20

    def __init__(self, host: Host, context: ssl.SSLContext | None, **more: Any) -> None:
        host.sessions += 1
        self.host, self.number = host, host.sessions
        super().__init__(
            _Habits(self), hostname=host.name, timeout=60, tls_context=context, enable_SMTPUTF8=True, **more
        )

    async def push(self, status: Any) -> None:
        if self.host.greeting and isinstance(status, str) and status.startswith("220 "):
            status = self.host.greeting
        await super().push(status)

    async def smtp_MAIL(self, arg: str | None) -> None:
        parameters = (arg or "").partition("> ")[2].split()
        self.parameters = tuple(parameters)
        mine = [each for each in parameters if each.upper() not in self.host.offers]
        await super().smtp_MAIL(" ".join([(arg or "").partition("> ")[0].removesuffix(">") + ">", *mine]))

    def cut(self) -> str:
        """Ends the connection without another word."""
        assert isinstance(self.transport, asyncio.WriteTransport)
        self.transport.abort()
        raise ConnectionResetError


class _Habits:
    """aiosmtpd's handler."""

    def __init__(self, session: HostSession) -> None:
        self.session, self.host = session, session.host

    async def handle_EHLO(self, server: Any, session: Any, envelope: Any, name: str, lines: list[str]) -> list[str]:
        session.host_name = name
        kept = [line for line in lines[:-1] if line[4:].split()[0] not in self.host.hides]
        return [*kept, *(f"250-{each}" for each in self.host.offers), lines[-1]]

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        host = self.host
        if host.most and len(envelope.rcpt_tos) >= host.most:
            host.over += 1
            return "452 4.5.3 Too many recipients"
        if address in host.refuses:
            return host.refuses[address]
        if host.greylists and (envelope.mail_from, address) not in host.seen:
            host.seen.add((envelope.mail_from, address))
            return "451 4.7.1 Greylisted, come back later"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 Ok"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        host = self.host
        await asyncio.sleep(host.slow)
        if host.drops:
            host.drops -= 1
            return self.session.cut()
        mail = Mail(
            envelope.mail_from,
            tuple(envelope.rcpt_tos),
            envelope.original_content,
            session.ssl is not None,
            self.session.parameters,
            self.session.number,
        )
        host.taken.append(mail)
        if host.unsaid:
            host.unsaid -= 1
            return self.session.cut()
        return "250 2.0.0 Taken"


class Authority:
    """Signs certificates; `file`: whom to trust."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign("Test Authority", self.key, None, None)
        self.file = folder / "authority.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def context(self, host: Host) -> ssl.SSLContext:
        """Of a server with the host's certificate; without any for one whose handshake never succeeds."""
        if host.broken_tls:
            return ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        key = ec.generate_private_key(ec.SECP256R1())
        issuer = None if host.stranger else self.key
        host.certificate = self._sign(host.name, key, issuer, host.names or (host.name,), expired=host.expired)
        file = self.folder / f"{host.name}.pem"
        pem = serialization.Encoding.PEM
        octets = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        octets += host.certificate.public_bytes(pem) + self.certificate.public_bytes(pem)
        file.write_bytes(octets)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _sign(
        self,
        name: str,
        key: ec.EllipticCurvePrivateKey,
        issuer: ec.EllipticCurvePrivateKey | None,
        names: Sequence[str] | None,
        *,
        expired: bool = False,
    ) -> x509.Certificate:
        """`names`: None for an authority."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        day = datetime.timedelta(days=1)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.certificate.subject if issuer else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - 3 * day)
            .not_valid_after(now - day if expired else now + day)
            .add_extension(x509.BasicConstraints(names is None, None), critical=True)
        )
        if names is not None:
            alternative = x509.SubjectAlternativeName([x509.DNSName(each) for each in names])
            builder = builder.add_extension(alternative, critical=False)
        return builder.sign(issuer or key, hashes.SHA256())


@dataclass(frozen=True)
class Naming:
    """What a zone is made of."""

    hosts: Mapping[str, Host]
    port: int
    authority: Authority


class ByPort:
    """The product's HTTP client, for policies on a port of this test's own."""

    def __init__(self, http: Http, port: int) -> None:
        self._http, self._port = http, port

    async def get(self, url: str, *, largest: int, redirects: int) -> Reply:
        host, _, path = url.removeprefix("https://").partition("/")
        return await self._http.get(f"https://{host}:{self._port}/{path}", largest=largest, redirects=redirects)


@dataclass
class Internet:
    """`noted`: what the sender noted of TLS. `pages`: the answers by HTTPS, by host: status line, headers and body."""

    dns: ZoneServer
    hosts: dict[str, Host]
    port: int
    authority: Authority
    courier: SmtpCourier
    resolver: Dns
    validated: ValidatedDns
    http: Http
    noted: list[Session]
    pages: dict[str, bytes]
    https_port: int

    def policies(self, records: Records) -> Policies:
        return Policies(records, self.resolver, ByPort(self.http, self.https_port))

    def remote(self, slots: Slots, *, tls: str = "may", records: Records | None = None, dnssec: bool = False) -> Remote:
        """`records`: of policies; without them nobody asks for any."""
        policies = self.policies(records) if records else None
        security = Security(tls, policies, self.validated if dnssec else None, self.noted.append, port=self.port)
        return Remote(self.courier, HttpPoster(self.http), self.resolver, slots, security=security, hostname=HOSTNAME)


def _addresses(count: int) -> tuple[int, list[str]]:
    """A port that is free on so many addresses of this test's own."""
    addresses = [f"127.0.77.{number + 1}" for number in range(count)]
    for _ in range(50):
        sockets: list[socket.socket] = []
        try:
            port = 0
            for address in addresses:
                sockets.append(socket.socket())
                sockets[-1].bind((address, port))
                port = sockets[-1].getsockname()[1]
        except OSError:
            continue
        else:
            return port, addresses
        finally:
            for each in sockets:
                each.close()
    raise RuntimeError("no port is free")


@asynccontextmanager
async def internet(
    folder: Path,
    zone: str | Callable[[Naming], str],
    hosts: Sequence[Host],
    *,
    policies: Mapping[str, str] | None = None,
    **settings: Any,
) -> AsyncIterator[Internet]:
    """`zone`: text, or what makes it. `policies`: by domain. `settings`: of the client."""
    loop = asyncio.get_running_loop()
    authority = Authority(folder)
    async with AsyncExitStack() as stack:
        port, addresses = _addresses(len(hosts))
        for host, address in zip(hosts, addresses, strict=True):
            host.address = address
            context = authority.context(host) if host.tls or host.broken_tls else None
            server = await loop.create_server(
                lambda host=host, context=context: HostSession(host, context, loop=loop),  # type: ignore[misc]
                address,
                port,
            )
            stack.callback(server.close)
        named = {host.name: host for host in hosts}
        text = zone if isinstance(zone, str) else zone(Naming(named, port, authority))
        for name, host in named.items():
            text = text.replace(f"{{{name}}}", host.address)
        pages = {f"mta-sts.{domain}": page(body) for domain, body in (policies or {}).items()}
        for name in pages:
            text += f"\n{name}. 60 IN A 127.0.0.1\n"
        served = await stack.enter_async_context(zone_server(text))
        https = await _serve_pages(authority, pages)
        stack.callback(https.close)
        contexts = client_contexts(authority.file)
        outward = Outward(["127.0.0.0/8", "::1/128"])
        resolver = Dns([served.address], timeout=2.0, tries=1)
        stack.push_async_callback(resolver.close)
        http = await stack.enter_async_context(Http(outward, resolver, contexts.verifying))
        noted: list[Session] = []
        courier = SmtpCourier(
            SmtpClientSettings(HOSTNAME, outward=outward, messages=50, idle=1.0, **settings),
            resolver,
            contexts,
            noted.append,
        )
        stack.callback(courier.close)
        yield Internet(
            served,
            named,
            port,
            authority,
            courier,
            resolver,
            ValidatedDns([served.address], timeout=2.0),
            http,
            noted,
            pages,
            https.sockets[0].getsockname()[1],
        )


def page(body: str, status: str = "200 OK", kind: str = "text/plain") -> bytes:
    octets = body.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(octets)}\r\nConnection: close\r\n\r\n"
    return head.encode() + octets


async def _serve_pages(authority: Authority, pages: Mapping[str, bytes]) -> asyncio.Server:
    """By HTTPS: one certificate for all that are there at the start; "" for the rest."""
    context = authority.context(Host("pages.test", names=tuple(pages) or ("pages.test",)))

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        host = head.lower().partition("\r\nhost: ")[2].partition("\r\n")[0].partition(":")[0]
        writer.write(pages.get(host, page("nothing", "404 Not Found")))
        await writer.drain()
        writer.close()

    return await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
