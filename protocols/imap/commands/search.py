"""SEARCH and UID SEARCH (RFC 3501 §6.4.4; MODSEQ: RFC 7162 §3.1.5)."""

from dataclasses import dataclass

from protocols.imap.command import SELECTED, Trait, command
from protocols.imap.reply import Reply, ok
from protocols.imap.session import Session
from protocols.imap.wire.parser import ParseError, Parser
from protocols.imap.wire.response import search_response
from protocols.imap.wire.search import SearchKey, contains_modseq, resolve, search_program


@dataclass(frozen=True, slots=True)
class _Arguments:
    key: SearchKey
    uid: bool


def _parse(parser: Parser, *, uid: bool) -> _Arguments:
    parser.sp()
    returned, _, key = search_program(parser)
    if returned is not None:
        raise ParseError("RETURN needs ESEARCH")
    return _Arguments(key, uid)


async def _run(session: Session, arguments: _Arguments) -> Reply:
    selected = session.mailbox
    modseq = contains_modseq(arguments.key)
    if modseq:
        session.enable_condstore()
    criteria = resolve(arguments.key, lambda numbers, uid: selected.resolve(numbers, uid=uid))
    found = await session.mail.search(selected.view, criteria, selected.recent_from)
    # What arrived since the last EXISTS has no number yet; what was expunged while the search ran is no result.
    view = selected.view
    positions = [(view.position(uid), uid) for uid in found if selected.announced(uid)]
    live = [(position, uid) for position, uid in positions if position >= 0]
    numbers = [uid if arguments.uid else selected.number_at(position, uid) for position, uid in live]
    highest = max((view.modseqs[position] for position, _ in live), default=None) if modseq else None
    session.writer.untagged(search_response(numbers, highest))
    return ok("SEARCH completed")


SEARCH = command("SEARCH", SELECTED, lambda parser: _parse(parser, uid=False), _run, Trait.NO_EXPUNGE)
UID_SEARCH = command("UID SEARCH", SELECTED, lambda parser: _parse(parser, uid=True), _run)
