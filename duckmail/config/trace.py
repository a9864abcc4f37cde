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
