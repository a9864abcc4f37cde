"""How much a client may send, and what it may call itself."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Protocol

from duckmail.errors import NotFound, Unavailable
from duckmail.model.address import ascii_domain
from duckmail.model.network import is_address
from duckmail.services.reception.caller import Caller
from duckmail.services.reception.errors import BadName, TooFast
from storage.redis.counters import Count

WINDOW = 60  # seconds
NAME_SECONDS = 5.0  # for the name of EHLO in DNS


class Counters(Protocol):
    """What is needed of `storage.redis.counters.Counters`."""

    async def incr(self, key: str, window: int, by: int = 1) -> Count: ...

    async def get(self, key: str) -> Count: ...


class Resolver(Protocol):
    """What is needed of `duckmail.clients.dns.Dns`."""

    async def answers(self, name: str, kind: str, /) -> Sequence[str]:
        """Raises: NotFound: no such name. Unavailable: no clear answer for now."""
        ...


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """Messages a minute of one address (IPv6: /64) and of one network (IPv4: /24), 0 for no limit. `helo`: `off`,
    `syntax` or `dns`. `hostname`: this server's own name."""

    per_address: int = 0
    per_network: int = 0
    helo: str = "off"
    hostname: str = ""


class Gate:
    def __init__(self, counters: Counters, resolver: Resolver, policy: GatePolicy) -> None:
        self._counters = counters
        self._resolver = resolver
        self._policy = policy

    async def message(self, caller: Caller) -> None:
        """One more begins. Raises: TooFast."""
        policy = self._policy
        if caller.exempt:
            return
        limits = {
            f"mx:address:{caller.unit}": policy.per_address,
            f"mx:network:{caller.network}": policy.per_network,
        }
        # Both are counted whatever the first says: what is refused counts too.
        over = [key for key, most in limits.items() if most and (await self._counters.incr(key, WINDOW)).value > most]
        if over:
            raise TooFast(over=over)

    async def name(self, caller: Caller, given: str) -> None:
        """`given`: by EHLO or HELO. Raises: BadName."""
        policy = self._policy
        if caller.exempt or policy.helo == "off":
            return
        if given.startswith("[") and caller.address:
            _require_literal(given, caller.address)
            return
        try:
            name = ascii_domain(given)
        except ValueError:
            raise BadName("EHLO needs a host name") from None
        if "." not in name or is_address(name):
            raise BadName("EHLO needs a full host name")
        if name.lower() == policy.hostname.lower():
            raise BadName("EHLO was given the name of this server")
        if policy.helo == "dns" and not await self._exists(name):
            raise BadName("EHLO was given a name that DNS does not know")

    async def _exists(self, name: str) -> bool:
        try:
            async with asyncio.timeout(NAME_SECONDS):
                # An MX is enough (RFC 5321 §2.3.5); a name that is there without an address is not.
                for kind in ("A", "AAAA", "MX"):
                    if await self._resolver.answers(name, kind):
                        return True
        except NotFound:
            return False
        except (Unavailable, TimeoutError):
            return True
        return False


def _require_literal(given: str, address: str) -> None:
    """RFC 5321 §4.1.3: the client's own address. Raises: BadName."""
    text = given[1:].removesuffix("]")
    text = text[5:] if text[:5].lower() == "ipv6:" else text
    if not given.endswith("]") or not is_address(text) or ip_address(text) != ip_address(address):
        raise BadName("EHLO was given an address literal that is not your address")
