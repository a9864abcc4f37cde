"""A report that somebody sent about a domain of ours, as it is kept."""

from dataclasses import dataclass
from datetime import datetime

from duckmail.mime.reportread import Report


@dataclass(frozen=True, slots=True)
class ReceivedReport:
    """`verified`: the domain in From of the message that brought it, where DMARC passed; "" else: anybody may have
    written it."""

    id: str
    received: datetime
    verified: str
    report: Report
