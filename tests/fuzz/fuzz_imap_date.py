"""Fuzz target: dates. What is read can be written, stored and read again as the same moment."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import TypeVar

from protocols.imap.wire.parser import ParseError, Parser
from protocols.imap.wire.response import internal_date

T = TypeVar("T", date, datetime)

SEEDS: list[bytes] = [
    b'" 7-Feb-1994 21:52:25 -0800"',
    b'"29-Feb-2024 23:59:59 +1400"',
    b'"01-Jan-0001 00:00:00 +0100"',
    b'"31-Dec-9999 23:59:59 -0100"',
    b'"31-Jun-2000 23:59:60 +9999"',
    b"1-Feb-1994",
    b'"31-dec-0000"',
]


def target(data: bytes) -> None:
    moment = read(data, Parser.date_time)
    if moment is not None:
        again = read(internal_date(moment), Parser.date_time)
        assert again == moment
        assert again.utcoffset() == moment.utcoffset()
        assert moment.astimezone(UTC) == moment
    day = read(data, Parser.date)
    if day is not None:
        assert date.min <= day <= date.max


def read(data: bytes, rule: Callable[[Parser], T]) -> T | None:
    try:
        return rule(Parser([data]))
    except ParseError:
        return None
