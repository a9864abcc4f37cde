"""Lists in DNS of addresses that send spam (RFC 5782), asked once for each connection."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from duckmail.errors import DuckmailError
from duckmail.model.network import is_public
from duckmail.model.spam import MOST_SCORE
from duckmail.services.reception.caller import Caller, Listing
from duckmail.services.reception.gate import Resolver

SECONDS = 5.0  # for all lists together

# RFC 5782 §2.1: what is listed has an address in there. §5: names that do not exist may be given other addresses.
_ANSWERS = ip_network("127.0.0.0/8")
# What lists answer that will not be asked from here: a word about us, not about the client.
_ERRORS = ip_network("127.255.255.0/24")


@dataclass(frozen=True, slots=True)
class Zone:
    """`score`: added to that of its mail; 0: its mail is refused."""

    name: str
    score: int = 0

    @classmethod
    def parse(cls, text: str) -> "Zone":
        """`zone`, `zone=reject` or `zone=25`."""
        name, _, effect = text.partition("=")
        return cls(name, int(effect) if effect.isdigit() else 0)


class Blocklists:
    def __init__(self, resolver: Resolver, zones: Iterable[Zone]) -> None:
        self._resolver = resolver
        self._zones = tuple(zones)

    async def listing(self, caller: Caller) -> Listing:
        """What they say; asked the first time. A list that does not answer in time says nothing."""
        if caller.listing is None:
            caller.listing = await self._look_up(caller)
        return caller.listing

    async def _look_up(self, caller: Caller) -> Listing:
        if not self._zones or caller.exempt or not is_public(caller.address):
            return Listing()
        # RFC 5782 §2.1, §2.4: the octets, or the hexadecimal digits, in reverse order: as for reverse DNS.
        reverse = ip_address(caller.address).reverse_pointer.rsplit(".", 2)[0]
        found = await asyncio.gather(*(self._in(reverse, zone) for zone in self._zones))
        zones = [zone for zone, listed in zip(self._zones, found, strict=True) if listed]
        refused = next((zone.name for zone in zones if not zone.score), "")
        return Listing(refused, min(sum(zone.score for zone in zones), MOST_SCORE))

    async def _in(self, reverse: str, zone: Zone) -> bool:
        try:
            async with asyncio.timeout(SECONDS):
                answers = await self._resolver.answers(f"{reverse}.{zone.name}", "A")
        except (DuckmailError, TimeoutError):
            return False
        addresses = [ip_address(answer) for answer in answers]
        return any(address in _ANSWERS and address not in _ERRORS for address in addresses)
