"""The table of the MX listener."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from duckmail.config.section import MINUTE, Section
from duckmail.config.units import Duration, Kind, Listen, Network, Tuple, quoted

DAY = 86400.0

_ZONE = re.compile(r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+(?:=(?:reject|[1-9][0-9]?))?")


def _check_zone(value: str) -> str:
    if not _ZONE.fullmatch(value):
        raise ValueError('must be a zone such as "zen.example.org", "list.example=reject" or "list.example=25"')
    return value


BlockZone = Annotated[str, AfterValidator(_check_zone), Kind("zone", quoted)]


class Mx(Section):
    """The MX listener: SMTP from other servers, straight from the Internet, for the domains that have mail here."""

    listen: Tuple[Listen] = Field(
        default=(), description='Where it listens: "0.0.0.0:25", "[::]:25". Empty: there is no such listener.'
    )
    starttls: bool = Field(default=True, description="Offer STARTTLS.")
    max_recipients: int = Field(default=100, description="Recipients of one transaction.", ge=100, le=10000)
    dmarc: Literal["honour", "quarantine", "label"] = Field(
        default="honour",
        description="Mail that fails DMARC where the domain of its author asks for reject or quarantine: refused or "
        "Junk, as asked; or Junk in both cases; or nothing but the header field.",
    )
    exempt: Tuple[Network] = Field(
        default=("127.0.0.0/8", "::1", "unix"),
        description="Who is spared the limits, lists and tests below: servers that relay to this one. DMARC and rspamd "
        "look at their mail all the same.",
    )
    connections: int = Field(
        default=50,
        description="Connections of one IPv4 /24 or IPv6 /64 at the same time, in all processes together. 0: no limit.",
        ge=0,
    )
    address_rate: int = Field(
        default=100, description="Messages a minute of one IPv4 address or IPv6 /64. 0: no limit.", ge=0
    )
    network_rate: int = Field(
        default=300, description="Messages a minute of one IPv4 /24 or IPv6 /64. 0: no limit.", ge=0
    )
    helo: Literal["off", "syntax", "dns"] = Field(
        default="off",
        description="What EHLO has to say: anything; a full host name or address literal, and not this server's own; "
        "or such a name that also exists in DNS. RFC 5321 §4.1.4 wants no mail refused for it.",
    )
    greet_delay: Duration = Field(
        default=0.0,
        description="How long a client has to wait in the middle of the greeting; who talks before it ends is refused. "
        "0: no such test.",
        ge=0,
        le=30,
    )
    greylist: Duration = Field(
        default=0.0,
        description="How long the first message of a network, sender and recipient has to wait, that is deferred until "
        "then. 0: no greylisting.",
        ge=0,
        le=3600,
    )
    greylist_keep: Duration = Field(
        default=35 * DAY,
        description="How long networks that have come back are remembered, and not deferred.",
        ge=60 * MINUTE,
        le=365 * DAY,
    )
    blocklists: Tuple[BlockZone] = Field(
        default=(),
        description='Lists in DNS of addresses that send spam: "list.example" refuses their mail, "list.example=25" '
        "adds to its spam score (50 is Junk for most accounts). Without an answer in time they do not count.",
        max_length=10,
    )
    rspamd_url: str = Field(
        default="",
        description='The rspamd that looks at mail that comes here or by LMTP: "http://127.0.0.1:11333". Empty: none.',
        max_length=1024,
        pattern=r"^(?:https?://[!-~]+)?$",
    )
    rspamd_timeout: Duration = Field(
        default=8.0, description="How long it may take; then the message is taken without its word.", ge=0.1, le=60
    )
