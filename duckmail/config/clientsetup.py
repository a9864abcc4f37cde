"""The tables of what other programs find at well-known places: how to set up clients, and the policy of MTA-STS."""

from typing import Literal

from pydantic import Field

from duckmail.config.section import Section
from duckmail.config.units import Duration, Hostname, Tuple

DAY = 86400.0


class ClientSetup(Section):
    """How mail programs find their settings: autoconfig of Thunderbird and autodiscover of Outlook, at the API's
    listeners and without a token. Host name and ports of the services are those of [profile]."""

    enabled: bool = Field(default=True, description="Whether they are told at all.")
    hostname: Hostname = Field(
        default="",
        description="The host of https URLs that programs are sent to, for `duckmail dns` too: that of the proxy in "
        "front of the API, or of api.listen_tls. Empty: profile.hostname.",
    )
    name: str = Field(default="", description="What people are shown. Empty: the host name.", max_length=64)


class MtaSts(Section):
    """Our own policy of MTA-STS, at https://mta-sts.DOMAIN/.well-known/mta-sts.txt, for the domains that have mail
    here: others then send by TLS with a certificate that verifies, or not at all."""

    mode: Literal["off", "testing", "enforce", "none"] = Field(
        default="testing",
        description='"testing": what fails is reported only. "enforce": it is not sent. "none": there is no policy any '
        'more, to be said for max_age before "off", which says nothing.',
    )
    mx: Tuple[Hostname] = Field(
        default=(), description="The mail exchangers of all domains. Empty: profile.hostname.", max_length=20
    )
    max_age: Duration = Field(default=7 * DAY, description="How long others hold on to it.", ge=DAY, le=31_557_600)
