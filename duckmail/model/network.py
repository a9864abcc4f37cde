"""Addresses of the network: which of them a stranger may make this server connect to."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

# All that is given out to hosts of the public IPv6 Internet (IANA); what else looks global is not.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# RFC 6052 §2.1: an IPv4 address in its last 32 bits; resolvers behind NAT64 make them for every IPv4 host.
_NAT64 = IPv6Network("64:ff9b::/96")


def wide_network(address: str) -> str:
    """Who shares what one of them does, for servers of others: an IPv4 /24, an IPv6 /64; "" for what is no address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return ""
    return str(ip_network(f"{parsed}/{24 if isinstance(parsed, IPv4Address) else 64}", strict=False))


def is_address(text: str) -> bool:
    """Whether it is an IP address, without brackets."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def is_public(address: str) -> bool:
    """Whether `address` belongs to a host of the public Internet.

    False for loopback, private, link-local, shared, multicast and reserved ones, also inside an IPv6 address that
    carries an IPv4 one, and for what is no address.
    """
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv4Address):
        return _is_public_v4(parsed)
    inner = carried(parsed)
    if inner is not None:
        return _is_public_v4(inner)
    return parsed in _GLOBAL_UNICAST and parsed.is_global and parsed.teredo is None


def _is_public_v4(address: IPv4Address) -> bool:
    return address.is_global and not address.is_multicast


def carried(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    """The IPv4 address that packets to this IPv6 address end at."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour
