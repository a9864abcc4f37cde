"""Who is at the other end, and sets of networks to compare that with."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Self

from duckmail.model.network import wide_network

UNIX = "unix"  # stands for every unix socket wherever networks are listed


@dataclass(frozen=True, slots=True)
class Peer:
    """The client's address: after a PROXY header the one it names.

    `host` is the address as text, IPv4 also when it came mapped into IPv6, without a zone index; for a unix socket the
    path, which is empty for a client that did not bind one.
    """

    host: str
    port: int
    unix: bool = False

    @classmethod
    def of(cls, host: str, port: int) -> Self:
        """A TCP peer; `host` is an address, not a name."""
        address = ip_address(host.partition("%")[0])
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        return cls(str(mapped or address), port)

    @property
    def network(self) -> str:
        """The unit of limits and throttles: the /32 of an IPv4 address, the /64 of an IPv6 one, or `unix`."""
        if self.unix:
            return UNIX
        address = ip_address(self.host)
        if isinstance(address, IPv4Address):
            return f"{address}/32"
        return str(IPv6Network((int(address) >> 64 << 64, 64)))

    @property
    def wide_network(self) -> str:
        """Who shares what one of them does, for servers of others: an IPv4 /24, an IPv6 /64, or `unix`."""
        return UNIX if self.unix else wide_network(self.host)

    def __str__(self) -> str:
        if self.unix:
            return f"unix:{self.host}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Networks:
    """A set of networks in CIDR notation, single addresses, and the word `unix`; `peer in networks` asks it."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        """Raises ValueError for a text that is no network; it names the text."""
        self._unix = False
        self._v4: list[IPv4Network] = []
        self._v6: list[IPv6Network] = []
        for text in texts:
            if text == UNIX:
                self._unix = True
                continue
            # strict: `10.0.0.1/8` is a mistake that would silently allow far more than its writer meant
            network = ip_network(text)
            if isinstance(network, IPv4Network):
                self._v4.append(network)
            else:
                self._v6.append(network)

    def __contains__(self, peer: Peer) -> bool:
        if peer.unix:
            return self._unix
        address = ip_address(peer.host)
        if isinstance(address, IPv4Address):
            return any(address in network for network in self._v4)
        return any(address in network for network in self._v6)

    def __bool__(self) -> bool:
        return self._unix or bool(self._v4) or bool(self._v6)
