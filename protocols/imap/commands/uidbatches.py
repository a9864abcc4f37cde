"""UIDBATCHES (RFC 10022): the mailbox in batches of so many messages, as ranges of UIDs."""

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from protocols.imap.command import SELECTED, command
from protocols.imap.reply import Reply, bad, no, ok
from protocols.imap.selected import Batches, Selected
from protocols.imap.session import Session
from protocols.imap.wire.parser import MAX_32, ParseError, Parser
from protocols.imap.wire.response import quoted_or_literal

LEAST = 500  # messages in a batch (RFC 10022 §3.1.3.2)
MOST_MESSAGES = 100_000  # that a range of batches may span (RFC 10022 §3.1.5)
MOST_RANGES = 2_000  # in one answer
REMEMBERED = 64  # requests of one session

_RANGE = re.compile(rb" ([1-9][0-9]{0,9}+):([1-9][0-9]{0,9}+)")


@dataclass(frozen=True, slots=True)
class _Arguments:
    """`size`: messages in a batch. `batches`: the first and the last one wanted, from 1; None: all."""

    size: int
    batches: tuple[int, int] | None


def _parse(parser: Parser) -> _Arguments:
    """message-batches = "UIDBATCHES" SP nz-number [SP nz-number ":" nz-number]."""
    parser.sp()
    size = parser.nz_number()
    found = parser.match(_RANGE)
    if found is None:
        return _Arguments(size, None)
    first, last = int(found[1]), int(found[2])
    if max(first, last) > MAX_32:
        raise ParseError("Number too large")
    return _Arguments(size, (first, last))


async def _run(session: Session, arguments: _Arguments) -> Reply:
    selected, size = session.mailbox, arguments.size
    count = bisect_left(selected.view.uids, selected.uidnext)
    first, last = arguments.batches or (1, -(-count // size))
    if arguments.batches and first > last:
        return bad("Invalid batch range", "CLIENTBUG")
    if size < LEAST:
        return no(f"Minimum batch size is {LEAST}", "TOOFEW")
    if (arguments.batches and (last - first + 1) * size > MOST_MESSAGES) or last - first >= MOST_RANGES:
        return no("Too many messages", "TOOMANY")
    if _again(selected, Batches(size, first, last if arguments.batches else 0), count):
        return no("The batches have hardly changed", "LIMIT")
    ranges = b",".join(_ranges(selected, count, size, first, last))
    tag = quoted_or_literal(session.tag.encode("ascii"))
    session.writer.untagged(b"UIDBATCHES (TAG %b)%b" % (tag, b" " + ranges if ranges else b""))
    return ok("UIDBATCHES completed")


def _ranges(selected: Selected, count: int, size: int, first: int, last: int) -> Iterator[bytes]:
    """Highest UIDs first, without gaps; the last batch of the mailbox ends with 1 (RFC 10022 §3.1.4)."""
    uids = selected.view.uids
    for batch in range(first, min(last, -(-count // size)) + 1):
        end = count - (batch - 1) * size  # the batch is of the messages below this place of the view
        low = uids[end - size] if end > size else 1
        high = uids[end] - 1 if batch > 1 else uids[end - 1]
        yield b"%d:%d" % (high, low)


def _again(selected: Selected, asked: Batches, count: int) -> bool:
    """RFC 10022 §3.1.1: whether the same was asked before and at most half a batch has come or gone since."""
    before = selected.batches.get(asked)
    if before is not None:
        then, uidnext = before
        arrived = count - bisect_left(selected.view.uids, uidnext)
        expunged = then + arrived - count
        if max(arrived, expunged) <= asked.size // 2:
            return True
    if len(selected.batches) >= REMEMBERED:
        selected.batches.clear()
    selected.batches[asked] = count, selected.uidnext
    return False


UIDBATCHES = command("UIDBATCHES", SELECTED, _parse, _run)
