"""The QRESYNC parameter of SELECT and EXAMINE (RFC 7162 §3.2.5)."""

from dataclasses import dataclass, field

from duckmail.model.ranges import Ranges
from protocols.imap.wire.parser import ParseError, Parser
from protocols.imap.wire.sequence import MAX_NUMBER, STAR


@dataclass(frozen=True, slots=True)
class Resync:
    """What the client says it knows.

    `known`: the UIDs it keeps; None for all below its UIDNEXT. `numbers` and `uids`: of one length, some sequence
    numbers and the UIDs that they stood for at `modseq`; empty when it named none.
    """

    uidvalidity: int
    modseq: int
    known: Ranges | None = None
    numbers: Ranges = field(default_factory=Ranges)
    uids: Ranges = field(default_factory=Ranges)


def resync(p: Parser) -> Resync:
    """ "(" uidvalidity SP mod-sequence-value [SP known-uids] [SP seq-match-data] ")"."""
    p.expect(b"(")
    uidvalidity = p.nz_number()
    p.sp()
    modseq = p.number64()
    known: Ranges | None = None
    numbers = uids = Ranges()
    if p.try_byte(b" "):
        if p.peek() != ord("("):
            known = _known(p)
        if known is None or p.try_byte(b" "):
            numbers, uids = _match(p)
    p.expect(b")")
    return Resync(uidvalidity, modseq, known, numbers, uids)


def _match(p: Parser) -> tuple[Ranges, Ranges]:
    """ "(" known-sequence-set SP known-uid-set ")"."""
    p.expect(b"(")
    numbers = _known(p)
    p.sp()
    uids = _known(p)
    p.expect(b")")
    if len(numbers) != len(uids):  # RFC 7162 §3.2.5.2: the i-th of one belongs to the i-th of the other
        raise ParseError("As many UIDs as sequence numbers are needed")
    return numbers, uids


def _known(p: Parser) -> Ranges:
    """RFC 7162 §7: a sequence-set in which `*` is not allowed."""
    known = p.sequence_set()
    if known.saved or any(STAR in pair for pair in known.pairs):
        raise ParseError("Only numbers are allowed here")
    return known.resolve(MAX_NUMBER)
