"""The keys of the outbound queue."""

from typing import Literal

from pydantic import Field, SecretStr

from duckmail.config.section import Section
from duckmail.config.units import Duration, File, IpNetwork, Secret, Tuple


class Outbound(Section):
    """The outbound queue: mail on its way to other servers, and to accounts here.

    With neither relay nor mx, mail for other domains waits in the queue.
    """

    relay: Secret = Field(
        default=SecretStr(""),
        description='The server that takes all mail for other domains: "smtp://host:25", "smtp://user:pass@host:587" '
        '(with STARTTLS), "smtps://user:password@host:465". Empty: none.',
    )
    mx: bool = Field(
        default=False, description="Without a relay: deliver to the mail exchangers of the recipient's domain."
    )
    tls: Literal["may", "verify", "never"] = Field(
        default="may",
        description="TLS to mail exchangers and to relays without a login: where it is offered, or only with a "
        "certificate that verifies, or never. With a login it always has to verify.",
    )
    mta_sts: bool = Field(
        default=True, description="With mx: obey what domains ask for by MTA-STS, TLS with a certificate that verifies."
    )
    tls_reports: bool = Field(
        default=True, description="With mx: tell domains that ask for it, once a day, how TLS with their servers went."
    )
    dnssec: Literal["off", "trust-ad"] = Field(
        default="off",
        description='With mx: "trust-ad" where the name servers validate (DNSSEC) and nobody can forge their answers '
        "to this host: then TLSA records are obeyed (DANE).",
    )
    tls_authorities: File = Field(
        default=None, description="PEM file: the authorities trusted beside the system's for certificates of others."
    )
    srs_domain: str = Field(
        default="",
        description="Domain of the envelope senders of forwarded mail (SRS), whose own domains do not name this server "
        "in SPF. Its MX has to lead here: bounces come back to it. Empty: the sender stays what it is.",
        max_length=253,
    )
    arc_domain: str = Field(
        default="",
        description="Domain with a DKIM key here, which seals forwarded mail (ARC): what [mailauth] has found out is "
        "told to the next server. Empty: it is not sealed.",
        max_length=253,
    )
    schedule: Tuple[Duration] = Field(
        default=(300.0, 420.0, 480.0, 1500.0, 4500.0, 7200.0, *(11 * (14400.0,))),
        description="How long to wait after each failed attempt; after the last one the sender is told.",
        min_length=1,
        max_length=100,
    )
    delay_notice: Duration = Field(
        default=14400.0,
        description="After how long the sender of a message that still waits is told so, once; 0: never.",
        ge=0,
    )
    concurrency: int = Field(default=100, description="Messages this process sends at the same time.", ge=1, le=1000)
    per_host: int = Field(default=5, description="Of these, at most so many to the same host.", ge=1, le=1000)
    per_domain: int = Field(
        default=0, description="And at most so many for the same domain, on all its hosts; 0: no limit.", ge=0, le=1000
    )
    per_account: int = Field(
        default=0, description="And at most so many of the same account; 0: no limit.", ge=0, le=1000
    )
    host_minute: int = Field(
        default=0,
        description="How many messages this process begins to send to the same host within a minute; 0: no limit.",
        ge=0,
        le=100_000,
    )
    connection_messages: int = Field(
        default=50, description="Messages sent through one connection to another server.", ge=1, le=1000
    )
    connection_idle: Duration = Field(
        default=5.0, description="How long such a connection waits for the next message.", ge=0.1, le=60
    )
    connect_timeout: Duration = Field(default=30.0, description="For a connection to another server.", ge=1, le=300)
    nameservers: Tuple[str] = Field(
        default=(), description='DNS servers: "192.0.2.53" or "192.0.2.53:5353". Empty: the ones of the system.'
    )
    allow_networks: Tuple[IpNetwork] = Field(
        default=(),
        description="Networks in which targets of forwarding, webhooks and other servers named by users may be. Empty: "
        "the public Internet alone, without the listeners of this server. outbound.relay may be anywhere.",
    )
