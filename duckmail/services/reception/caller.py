"""Who is at the other end of one connection."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Listing:
    """What the block lists say of an address. `refused_by`: the zone that wants its mail refused, or ""."""

    refused_by: str = ""
    score: int = 0


@dataclass(slots=True)
class Caller:
    """`address`: its own, "" on a unix socket. `unit`: its IPv4 address or IPv6 /64; `network`: its IPv4 /24 or IPv6
    /64. `exempt`: spared all tests. `connection`: its id, for the log. `helo`: what it called itself last. `listing`:
    once it was asked for."""

    address: str
    unit: str = ""
    network: str = ""
    exempt: bool = False
    connection: str = ""
    helo: str = ""
    listing: Listing | None = field(default=None, repr=False)
