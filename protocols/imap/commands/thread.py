"""THREAD and UID THREAD (RFC 5256 §4)."""

from dataclasses import dataclass

from duckmail.model.ordering import Threading
from protocols.imap import limiting
from protocols.imap.command import SELECTED, Trait, command
from protocols.imap.reply import Reply, ok
from protocols.imap.searching import Program, find
from protocols.imap.session import Session
from protocols.imap.wire.parser import ParseError, Parser
from protocols.imap.wire.response import thread_response
from protocols.imap.wire.search import charset_program


@dataclass(frozen=True, slots=True)
class _Arguments:
    program: Program
    how: Threading
    uid: bool


def _parse(parser: Parser, *, uid: bool) -> _Arguments:
    """thread = ["UID" SP] "THREAD" SP thread-alg SP search-criteria."""
    parser.sp()
    word = parser.keyword()
    if word not in Threading.__members__:
        raise ParseError("Unknown threading algorithm")
    parser.sp()
    return _Arguments(Program.of(charset_program(parser)), Threading[word], uid)


async def _run(session: Session, arguments: _Arguments) -> Reply:
    selected = session.mailbox
    if refused := limiting.too_many(session, selected.exists):
        return refused  # RFC 9738 §3.3
    if arguments.program.modseq:
        session.enable_condstore()
    uids = await find(session, selected, arguments.program)
    told = [uid for uid in uids if selected.announced(uid)]
    threads = await session.mail.thread(selected.view, told, arguments.how)
    pieces = thread_response(threads, int if arguments.uid else selected.number)
    writer = session.writer
    writer.begin(b"* THREAD")
    for piece in pieces:
        writer.write(piece)
        await writer.room()
    writer.end(b"\r\n")
    return ok("THREAD completed")


THREAD = command("THREAD", SELECTED, lambda parser: _parse(parser, uid=False), _run, Trait.NO_EXPUNGE | Trait.NUMBERED)
UID_THREAD = command("UID THREAD", SELECTED, lambda parser: _parse(parser, uid=True), _run)
