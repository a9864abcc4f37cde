"""What administrators set while the server runs: the keys of the API, and the values that hold now."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from duckmail.errors import InvalidInput
from duckmail.model.account import Limits

Value = int | str | bool

DAY_MS: Final = 86_400_000
MOST: Final = 2**53 - 1  # what a number of JavaScript holds exactly
MOST_TIMES = 200  # waits of one schedule
_TIME = re.compile(r"([0-9]{1,9})\s*([a-z]*)")
# Seconds; without a unit it is milliseconds, as in the numbers of the other keys.
_UNITS: Mapping[str, float] = {
    "": 0.001, "ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Setting:
    """One key. `type`: `duration` (milliseconds), `size` (octets), `number`, `string` or `boolean`."""

    key: str
    name: str
    description: str
    default: Value
    type: str

    def checked(self, value: object) -> Value:
        """`value` as it is kept. Raises: InvalidInput: what is wrong with it."""
        if self.type == "boolean":
            if not isinstance(value, bool):
                raise InvalidInput("must be a boolean")
            return value
        if self.type == "string":
            if not isinstance(value, str):
                raise InvalidInput("must be a string")
            times(value)
            return value
        if isinstance(value, bool) or not isinstance(value, int):
            raise InvalidInput("must be a number")
        if not 0 <= value <= MOST:
            raise InvalidInput("must be a number from 0 to 9007199254740991")
        return value


def times(text: str) -> tuple[float, ...]:
    """Seconds of `5m, 2h, 1 d`; none for "". Raises: InvalidInput."""
    parts = [part.strip().lower() for part in text.split(",")] if text.strip() else []
    found = [_TIME.fullmatch(part) for part in parts]
    if len(parts) > MOST_TIMES or any(one is None or one[2] not in _UNITS for one in found):
        raise InvalidInput("must be a list of times such as 5m, 2h, 1d")
    return tuple(int(one[1]) * _UNITS[one[2]] for one in found if one is not None)


_DEFER_TIMES = ", ".join(("5m", "7m", "8m", "25m", "75m", "2h", *["4h"] * 11))

SETTINGS: Sequence[Setting] = (
    Setting(
        "const:archive:time",
        "Archive retention",
        "How long deleted messages can be restored, in milliseconds",
        25 * DAY_MS,
        "duration",
    ),
    Setting(
        "const:max:storage",
        "Storage of an account",
        "Octets of mail of an account without a quota of its own. 0: as the server's configuration says",
        1 << 30,
        "size",
    ),
    Setting(
        "const:max:messages",
        "Messages of an account",
        "Messages in the mailboxes of an account without a limit of its own. 0: no limit",
        0,
        "number",
    ),
    Setting(
        "const:max:recipients",
        "Recipients a day",
        "Recipients a day of an account without a limit of its own. 0: the default",
        2000,
        "number",
    ),
    Setting(
        "const:max:forwards",
        "Forwards a day",
        "Messages sent on a day by an account or address without a limit of its own. 0: the default",
        2000,
        "number",
    ),
    Setting("const:max:mailboxes", "Folders", "Folders of one account. 0: the default", 1500, "number"),
    Setting(
        "const:max:rcpt_to",
        "Recipients of a message",
        "Recipients of one message that is submitted. 0: the default",
        400,
        "number",
    ),
    Setting(
        "const:max:filters",
        "Filters",
        "Filters of an account without a limit of its own. 0: the default",
        400,
        "number",
    ),
    Setting(
        "const:max:bulk_batch_size",
        "Bulk batch",
        "Messages that one transaction of a bulk deletion works on. 0: the default",
        150,
        "number",
    ),
    Setting(
        "const:authlog:time",
        "Authlog retention",
        "How long entries of the authlog are kept, in milliseconds. 0: no log",
        30 * DAY_MS,
        "duration",
    ),
    Setting(
        "const:autoreply:interval",
        "Autoreply interval",
        "How long nobody is answered again by the same account, in milliseconds",
        14_400_000,
        "duration",
    ),
    Setting("const:asp:limit", "Application passwords", "Application passwords of one account", 50, "number"),
    Setting(
        "const:max:imap:download",
        "IMAP download",
        "Octets a day that an account without a limit of its own fetches by IMAP. 0: the default",
        10 << 30,
        "size",
    ),
    Setting(
        "const:max:pop3:download",
        "POP3 download",
        "Octets a day that an account without a limit of its own fetches by POP3. 0: the default",
        10 << 30,
        "size",
    ),
    Setting(
        "const:max:imap:upload",
        "IMAP upload",
        "Octets a day that an account without a limit of its own appends by IMAP. 0: the default",
        10 << 30,
        "size",
    ),
    Setting(
        "const:sender:defer_times",
        "Retry schedule",
        "Waits between attempts to send a message, a comma list of times such as 5m, 2h, 1d. "
        "Empty: as the server's configuration says",
        _DEFER_TIMES,
        "string",
    ),
    Setting(
        "const:domaincache:enabled",
        "Domain cache",
        "Remember for five minutes, not five seconds, which domains are served here and which are aliases",
        False,
        "boolean",
    ),
)
BY_KEY: Mapping[str, Setting] = {each.key: each for each in SETTINGS}


class Settings:
    """The values of now, read where they are needed; whoever holds it sees every change.

    A value that nobody has set is the server's configuration's where there is one, else the default.
    """

    def __init__(self) -> None:
        self._stored: Mapping[str, Value] = {}
        self.limits = Limits()
        self.defer_times: tuple[float, ...] = ()

    def replace(self, stored: Mapping[str, Value]) -> None:
        """From now on these hold; keys that are unknown and values of another type are passed over."""
        self._stored = {key: value for key, value in stored.items() if _fits(key, value)}
        self.limits = Limits(
            quota=self.given("const:max:storage"),
            messages=self.given("const:max:messages"),
            recipients=self.given("const:max:recipients"),
            forwards=self.given("const:max:forwards"),
            filters=self.given("const:max:filters"),
            imap_max_upload=self.given("const:max:imap:upload"),
            imap_max_download=self.given("const:max:imap:download"),
            pop3_max_download=self.given("const:max:pop3:download"),
        )
        self.defer_times = times(str(self._stored.get("const:sender:defer_times", "")))

    @property
    def stored(self) -> Mapping[str, Value]:
        return self._stored

    def given(self, key: str, otherwise: int = 0) -> int:
        """What was set; `otherwise` when that is 0 or nothing."""
        return int(self._stored.get(key, 0)) or otherwise

    def literal(self, key: str, otherwise: int) -> int:
        """What was set, 0 too."""
        return int(self._stored.get(key, otherwise))


def _fits(key: str, value: object) -> bool:
    try:
        return key in BY_KEY and BY_KEY[key].checked(value) == value
    except InvalidInput:
        return False
