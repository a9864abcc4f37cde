"""The keys of what is found out about who a message is from."""

from pydantic import Field

from duckmail.config.section import Section
from duckmail.config.units import Duration, Hostname, Tuple


class Mailauth(Section):
    """Who incoming mail is from: SPF, DKIM, DMARC, ARC and reverse DNS, written into Authentication-Results."""

    enabled: bool = Field(
        default=False,
        description="Check mail that comes by LMTP; what comes to the MX listener always is. Name servers are those "
        "of outbound.nameservers.",
    )
    timeout: Duration = Field(
        default=8.0,
        description="How long the checks of one message may delay it; what DNS has not answered by then is temperror.",
        ge=0.1,
        le=60,
    )
    server: Hostname = Field(
        default="", description="The authserv-id in Authentication-Results. Empty: server.hostname."
    )
    junk: bool = Field(
        default=True,
        description="Mail that fails DMARC counts as spam where the author's domain asks for quarantine or reject.",
    )
    dmarc_reports: bool = Field(
        default=True,
        description="Tell domains that ask for it, once a day, what came of DMARC for mail in their name.",
    )
    report_addresses: Tuple[str] = Field(
        default=(),
        description="Addresses here that reports of others about our domains (DMARC aggregate, TLS) come to: what they "
        "say is listed by `duckmail report list`. They are delivered as all mail.",
    )
    arc_sealers: Tuple[str] = Field(
        default=(),
        description="Domains of forwarders and lists whose ARC seals are believed: mail that only they have handled, "
        "by an unbroken chain, is not junk for failing DMARC.",
    )
