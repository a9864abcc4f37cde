"""The table of the story of messages."""

from pydantic import Field

from duckmail.config.section import Section
from duckmail.config.units import Duration

DAY = 86400.0


class Trace(Section):
    """What happened to each message, for `duckmail trace` and GET /duckmail/trace. Never its content."""

    keep: Duration = Field(
        default=30 * DAY, description="How long it is kept. 0: nothing is noted.", ge=0, le=366 * DAY
    )
    network_refusals: int = Field(
        default=20,
        description="Refusals of mail of one network (IPv4 /24, IPv6 /64) or account that are noted one by one within "
        "an hour, by each process. More are counted.",
        ge=0,
        le=10_000,
    )
    refusals: int = Field(
        default=2000,
        description="Refusals of mail of all networks together that are noted one by one within an hour, by each "
        "process. More are counted.",
        ge=0,
        le=100_000,
    )
