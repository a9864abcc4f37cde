"""What an account or a forwarded address answers by itself while nobody reads its mail."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Autoreply:
    """`status`: whether it is on. `start`, `end`: within which it answers; None for no limit. `name`: of the sender."""

    status: bool = False
    name: str = ""
    subject: str = ""
    text: str = ""
    html: str = ""
    start: datetime | None = None
    end: datetime | None = None
    created: datetime | None = None

    def active(self, now: datetime) -> bool:
        if not self.status:
            return False
        return (self.start is None or self.start <= now) and (self.end is None or now < self.end)
