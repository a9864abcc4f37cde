"""Which way a recipient's mail goes: to an account here, to the relay, to mail exchangers, or nowhere yet."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import unquote, urlsplit

from duckmail.errors import InvalidInput, Unavailable
from duckmail.model import address as addresses
from duckmail.model.queue import Destination, Outcome
from duckmail.runtime.targetpasswords import TargetPasswords

SMTP_PORT, SUBMISSION_PORT, SUBMISSIONS_PORT = 25, 587, 465


class Domains(Protocol):
    """What is needed of `duckmail.services.recipients.Resolver`."""

    async def is_local(self, domain: str, /) -> bool: ...


@dataclass(frozen=True, slots=True)
class Local:
    """An account here, if the address is anybody's."""


@dataclass(frozen=True, slots=True)
class Relay:
    destination: Destination


@dataclass(frozen=True, slots=True)
class Exchange:
    """The mail exchangers of a domain (RFC 5321 §5.1)."""

    domain: str


@dataclass(frozen=True, slots=True)
class Post:
    """A target of HTTP. `url`: may hold a password."""

    url: str = field(repr=False)
    host: str


@dataclass(frozen=True, slots=True)
class Stranded:
    """It waits until there is a way."""


@dataclass(frozen=True, slots=True)
class Refused:
    """There will never be a way. `outcome`: of any recipient."""

    outcome: Outcome


Route = Local | Relay | Exchange | Post | Stranded | Refused

NO_ROUTE = "no route: neither relay nor mx is configured"


class Router:
    """`relay`: takes all that is not local, None for none; without it `mx` says whether mail exchangers are asked."""

    def __init__(
        self,
        domains: Domains,
        relay: Destination | None,
        *,
        mx: bool,
        tls: str = "may",
        passwords: TargetPasswords | None = None,
    ) -> None:
        """`passwords`: opens those of relays of users."""
        self._domains = domains
        self._passwords = passwords or TargetPasswords()
        self._relay = relay
        self._mx = mx
        self._tls = tls

    async def route(self, recipients: Iterable[tuple[int, str, str]], relay: str = "") -> dict[Route, list[int]]:
        """The recipients, (position, address, URL of a relay of its own or ""), by their way.

        `relay`: URL of the one that takes what this sender sends to others, "" for the usual way. Raises: Unavailable.
        """
        routes: dict[Route, list[int]] = {}
        known: dict[str, Route] = {}
        for position, address, via in recipients:
            if via:
                routes.setdefault(self._via(via), []).append(position)
                continue
            domain = addresses.normalise_domain(addresses.split(address)[1])
            if domain not in known:
                known[domain] = await self._of(domain, relay)
            routes.setdefault(known[domain], []).append(position)
        return routes

    def _via(self, target: str) -> Route:
        try:
            url = self._passwords.opened(target)
        except Unavailable:
            return Refused(Outcome("", 451, "4.7.0", "The password of the target cannot be opened"))
        if url.startswith(("http://", "https://")):
            return Post(url, urlsplit(url).hostname or "")
        try:
            destination = parse_relay(url, self._tls)
        except InvalidInput:
            destination = None
        # The courier connects to no private address for a host that the configuration does not name; and what it names
        # is trusted for the server's own mail alone.
        named = {self._relay.host.lower()} if self._relay else set()
        if destination is None or destination.host.lower() in named:
            return Refused(Outcome("", 550, "5.1.2", "The target is no relay of its own"))
        return Relay(destination)

    async def _of(self, domain: str, relay: str) -> Route:
        if not domain:
            return Refused(Outcome("", 553, "5.1.3", "The address has no domain"))
        if await self._domains.is_local(domain):
            return Local()
        if relay:
            return self._via(relay)
        if self._relay is not None:
            return Relay(self._relay)
        if not self._mx:
            return Stranded()
        if domain.startswith("["):
            # RFC 5321 §4.1.3 lets a sender name any address, so also one behind our own walls.
            return Refused(Outcome("", 550, "5.1.2", "Mail is not sent to address literals"))
        return Exchange(domain)


def parse_relay(url: str, tls: str) -> Destination | None:
    """The relay of `outbound.relay`, None when that is empty. `tls`: of `outbound.tls`, for a relay without a login.

    Raises:
        InvalidInput: it is no such URL.
    """
    if not url:
        return None
    wrong = InvalidInput('outbound.relay must be "smtp://host:25", "smtp://user:password@host:587" or "smtps://..."')
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise wrong from None
    username, password = unquote(parts.username or ""), unquote(parts.password or "")
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or parts.path not in ("", "/"):
        raise wrong
    if parts.query or parts.fragment or bool(username) != bool(password):
        raise wrong
    if parts.scheme == "smtps":
        return Destination(parts.hostname, port or SUBMISSIONS_PORT, "implicit", username, password)
    if username:
        # A password goes to nobody whose certificate does not verify, whatever holds for others.
        return Destination(parts.hostname, port or SUBMISSION_PORT, "verify", username, password)
    return Destination(parts.hostname, port or SMTP_PORT, tls)
