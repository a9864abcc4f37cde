"""What a relay in front of this server has found out about a message, as its header tells.

Only of a relay that is trusted: anybody can write such lines. Of several lines the worst counts, since a sender's own
line, which the relay has left in, can then only do harm to its message.
"""

import re
from dataclasses import dataclass

from duckmail.mime.header import Lookup

# Protocols §4: by what Rspamd wants done.
_ACTIONS = {
    b"reject": 75,
    b"rewrite subject": 50,
    b"rewrite_subject": 50,
    b"soft reject": 50,
    b"soft_reject": 50,
    b"greylist": 50,
    b"add header": 25,
    b"add_header": 25,
}
MOST_SCORE = 75
FLAGGED = 50  # a filter that only says yes or no
_POINTS = re.compile(rb"(?:^|[\s,;(])(?:score=)?(-?[0-9]{1,6}(?:\.[0-9]{0,6})?)(?:[\s/,;)]|$)")
_SCORE = re.compile(rb"\bscore=(-?[0-9]{1,6}(?:\.[0-9]{0,6})?)")
MOST_LINES = 20  # of each name that are looked at
NEVER_FORWARDED = 10.0  # points: what has more is not sent on, whatever becomes of it here


@dataclass(frozen=True, slots=True)
class Spam:
    """`score`: 0 to 75, compared with an account's level. `points`: as the relay's filter counts, 0 when not told."""

    score: int = 0
    points: float = 0.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a filter says that was asked. `action`: what it wants done, in Rspamd's words; "" for nothing."""

    action: str = ""
    points: float = 0.0

    @property
    def refuse(self) -> bool:
        """It should never have come."""
        return self.action == "reject"

    @property
    def defer(self) -> bool:
        """It should come again later."""
        return self.action in {"soft reject", "greylist"}

    @property
    def spam(self) -> Spam:
        """A filter of our own that marks a message has said that it is spam, however mildly."""
        score = _ACTIONS.get(self.action.encode(), 0)
        return Spam(max(score, FLAGGED) if score else 0, self.points)


NOTHING = Judgement()


def mentions(lowered: bytes) -> bool:
    """Whether a header in lower case, with a line end ahead of its first line, says anything of spam."""
    return b"\r\nx-spam" in lowered or b"\r\nx-rspamd-" in lowered


def verdict(header: Lookup) -> Spam:
    """What `X-Rspamd-Action` says, or without it `X-Spam-Flag`, `X-Spam-Status` and `X-Spam`."""
    actions = header.all(b"x-rspamd-action")[:MOST_LINES]
    score = max((_ACTIONS.get(action.strip().lower(), 0) for action in actions), default=0)
    if not actions:
        flags = [
            line for name in (b"x-spam-flag", b"x-spam-status", b"x-spam") for line in header.all(name)[:MOST_LINES]
        ]
        score = FLAGGED if any(flag.strip().lower().startswith((b"yes", b"true")) for flag in flags) else 0
    points = [float(match[1]) for line in header.all(b"x-spam-status")[:MOST_LINES] if (match := _SCORE.search(line))]
    for name in (b"x-spam-score", b"x-rspamd-score"):
        points += [float(match[1]) for line in header.all(name)[:MOST_LINES] if (match := _POINTS.search(line))]
    return Spam(score, max(points, default=0.0))


def is_spam(level: int, score: int) -> bool:
    """`level`: 0 takes all for spam, 100 nothing."""
    return level <= 0 or (level < 100 and score >= level)
