"""The extensions that a server offers in its answer to EHLO (RFC 5321 §4.1.1.1)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from protocols.smtp.wire.reply import Reply

# ehlo-line = ehlo-keyword *( SP ehlo-param ); some old servers write `AUTH=PLAIN LOGIN`.
_EHLO_LINE = re.compile(r"(?P<keyword>[A-Za-z0-9][A-Za-z0-9-]*)(?:[ =]+(?P<parameters>.*))?")
# RFC 9422 §4: MAILMAX=1*6DIGIT and RCPTMAX=1*6DIGIT, beside other limits.
_LIMITS = {name: re.compile(rf"(?:^| ){name}=([0-9]{{1,6}})(?= |$)") for name in ("MAILMAX", "RCPTMAX")}
_MAX_SIZE_DIGITS = 20  # RFC 1870 §4


@dataclass(frozen=True, slots=True)
class Extensions:
    """`keywords`: in upper case, each with its parameters as one text."""

    keywords: Mapping[str, str] = field(default_factory=dict)

    def offers(self, keyword: str) -> bool:
        return keyword in self.keywords

    @property
    def size_limit(self) -> int:
        """Octets of the largest message; 0 when the server states none (RFC 1870 §4)."""
        text = self.keywords.get("SIZE", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_SIZE_DIGITS else 0

    @property
    def most_messages(self) -> int:
        """How many messages the server takes through one connection; 0 when it does not say."""
        return self._limit("MAILMAX")

    @property
    def most_recipients(self) -> int:
        """How many recipients the server takes in one transaction; 0 when it does not say."""
        return self._limit("RCPTMAX")

    def _limit(self, name: str) -> int:
        found = _LIMITS[name].search(self.keywords.get("LIMITS", "").upper())
        return int(found[1]) if found else 0

    @property
    def mechanisms(self) -> frozenset[str]:
        """SASL mechanisms (RFC 4954 §3)."""
        return frozenset(self.keywords.get("AUTH", "").upper().split())


def extensions(reply: Reply) -> Extensions:
    """What a positive answer to EHLO offers. Its first line greets; a line that cannot be read is no offer."""
    keywords: dict[str, str] = {}
    for line in reply.lines[1:]:
        found = _EHLO_LINE.fullmatch(line.strip(" "))
        if found is not None:
            keyword, parameters = found["keyword"].upper(), found["parameters"] or ""
            # Both forms of AUTH may stand side by side.
            keywords[keyword] = f"{keywords[keyword]} {parameters}" if keyword in keywords else parameters
    return Extensions(keywords)
