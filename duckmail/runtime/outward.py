"""Where this server may connect to for somebody else: one rule for mail and for HTTP.

Targets, relays, webhooks and mail exchangers are named by strangers, who could mean what only this server reaches:
its own listeners, its databases, the network behind it. The rule is asked about the address that is connected to,
after DNS and at every connection, so no name and no spelling of an address gets around it.
"""

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from duckmail.model.network import carried, is_public


class Outward:
    """`allow`: networks (CIDR) that may be connected to whatever they are."""

    def __init__(self, allow: Iterable[str] = ()) -> None:
        self._allow = tuple(ip_network(text) for text in allow)
        self._ports: frozenset[int] = frozenset()

    def listening(self, ports: Iterable[int]) -> None:
        """From now on these TCP ports of this host's own addresses are refused: our own listeners."""
        self._ports |= frozenset(ports)

    def permits(self, address: str, port: int) -> bool:
        """Whether a connection to this IP address may be made; False for what is none."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        end = carried(parsed) or parsed
        if any(each in network for network in self._allow for each in (parsed, end)):
            return True
        return is_public(address) and not (port in self._ports and _is_here(end))


def _is_here(address: IPv4Address | IPv6Address) -> bool:
    """Whether the address is one of this host's: nobody else's can be bound."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True
