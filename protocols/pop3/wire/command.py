"""Commands: one line without its CRLF in, values out (RFC 1939 §3)."""

import re
from dataclasses import dataclass, field

_KEYWORD = re.compile("[A-Za-z0-9]{1,16}")
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_NUMBER = re.compile("[0-9]{1,10}")
_TOP = re.compile("(?P<number>[0-9]{1,10}) +(?P<lines>[0-9]{1,10})")


class BadCommand(ValueError):
    """The client's mistake; the text is public."""


@dataclass(frozen=True, slots=True)
class Command:
    """`keyword` in upper case; `argument`: all behind the first space, as it came. It may be a password."""

    keyword: str
    argument: str = field(repr=False)


def parse(line: bytes) -> Command:
    """A command line as keyword and argument. Raises: BadCommand."""
    try:
        # RFC 6856 §2.1: names and passwords in UTF-8; all else is ASCII and judged where it is looked at.
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise BadCommand("Commands are ASCII or UTF-8") from None
    keyword, _, argument = text.partition(" ")
    if not _KEYWORD.fullmatch(keyword):
        raise BadCommand("Syntax error")
    if _CONTROL.search(argument):
        raise BadCommand("Control characters are not allowed")
    return Command(keyword.upper(), argument)


def parse_number(argument: str) -> int:
    """A message number as it was given; whether there is such a message is another question. Raises: BadCommand."""
    if not _NUMBER.fullmatch(argument):
        raise BadCommand("A message number is expected")
    return int(argument)


def parse_top(argument: str) -> tuple[int, int]:
    """TOP: message number, and lines of the body (RFC 1939 §7). Raises: BadCommand."""
    found = _TOP.fullmatch(argument)
    if found is None:
        raise BadCommand("Syntax: TOP message lines")
    return int(found["number"]), int(found["lines"])
