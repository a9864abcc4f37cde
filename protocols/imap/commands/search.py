"""SEARCH and UID SEARCH (RFC 3501 §6.4.4; RETURN: RFC 4731; SAVE: RFC 5182; MODSEQ: RFC 7162 §3.1.5; UPDATE: RFC 5267
§4.3)."""

from dataclasses import dataclass

from duckmail.errors import DuckmailError
from protocols.imap import contexts, limiting, results
from protocols.imap.command import SELECTED, Trait, command
from protocols.imap.reply import TAG_REUSED, Reply
from protocols.imap.results import Found
from protocols.imap.searching import Program, find, find_highest
from protocols.imap.selected import Selected
from protocols.imap.session import Session
from protocols.imap.wire.parser import Parser
from protocols.imap.wire.response import search_response
from protocols.imap.wire.search import SearchReturn, search_program


@dataclass(frozen=True, slots=True)
class _Arguments:
    program: Program
    returned: SearchReturn | None
    uid: bool


def _parse(parser: Parser, *, uid: bool) -> _Arguments:
    parser.sp()
    returned, _, key = search_program(parser)
    return _Arguments(Program.of(key), returned, uid)


async def _run(session: Session, arguments: _Arguments) -> Reply:
    selected, returned = session.mailbox, arguments.returned
    if contexts.reused(session, returned):
        return TAG_REUSED
    context = await contexts.begin(session, arguments.program, returned, uid=arguments.uid)
    try:
        result, limit = await _found(session, selected, arguments)
    except DuckmailError:
        results.forget(selected, returned)
        raise
    _answer(session, result, arguments)
    results.save(selected, result, returned)
    contexts.follow(session, context, result.uids)
    # RFC 7162 §3.2.10.2: during a UID SEARCH with message numbers there is no VANISHED; so there is no EXPUNGE either.
    reply = Reply("OK", "SEARCH completed", expunge=not arguments.program.numbered)
    return limiting.told(session, reply, limit)


async def _found(session: Session, selected: Selected, arguments: _Arguments) -> tuple[Found, str]:
    """What was found, and the response code of a search that did not look at all messages."""
    program = arguments.program
    if program.modseq:
        session.enable_condstore()
    uids, limit = await find_highest(session, selected, program)
    result = await results.found(selected, uids, uid=arguments.uid)
    if arguments.returned is None or "RELEVANCY" not in arguments.returned.options:
        return result, limit
    exact = frozenset(await find(session, selected, program.exactly()))
    return results.scored(result, exact), limit


def _answer(session: Session, result: Found, arguments: _Arguments) -> None:
    modseq = arguments.program.modseq
    # RFC 9051 §6.4.4: ESEARCH is the only answer there; ALL where nothing was asked for.
    returned = arguments.returned or (SearchReturn(("ALL",)) if session.rev2 else None)
    if returned is None:
        highest = max(result.modseqs) if modseq and result.modseqs else None
        session.writer.untagged(search_response(result.numbers, highest))
        return
    line = results.answer(result, returned, session.tag, uid=arguments.uid, modseq=modseq)
    if line is not None:
        session.writer.untagged(line)


SEARCH = command("SEARCH", SELECTED, lambda parser: _parse(parser, uid=False), _run, Trait.NO_EXPUNGE | Trait.NUMBERED)
UID_SEARCH = command("UID SEARCH", SELECTED, lambda parser: _parse(parser, uid=True), _run)
